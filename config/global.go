package config

import (
	"net/netip"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// The defaults of global_defs.
const (
	defaultVersion     = 2
	defaultIface       = "eth0"
	defaultDownAdverts = 3
	maxGARPDelay       = 4294 * time.Second // keepalived holds it in 32 bits of microseconds
)

// garp is a set of GARP settings that may be incomplete: nil is not given.
type garp struct {
	delay, lowerDelay, refresh    *time.Duration
	repeat, lowerRepeat, refreshN *int
	interval                      time.Duration
}

// globalDefaults sets what holds without a global_defs block.
func (l *loader) globalDefaults() {
	l.cfg.Global = Global{
		RouterID: l.opt.Hostname, Version: defaultVersion, DefaultIface: defaultIface,
		McastGroup:  netip.MustParseAddr("224.0.0.18"),
		McastGroup6: netip.MustParseAddr("ff02::12"),
	}
	l.down = defaultDownAdverts
}

// readGlobal reads one global_defs block; a later one adds to it.
func (l *loader) readGlobal(block *syntax.Node) {
	g := &l.cfg.Global
	for _, n := range l.good(block) {
		var w syntax.Word
		if args := n.Args(); len(args) > 0 {
			w = args[0]
		}
		switch n.Keyword() {
		case "router_id":
			if w.Text != "" {
				g.RouterID = w.Text
			}
		case "script_user":
			if user, ok := l.user(n.Args(), "the default is used"); ok {
				g.ScriptUser = user
			}
		case "vrrp_version":
			if v, ok := l.number(Warning, n.Keyword(), w, 2, 3, "2 is used"); ok {
				g.Version = v
			}
		case "vrrp_mcast_group4":
			l.mcastGroup(n, &g.McastGroup, false)
		case "vrrp_mcast_group6":
			l.mcastGroup(n, &g.McastGroup6, true)
		case "default_interface":
			g.DefaultIface = w.Text
		case "vrrp_startup_delay":
			if d, ok := l.seconds(Warning, n.Keyword(), w, 0, maxGARPDelay, "it is ignored"); ok {
				g.StartupDelay = d
			}
		case "vrrp_garp_interval":
			if d, ok := l.seconds(Warning, n.Keyword(), w, time.Microsecond, maxGARPDelay, "there is no interval"); ok {
				l.garp.interval = d
			}
		case "vrrp_min_garp":
			if on, ok := l.boolean(n); ok && on {
				one, none := 1, time.Duration(0)
				l.garp.repeat, l.garp.delay = &one, &none
			}
		case "vrrp_down_timer_adverts":
			if v, ok := l.number(Warning, n.Keyword(), w, 1, 100, "3 is used"); ok {
				l.down = v
			}
		case "vrrp_skip_check_adv_addr":
			if on, ok := l.boolean(n); ok {
				l.skip = on
			}
		default:
			if l.readLVSGlobal(n) {
				continue
			}
			l.readGARP(&l.garp, n, strings.TrimPrefix(n.Keyword(), "vrrp_"))
		}
	}
}

// mcastGroup reads a multicast address into to.
func (l *loader) mcastGroup(n *syntax.Node, to *netip.Addr, v6 bool) {
	w := n.Args()[0]
	a, err := netip.ParseAddr(w.Text)
	switch {
	case err != nil || a.Is6() != v6 || a.Zone() != "":
		l.warn(w, "write a multicast address, for instance "+to.String(), "%s %s is no address: %s is used", n.Keyword(), quote(w.Text), to)
	case !a.IsMulticast():
		l.warn(w, "write a multicast address, for instance "+to.String(), "%s %s is no multicast address: %s is used", n.Keyword(), a, to)
	default:
		*to = a
	}
}

// readGARP reads a garp_ keyword, of global_defs or of an instance.
func (l *loader) readGARP(g *garp, n *syntax.Node, keyword string) {
	delay := func(to **time.Duration) {
		w := n.Args()[0]
		if v, ok := l.number(Warning, n.Keyword(), w, 0, int(maxGARPDelay/time.Second), "it is ignored"); ok {
			d := time.Duration(v) * time.Second
			*to = &d
		}
	}
	count := func(to **int, least int) {
		w := n.Args()[0]
		v, ok := l.number(Warning, n.Keyword(), w, 0, 1<<31-1, "it is ignored")
		if !ok {
			return
		}
		if v < least {
			l.warn(w, "write a number from 1 on", "%s must be greater than 0: 1 is used", n.Keyword())
			v = least
		}
		*to = &v
	}
	switch keyword {
	case "garp_master_delay":
		delay(&g.delay)
	case "garp_lower_prio_delay":
		delay(&g.lowerDelay)
	case "garp_master_refresh":
		delay(&g.refresh)
	case "garp_master_repeat":
		count(&g.repeat, 1)
	case "garp_lower_prio_repeat":
		count(&g.lowerRepeat, 0)
	case "garp_master_refresh_repeat":
		count(&g.refreshN, 1)
	}
}

// over returns the settings of g, where it has none those of global, where that has none
// keepalived's defaults.
func (g garp) over(global garp) GARP {
	delay := first(g.delay, global.delay, 5*time.Second)
	repeat := first(g.repeat, global.repeat, 5)
	return GARP{
		Delay: delay, Repeat: repeat,
		LowerPrioDelay:  first(g.lowerDelay, global.lowerDelay, delay),
		LowerPrioRepeat: first(g.lowerRepeat, global.lowerRepeat, repeat),
		Refresh:         first(g.refresh, global.refresh, 0),
		RefreshRepeat:   first(g.refreshN, global.refreshN, 1),
		Interval:        global.interval,
	}
}

// first returns what a points at, else what b points at, else c.
func first[T any](a, b *T, c T) T {
	switch {
	case a != nil:
		return *a
	case b != nil:
		return *b
	}
	return c
}

// user reads "name [group]" and returns "name" or "name:group". A user or group that does
// not exist is a warning that says the effect.
func (l *loader) user(args []syntax.Word, effect string) (string, bool) {
	name, group := args[0].Text, ""
	if len(args) > 1 {
		group = strings.TrimPrefix(args[1].Text, ":")
	}
	if err := l.opt.User(name, group); err != nil {
		l.warn(args[0], "name a user (and a group) of this host", "%v: %s", err, effect)
		return "", false
	}
	if group == "" {
		return name, true
	}
	return name + ":" + group, true
}
