package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/solovip/solovip/config/syntax"
)

// maxGroup bounds how many services a virtual_server_group makes.
const maxGroup = 65536

// serverGroup is a virtual_server_group.
type serverGroup struct {
	name    syntax.Word
	members []groupMember
	bad     bool // an entry was lost: that is told, and what follows from it need not be
}

// groupMember is one service of a group.
type groupMember struct {
	ServiceAddr
	family bool // inet or inet6 is written behind a mark
	word   syntax.Word
}

// readServerGroup reads a virtual_server_group. An entry that keepalived would drop is a
// lost service: an error.
func (l *loader) readServerGroup(block *syntax.Node) {
	g := serverGroup{name: block.Args()[0]}
	if slices.ContainsFunc(l.serverGroups, func(o serverGroup) bool { return o.name.Text == g.name.Text }) {
		l.fail(g.name, "rename one of the two", "virtual_server_group %s is defined twice", quote(g.name.Text))
		return
	}
	for _, n := range l.good(block) {
		before := len(g.members)
		if n.Words[0].Text == "fwmark" {
			l.groupMark(&g, n)
		} else {
			l.groupRange(&g, n)
		}
		g.bad = g.bad || len(g.members) == before
	}
	if len(g.members) == 0 && !g.bad {
		l.warn(g.name, "write ADDRESS PORT, each on a line of its own", "virtual_server_group %s is empty: keepalived removes it", quote(g.name.Text))
	}
	l.serverGroups = append(l.serverGroups, g)
}

// groupMark reads fwmark N [inet|inet6].
func (l *loader) groupMark(g *serverGroup, n *syntax.Node) {
	args := n.Args()
	if len(args) == 0 {
		l.fail(behind(n), "write a number behind it", "fwmark without a value: keepalived loses it")
		return
	}
	mark, ok := l.number(Error, "fwmark", args[0], 1, maxMark, "keepalived loses it")
	if !ok {
		return
	}
	m := groupMember{ServiceAddr: ServiceAddr{FWMark: uint32(mark)}, word: n.Words[0]}
	if len(args) > 1 {
		m.IPv6, m.family, ok = l.family(args[1], Error)
		if !ok {
			return
		}
	}
	g.members = append(g.members, m)
}

// family reads inet or inet6.
func (l *loader) family(w syntax.Word, sev Severity) (six, given, ok bool) {
	switch w.Text {
	case "inet":
		return false, true, true
	case "inet6":
		return true, true, true
	}
	l.add(sev, w, "write inet or inet6", "unknown address family %s: it is ignored", quote(w.Text))
	return false, false, false
}

// groupRange reads ADDRESS[-END|/LENGTH] [PORT].
func (l *loader) groupRange(g *serverGroup, n *syntax.Node) {
	first, last, ok := l.addressRange(n.Words[0])
	if !ok {
		return
	}
	port := 0
	if args := n.Args(); len(args) > 0 {
		if port, ok = l.number(Error, "port", args[0], 0, 65535, "keepalived loses the line"); !ok {
			return
		}
		if len(args) > 1 {
			l.warn(args[1], "put each address on a line of its own", "%s is ignored", quote(args[1].Text))
		}
	}
	for a := first; ; a = a.Next() {
		if len(g.members) >= maxGroup {
			l.fail(n.Words[0], "use a firewall mark for that many", "with this the group has more than %d services", maxGroup)
			g.bad = true
			return
		}
		g.members = append(g.members, groupMember{
			ServiceAddr: ServiceAddr{Addr: netip.AddrPortFrom(a, uint16(port)), IPv6: a.Is6()}, word: n.Words[0],
		})
		if a == last {
			return
		}
	}
}

// addressRange reads an address, a prefix, or FIRST-LAST, where LAST may be the last part
// of an address alone: 10.0.0.1-10, 2001:db8::1-ff.
func (l *loader) addressRange(w syntax.Word) (first, last netip.Addr, ok bool) {
	text, end, ranged := strings.Cut(w.Text, "-")
	if strings.Contains(text, "/") {
		return l.prefixRange(w)
	}
	first, ok = l.plainAddress(w, text, "keepalived loses the line")
	if !ok || !ranged {
		return first, first, ok
	}
	last, err := netip.ParseAddr(end)
	if err != nil {
		if i := strings.LastIndexAny(text, ".:"); i >= 0 {
			last, err = netip.ParseAddr(text[:i+1] + end)
		}
	}
	switch {
	case err != nil || last.Is6() != first.Is6():
		l.fail(w, "write FIRST-LAST, for instance 10.0.0.1-10.0.0.9 or 10.0.0.1-9", "%s is no range: keepalived loses the line", quote(w.Text))
	case last.Less(first) || last == first:
		l.fail(w, "write the lower address first", "the end of the range %s is not above its beginning: keepalived loses the line", w.Text)
	default:
		return first, last, true
	}
	return first, last, false
}

// prefixRange reads ADDRESS/LENGTH as the range of all its addresses.
func (l *loader) prefixRange(w syntax.Word) (first, last netip.Addr, ok bool) {
	p, err := netip.ParsePrefix(w.Text)
	if err != nil {
		l.fail(w, "write ADDRESS/LENGTH, for instance 10.0.0.8/29", "%s is no prefix: keepalived loses the line", quote(w.Text))
		return first, last, false
	}
	if p.Masked() != p {
		l.fail(w, "write "+p.Masked().String(), "%s is not the first address of its prefix: keepalived loses the line", w.Text)
		return first, last, false
	}
	first = p.Addr()
	bytes := first.AsSlice()
	for i := p.Bits(); i < first.BitLen(); i++ {
		bytes[i/8] |= 0x80 >> (i % 8)
	}
	last, _ = netip.AddrFromSlice(bytes) // of the right length
	return first, last, true
}

// plainAddress reads an address without a prefix or zone; one that is none is an error.
func (l *loader) plainAddress(w syntax.Word, text, effect string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	if err == nil && a.Zone() == "" && !a.Is4In6() {
		return a, true
	}
	remedy := "write an address without a prefix, for instance 10.0.0.1"
	if ap, err := netip.ParseAddrPort(text); err == nil {
		remedy = fmt.Sprintf("write address and port with a blank between: %s %d", ap.Addr(), ap.Port())
	}
	l.fail(w, remedy, "%s is no address: %s", quote(w.Text), effect)
	return netip.Addr{}, false
}

// endpoint reads ADDRESS [PORT] behind a keyword, for instance of a real server; without a
// port it is 0.
func (l *loader) endpoint(n *syntax.Node, effect string) (netip.AddrPort, bool) {
	args := n.Args()
	a, ok := l.plainAddress(args[0], args[0].Text, effect)
	if !ok || len(args) == 1 {
		return netip.AddrPortFrom(a, 0), ok
	}
	port, ok := l.number(Error, "port", args[1], 0, 65535, effect)
	if len(args) > 2 {
		l.warn(args[2], "write "+n.Keyword()+" ADDRESS PORT", "%s is ignored", quote(args[2].Text))
	}
	return netip.AddrPortFrom(a, uint16(port)), ok
}

// String returns the member as the configuration has it.
func (a ServiceAddr) String() string {
	switch {
	case a.FWMark != 0:
		return "fwmark " + strconv.FormatUint(uint64(a.FWMark), 10)
	case a.Addr.Port() == 0:
		return a.Addr.Addr().String()
	}
	return fmt.Sprintf("%s %d", a.Addr.Addr(), a.Addr.Port())
}
