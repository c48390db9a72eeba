package config

import (
	"net/netip"
	"slices"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// draft is an instance whose settings are still relations: to global_defs, to each other,
// to scripts and to sync groups.
type draft struct {
	Instance
	name     syntax.Word
	state    syntax.Word // zero: not given
	priority syntax.Word
	advert   syntax.Word
	version  syntax.Word
	vrid     syntax.Word
	iface    syntax.Word
	delay    syntax.Word // preempt_delay
	noPre    syntax.Word // nopreempt
	auth     syntax.Word // authentication
	unicast  syntax.Word // unicast_src_ip or unicast_peer
	authPass bool        // auth_type PASS
	noVIP    bool        // no_virtual_ipaddress
	garp     garp
	scripts  []trackDraft
	ifaces   []trackDraft
}

// readInstance reads a vrrp_instance as far as it stands on its own.
func (l *loader) readInstance(block *syntax.Node) {
	name := block.Args()[0]
	if slices.ContainsFunc(l.drafts, func(d *draft) bool { return d.Name == name.Text }) {
		l.fail(name, "give each instance a name of its own", "vrrp_instance %s is defined twice: keepalived drops the second one with its addresses", quote(name.Text))
		return
	}
	d := &draft{name: name}
	d.Name, d.Pos = name.Text, name.Pos
	d.State, d.DownAdverts, d.SkipAddrs = "BACKUP", l.down, l.skip
	d.AdvertInt = time.Second
	// The block with the addresses may be one of those that were found wrong.
	d.noVIP = slices.ContainsFunc(block.Children, func(n *syntax.Node) bool {
		r, known := find("vrrp_instance", n.Keyword())
		return l.bad[n] && (n.Block && !known || slices.Contains(addressLists, r.keyword))
	})
	for _, n := range l.good(block) {
		if n.Keyword() == "lvs_sync_daemon_interface" {
			l.oldSync(d, n)
			continue
		}
		if !l.readElection(d, n) && !l.readTransport(d, n) && !l.readHooks(&d.Notify, n) {
			l.readLists(d, n)
		}
	}
	l.drafts = append(l.drafts, d)
}

// twice warns when a keyword is given again.
func (l *loader) twice(before syntax.Word, n *syntax.Node) {
	if !before.Pos.IsZero() {
		l.warn(head(n), "take one of the two out", "%s is given twice: the last one is used", n.Keyword())
	}
}

// readElection reads what decides who becomes master. It returns false for another keyword.
func (l *loader) readElection(d *draft, n *syntax.Node) bool {
	w := head(n)
	if len(n.Args()) > 0 {
		w = n.Args()[0]
	}
	switch n.Keyword() {
	case "state":
		l.twice(d.state, n)
		d.state = w
		if w.Text != "MASTER" && w.Text != "BACKUP" {
			l.warn(w, "write MASTER or BACKUP, in capitals", "unknown state %s: BACKUP is used", quote(w.Text))
			d.State = "BACKUP"
		} else {
			d.State = w.Text
		}
	case "interface":
		l.twice(d.iface, n)
		d.iface, d.Interface = w, w.Text
	case "virtual_router_id":
		l.twice(d.vrid, n)
		d.vrid = w
		v, _ := l.number(Error, n.Keyword(), w, 1, 255, "keepalived drops the instance")
		d.VRID = uint8(v)
	case "priority":
		l.twice(d.priority, n)
		d.priority, d.Priority = w, 100
		if v, ok := l.number(Warning, n.Keyword(), w, 1, 255, "100 is used"); ok {
			d.Priority = uint8(v)
		}
	case "advert_int":
		l.twice(d.advert, n)
		if t, ok := l.seconds(Warning, n.Keyword(), w, 10*time.Millisecond, 255*time.Second, "it is ignored"); ok {
			d.advert, d.AdvertInt = w, t
		}
	case "version":
		if v, ok := l.number(Warning, n.Keyword(), w, 2, 3, "that of global_defs is used"); ok {
			d.version, d.Version = w, v
		}
	case "nopreempt":
		d.noPre, d.NoPreempt = w, true
	case "preempt_delay":
		if t, ok := l.seconds(Warning, n.Keyword(), w, 0, 1000*time.Second, "it is ignored"); ok {
			d.delay, d.PreemptDelay = w, t
		}
	case "down_timer_adverts":
		if v, ok := l.number(Warning, n.Keyword(), w, 1, 100, "that of global_defs is used"); ok {
			d.DownAdverts = v
		}
	default:
		return false
	}
	return true
}

// readTransport reads where adverts go. It returns false for another keyword.
func (l *loader) readTransport(d *draft, n *syntax.Node) bool {
	address := func(to *netip.Addr) {
		w := n.Args()[0]
		a, err := netip.ParseAddr(w.Text)
		if err != nil {
			l.warn(w, "write an address without a prefix, for instance 10.0.0.1", "%s %s is no address: it is ignored", n.Keyword(), quote(w.Text))
			return
		}
		*to = a.Unmap()
	}
	switch n.Keyword() {
	case "unicast_src_ip":
		d.unicast = head(n)
		address(&d.UnicastSrc)
	case "mcast_src_ip":
		address(&d.McastSrc)
	case "mcast_dst_ip":
		var a netip.Addr
		if address(&a); a.IsMulticast() {
			d.McastGroup = a
		} else if a.IsValid() {
			l.warn(n.Args()[0], "write a multicast address, for instance 224.0.0.18", "mcast_dst_ip %s is no multicast address: it is ignored", a)
		}
	case "unicast_peer":
		d.unicast = head(n)
		for _, c := range l.good(n) {
			l.readPeer(d, c)
		}
	case "dont_track_primary":
		d.NoTrackLink = true
	case "skip_check_adv_addr":
		if on, ok := l.boolean(n); ok {
			d.SkipAddrs = on
		}
	case "authentication":
		d.auth = head(n)
		for _, c := range l.good(n) {
			l.readAuth(d, c)
		}
	default:
		return false
	}
	return true
}

// readPeer reads one line of unicast_peer. A peer that is lost is one that hears nobody
// and takes the addresses too, so a bad one is an error.
func (l *loader) readPeer(d *draft, n *syntax.Node) {
	w := n.Words[0]
	a, err := netip.ParseAddr(w.Text)
	switch {
	case err != nil:
		l.fail(w, "write an address without a prefix, for instance 10.0.0.2", "unicast_peer %s is no address: keepalived leaves the peer out, and it hears no adverts", quote(w.Text))
		return
	case len(d.UnicastPeers) > 0 && a.Unmap().Is4() != d.UnicastPeers[0].Is4():
		l.fail(w, "use an instance for each address family", "unicast_peer %s is not of the family of the others: keepalived leaves it out", a)
		return
	case slices.Contains(d.UnicastPeers, a.Unmap()):
		l.warn(w, "take it out", "unicast_peer %s is there already", a)
		return
	}
	d.UnicastPeers = append(d.UnicastPeers, a.Unmap())
	for rest := n.Args(); len(rest) > 0; rest = rest[1:] {
		if _, err := netip.ParseAddr(rest[0].Text); err == nil {
			l.fail(rest[0], "put each peer on a line of its own", "two peers in one line: keepalived leaves %s out, and it hears no adverts", rest[0].Text)
			continue
		}
		if rest[0].Text != "min_ttl" && rest[0].Text != "max_ttl" {
			l.warn(rest[0], "", "unicast_peer takes no %s: it is ignored", quote(rest[0].Text))
			continue
		}
		l.warn(rest[0], "", "%s is not supported yet", rest[0].Text)
		if len(rest) > 1 {
			rest = rest[1:]
		}
	}
}

// maxAuthPass is how many bytes of auth_pass an advert has (RFC 2338 section 5.3.10).
const maxAuthPass = 8

// readAuth reads a line of authentication.
func (l *loader) readAuth(d *draft, n *syntax.Node) {
	w := n.Args()[0]
	switch n.Keyword() {
	case "auth_type":
		switch w.Text {
		case "PASS":
			d.authPass = true
		case "AH":
			l.fail(w, "use auth_type PASS on all nodes", "auth_type AH is not supported: peers that use it would not hear this node")
		default:
			d.auth = syntax.Word{} // told once
			l.warn(w, "write PASS, in capitals", "unknown auth_type %s: adverts have no authentication", quote(w.Text))
		}
	case "auth_pass":
		d.AuthPass = w.Text
		if len(w.Text) > maxAuthPass {
			d.AuthPass = w.Text[:maxAuthPass]
			l.warn(w, "write "+quote(d.AuthPass)+", which is what is used", "auth_pass is longer than 8 characters: the rest is cut off, as keepalived does")
		}
		if w.Quoted && len(n.Args()) > 1 && n.Args()[1].Glued || !w.Quoted && len(n.Args()) > 1 {
			l.warn(n.Args()[1], "put a password with blanks in double quotes", "auth_pass is one word: %s is not part of it", quote(n.Args()[1].Text))
		}
	}
}

// readHooks reads the notify keywords of an instance or a sync group. It returns false
// for another keyword.
func (l *loader) readHooks(to *Notify, n *syntax.Node) bool {
	var c *Command
	switch n.Keyword() {
	case "notify":
		c = &to.Any
	case "notify_master":
		c = &to.Master
	case "notify_backup":
		c = &to.Backup
	case "notify_fault":
		c = &to.Fault
	case "notify_stop":
		c = &to.Stop
	default:
		return false
	}
	if len(c.Args) > 0 {
		l.warn(head(n), "take one of the two out", "%s is given twice: the first one is used", n.Keyword())
		return true
	}
	*c = l.notifyCommand(n)
	return true
}

// readLists reads the lists of an instance, and its GARP settings.
func (l *loader) readLists(d *draft, n *syntax.Node) {
	switch n.Keyword() {
	case "virtual_ipaddress":
		l.readAddresses(n, &d.Addresses)
	case "virtual_ipaddress_excluded":
		l.readAddresses(n, &d.Excluded)
	case "no_virtual_ipaddress":
		d.noVIP = true
	case "track_script":
		d.scripts = l.readTracks(n, d.scripts)
	case "track_interface":
		d.ifaces = l.readTracks(n, d.ifaces)
	default:
		l.readGARP(&d.garp, n, n.Keyword())
	}
}
