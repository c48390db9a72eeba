package config

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// schedulers are those that the kernel has.
var schedulers = []string{ //nolint:gochecknoglobals // a table
	"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos",
}

// maxServerTime bounds the times of checks; keepalived holds them in 32 bits of microseconds.
const maxServerTime = 4294 * time.Second

// inherited are the settings that a real server takes from its virtual server, and a
// checker from its real server; nil is not given.
type inherited struct {
	method                                 *Forwarding
	weight, retry                          *int
	alpha, inhibit                         *bool
	interval, timeout, beforeRetry, warmup *time.Duration
	slowStart                              *time.Duration
	host                                   *string
}

// over returns the settings of i, and where it has none those of outer.
func (i inherited) over(outer inherited) inherited {
	return inherited{
		method: or(i.method, outer.method), weight: or(i.weight, outer.weight), retry: or(i.retry, outer.retry),
		alpha: or(i.alpha, outer.alpha), inhibit: or(i.inhibit, outer.inhibit),
		interval: or(i.interval, outer.interval), timeout: or(i.timeout, outer.timeout),
		beforeRetry: or(i.beforeRetry, outer.beforeRetry), warmup: or(i.warmup, outer.warmup),
		slowStart: or(i.slowStart, outer.slowStart), host: or(i.host, outer.host),
	}
}

func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// readInherited reads the keywords that cascade. It returns false for another keyword.
func (l *loader) readInherited(i *inherited, n *syntax.Node) bool {
	duration := func(to **time.Duration, least time.Duration) {
		if d, ok := l.seconds(Warning, n.Keyword(), n.Args()[0], least, maxServerTime, "it is ignored"); ok {
			*to = &d
		}
	}
	boolean := func(to **bool) {
		if on, ok := l.boolean(n); ok {
			*to = &on
		}
	}
	switch n.Keyword() {
	case "delay_loop":
		duration(&i.interval, time.Microsecond)
	case "connect_timeout":
		duration(&i.timeout, time.Microsecond)
	case "delay_before_retry":
		duration(&i.beforeRetry, 0)
	case "warmup":
		duration(&i.warmup, 0)
	case "slow_start":
		duration(&i.slowStart, 0)
	case "alpha":
		boolean(&i.alpha)
	case "inhibit_on_failure":
		boolean(&i.inhibit)
	case "retry", "nb_get_retry":
		if v, ok := l.number(Warning, n.Keyword(), n.Args()[0], 0, math.MaxInt32, "it is ignored"); ok {
			i.retry = &v
		}
	case "weight":
		l.weight(i, n.Args()[0])
	case "lvs_method", "lb_kind":
		if f, ok := l.forwarding(n); ok {
			i.method = &f
		}
	case "virtualhost":
		if args := n.Args(); len(args) > 0 {
			i.host = &args[0].Text
		} else {
			l.warn(behind(n), "write the name of the host behind it", "virtualhost without a value: it is ignored")
		}
	default:
		return false
	}
	return true
}

func (l *loader) weight(i *inherited, w syntax.Word) {
	v, ok := l.number(Warning, "weight", w, 0, maxWeight, "1 is used")
	if !ok {
		v = defaultWeight
	}
	i.weight = &v
}

// forwarding reads NAT, DR, or TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]. An
// unknown method is told and ignored, as keepalived does; half a tunnel would not reach
// the server, so that is an error.
func (l *loader) forwarding(n *syntax.Node) (Forwarding, bool) {
	var f Forwarding
	args := n.Args()
	i := slices.Index([]string{"NAT", "DR", "TUN"}, args[0].Text)
	if i < 0 {
		l.warn(args[0], "write NAT, DR or TUN, in capitals", "unknown forwarding method %s: it is ignored", quote(args[0].Text))
		return f, false
	}
	f.Method = Method(i)
	rest := args[1:]
	if f.Method != TUN {
		if len(rest) > 0 {
			l.warn(rest[0], "take it out", "%s takes no options: %s is ignored", f.Method, quote(rest[0].Text))
		}
		return f, true
	}
	for ; len(rest) > 0; rest = rest[1:] {
		w := rest[0]
		if w.Text == "type" || w.Text == "port" {
			if len(rest) == 1 {
				l.fail(w, "write its value behind it", "%s without a value", w.Text)
				return f, false
			}
			rest = rest[1:]
		}
		if !l.tunnelOption(&f, w, rest[0]) {
			return f, false
		}
	}
	switch {
	case (f.Tunnel == GUE) != (f.Port != 0):
		l.fail(args[0], "write TUN type gue port NUMBER", "a gue tunnel needs a port, and no other has one")
	case f.Tunnel == IPIP && f.Checksum != NoChecksum, f.Tunnel == GRE && f.Checksum == RemoteChecksum:
		l.fail(args[0], "take "+f.Checksum.String()+" out", "a tunnel of type %s cannot have %s", f.Tunnel, f.Checksum)
	default:
		return f, true
	}
	return f, false
}

// tunnelOption reads one option of TUN; value is the word behind type or port, or the
// option itself.
func (l *loader) tunnelOption(f *Forwarding, name, value syntax.Word) bool {
	types := []string{"ipip", "gue", "gre"}
	sums := []string{"nocsum", "csum", "remcsum"}
	switch {
	case name.Text == "type":
		i := slices.Index(types, value.Text)
		if i < 0 {
			l.fail(value, "write ipip, gue or gre", "unknown tunnel type %s", quote(value.Text))
			return false
		}
		f.Tunnel = Tunnel(i)
	case name.Text == "port":
		v, ok := l.number(Error, "port", value, 1, 65535, "the tunnel has no port")
		f.Port = uint16(v)
		return ok
	case slices.Contains(sums, name.Text):
		f.Checksum = Checksum(slices.Index(sums, name.Text))
	default:
		known := slices.Concat([]string{"type", "port"}, sums)
		l.fail(name, didYouMean(name.Text, known), "TUN knows no %s", quote(name.Text))
		return false
	}
	return true
}

// virtualDraft is a virtual server whose settings are still relations: to each other and
// to its real servers.
type virtualDraft struct {
	VirtualServer
	head    []syntax.Word // the words behind virtual_server
	members []groupMember // of Services
	inherited
	family      bool // ip_family is given: IPv6 below
	six         bool
	proto       syntax.Word
	ops         syntax.Word
	granularity syntax.Word
	quorum      syntax.Word
	hysteresis  syntax.Word
	sched       syntax.Word
	flags       []syntax.Word
	sorry       syntax.Word
	sorryMethod *Forwarding
	lost        bool // a real server was found wrong
}

// readVirtual reads a virtual_server.
func (l *loader) readVirtual(block *syntax.Node) {
	d := &virtualDraft{head: block.Args()}
	d.Pos, d.Quorum, d.Scheduler = head(block).Pos, 1, "wlc"
	if !l.readServices(d, block) {
		return
	}
	for _, n := range l.good(block) {
		if n.Keyword() != "real_server" && !l.readBalancing(d, n) && !l.readQuorum(d, n) {
			l.readInherited(&d.inherited, n)
		}
	}
	l.finishBalancing(d)
	l.each(block.Children, "real_server", func(n *syntax.Node) { l.readReal(d, n) })
	l.finishVirtual(d, block)
}

// readServices reads what stands behind virtual_server.
func (l *loader) readServices(d *virtualDraft, block *syntax.Node) bool {
	const effect = "keepalived loses the virtual server"
	first := d.head[0]
	if first.Text != "fwmark" && first.Text != "group" {
		addr, ok := l.endpoint(block, effect)
		if !ok {
			return false
		}
		d.add(groupMember{ServiceAddr: ServiceAddr{Addr: addr, IPv6: addr.Addr().Is6()}, word: first})
		d.Name = d.Services[0].String()
		return true
	}
	if len(d.head) == 1 {
		l.fail(behind(block), "write it behind "+first.Text, "virtual_server %s without its value: keepalived crashes", first.Text)
		return false
	}
	value := d.head[1]
	if first.Text == "fwmark" {
		mark, ok := l.number(Error, "fwmark", value, 1, maxMark, effect)
		if !ok {
			return false
		}
		d.add(groupMember{ServiceAddr: ServiceAddr{FWMark: uint32(mark)}, word: first})
		d.Name = d.Services[0].String()
		return true
	}
	names := make([]string, 0, len(l.serverGroups))
	for _, g := range l.serverGroups {
		if names = append(names, g.name.Text); g.name.Text == value.Text {
			d.add(g.members...)
			d.Group, d.Name = value.Text, "group "+value.Text
			return len(g.members) > 0
		}
	}
	l.fail(value, didYouMean(value.Text, names), "there is no virtual_server_group %s: %s", quote(value.Text), effect)
	return false
}

func (d *virtualDraft) add(members ...groupMember) {
	for _, m := range members {
		d.members = append(d.members, m)
		d.Services = append(d.Services, m.ServiceAddr)
	}
}

// readBalancing reads how connections are balanced. It returns false for another keyword.
func (l *loader) readBalancing(d *virtualDraft, n *syntax.Node) bool {
	w := head(n)
	if len(n.Args()) > 0 {
		w = n.Args()[0]
	}
	switch n.Keyword() {
	case "lvs_sched", "lb_algo":
		if !slices.Contains(schedulers, w.Text) {
			l.warn(w, didYouMean(w.Text, schedulers), "unknown scheduler %s: wlc is used", quote(w.Text))
			w.Text = "wlc"
		}
		d.sched, d.Scheduler = w, w.Text
	case "sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3":
		d.flags = append(d.flags, head(n))
	case "protocol":
		d.proto = w
		switch strings.ToUpper(w.Text) {
		case "TCP":
			d.Protocol = TCP
		case "UDP":
			d.Protocol = UDP
		case "SCTP":
			d.Protocol = SCTP
		default:
			l.warn(w, "write TCP, UDP or SCTP", "unknown protocol %s: it is ignored", quote(w.Text))
		}
	case "ops":
		d.ops, d.OnePacket = w, true
	case "persistence_timeout":
		d.Persistence = defaultPersistence
		if len(n.Args()) > 0 {
			v, ok := l.number(Warning, n.Keyword(), w, 1, int(maxLVSTimeout/time.Second), "there is no persistence")
			d.Persistence = 0
			if ok {
				d.Persistence = time.Duration(v) * time.Second
			}
		}
	case "persistence_granularity":
		d.granularity = w
	case "persistence_engine":
		d.Engine = w.Text
	case "ip_family":
		d.six, d.family, _ = l.family(w, Warning)
	default:
		return false
	}
	return true
}

const defaultPersistence = 360 * time.Second

// readQuorum reads quorum, sorry server and notify scripts. It returns false for another keyword.
func (l *loader) readQuorum(d *virtualDraft, n *syntax.Node) bool {
	switch n.Keyword() {
	case "quorum":
		d.Quorum = 1
		d.quorum = n.Args()[0]
		if v, ok := l.number(Warning, "quorum", d.quorum, 1, maxMark, "1 is used"); ok {
			d.Quorum = v
		}
	case "hysteresis":
		d.hysteresis = n.Args()[0]
		if v, ok := l.number(Warning, "hysteresis", d.hysteresis, 0, maxMark, "it is ignored"); ok {
			d.Hysteresis = v
		}
	case "quorum_up":
		d.QuorumUp = l.notifyCommand(n)
	case "quorum_down":
		d.QuorumDown = l.notifyCommand(n)
	case "omega":
		if on, ok := l.boolean(n); ok {
			d.Omega = on
		}
	case "ha_suspend":
		d.HASuspend = true
	case "sorry_server":
		if addr, ok := l.endpoint(n, "keepalived leaves it out"); ok {
			if d.Sorry != nil {
				l.warn(head(n), "take one of the two out", "sorry_server is given twice: the last one is used")
			}
			d.Sorry, d.sorry = &SorryServer{Addr: addr, Pos: n.Args()[0].Pos}, n.Args()[0]
		}
	case "sorry_server_inhibit":
		if d.Sorry == nil {
			l.warn(head(n), "put it behind sorry_server", "sorry_server_inhibit without a sorry_server before it: it is ignored")
			return true
		}
		d.Sorry.Inhibit = true
	case "sorry_server_lvs_method":
		if f, ok := l.forwarding(n); ok {
			d.sorryMethod = &f
		}
	default:
		return false
	}
	return true
}

// readReal reads a real_server. One that keepalived would drop is a lost server: an error.
func (l *loader) readReal(d *virtualDraft, block *syntax.Node) {
	word := block.Args()[0]
	addr, ok := l.endpoint(block, "keepalived loses the real server")
	if !ok {
		d.lost = true
		return
	}
	r := RealServer{Addr: addr, Pos: word.Pos}
	var own inherited
	for _, n := range l.good(block) {
		switch n.Keyword() {
		case "uthreshold":
			l.threshold(n, &r.UpperThreshold)
		case "lthreshold":
			l.threshold(n, &r.LowerThreshold)
		case "notify_up":
			r.NotifyUp = l.notifyCommand(n)
		case "notify_down":
			r.NotifyDown = l.notifyCommand(n)
		default:
			l.readInherited(&own, n)
		}
	}
	in := own.over(d.inherited)
	r.Forwarding = first(in.method, nil, Forwarding{})
	r.Weight = first(in.weight, nil, defaultWeight)
	r.Inhibit = first(in.inhibit, nil, false)
	r.SlowStart = first(in.slowStart, nil, 0)
	if r.LowerThreshold > r.UpperThreshold {
		l.fail(word, "raise uthreshold, or take lthreshold out", "lthreshold %d is above uthreshold %d: the kernel refuses the real server", r.LowerThreshold, r.UpperThreshold)
	}
	r.Addr = l.portOf(d, r.Addr, r.Forwarding, word)
	if slices.ContainsFunc(d.RealServers, func(o RealServer) bool { return o.Addr == r.Addr }) {
		l.warn(word, "take one of the two out", "real_server %s is there twice: the second one is ignored", spaced(r.Addr))
		return
	}
	for _, n := range l.good(block) {
		r.Checkers = append(r.Checkers, l.readChecker(d, &r, in, n)...)
	}
	d.RealServers = append(d.RealServers, r)
}

// threshold reads uthreshold or lthreshold.
func (l *loader) threshold(n *syntax.Node, to *uint32) {
	if v, ok := l.number(Warning, n.Keyword(), n.Args()[0], 0, maxThreshold, "it is ignored"); ok {
		*to = uint32(v)
	}
}

// portOf gives a server the port of its service where no other is possible: without NAT
// packets arrive as they were sent.
func (l *loader) portOf(d *virtualDraft, addr netip.AddrPort, f Forwarding, word syntax.Word) netip.AddrPort {
	if f.Method == NAT || addr.Port() == 0 {
		return addr
	}
	for _, s := range d.Services {
		switch port := s.Addr.Port(); {
		case s.FWMark != 0:
			l.warn(word, "take the port out, or write lvs_method NAT", "%s cannot change the port: %d is ignored for the firewall mark %d", f.Method, addr.Port(), s.FWMark)
			return addr
		case port != 0 && port != addr.Port():
			l.warn(word, "write "+strconv.Itoa(int(port))+", or lvs_method NAT", "%s cannot change the port: %d is used, not %d", f.Method, port, addr.Port())
			if d.Group == "" {
				addr = netip.AddrPortFrom(addr.Addr(), port)
			}
			return addr
		}
	}
	return addr
}

// spaced returns an address and a port as the configuration has them.
func spaced(a netip.AddrPort) string { return ServiceAddr{Addr: a}.String() }
