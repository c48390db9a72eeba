package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/solovip/solovip/config/syntax"
)

// maxLabel is the longest label of an address: IFNAMSIZ less the NUL.
const maxLabel = 15

// addressFlags are the options of an address that are words of their own, and
// addressParameters some that take a value. None of those two is supported yet.
//
//nolint:gochecknoglobals // tables
var (
	addressFlags      = []string{"use_vmac", "home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin", "no_track"}
	addressParameters = []string{"peer", "preferred_lft", "track_group"}
	addressOptions    = slices.Concat([]string{"dev", "label", "brd", "broadcast", "scope"}, addressFlags, addressParameters)
)

// readAddresses reads the entries of virtual_ipaddress or virtual_ipaddress_excluded. An
// entry that keepalived would drop is a lost virtual address: an error.
func (l *loader) readAddresses(block *syntax.Node, to *[]Address) {
	advertised := block.Keyword() == "virtual_ipaddress"
	for _, n := range l.good(block) {
		a, ok := l.readAddress(n)
		if !ok {
			continue
		}
		if list := *to; advertised && len(list) > 0 && list[0].Prefix.Addr().Is6() != a.Prefix.Addr().Is6() {
			l.fail(n.Words[0], "put it into virtual_ipaddress_excluded, or into an instance of its own",
				"%s is not of the family of the first address: keepalived loses it", a.Prefix.Addr())
			continue
		}
		*to = append(*to, a)
	}
}

// readAddress reads one entry.
func (l *loader) readAddress(n *syntax.Node) (Address, bool) {
	a := Address{Scope: "global", Pos: n.Words[0].Pos}
	prefix, ok := l.readPrefix(n.Words[0])
	if !ok {
		return a, false
	}
	a.Prefix = prefix
	for rest := n.Args(); len(rest) > 0; rest = rest[1:] {
		name := rest[0]
		takes := slices.Contains(addressOptions, name.Text) && !slices.Contains(addressFlags, name.Text)
		if takes && len(rest) == 1 {
			l.fail(name, "write its value behind it", "%s without a value: keepalived loses the address %s", name.Text, prefix.Addr())
			return a, false
		}
		if takes {
			rest = rest[1:]
		}
		if !l.addressOption(&a, name, rest[0]) {
			return a, false
		}
	}
	return a, true
}

// readPrefix reads an address with its prefix length.
func (l *loader) readPrefix(w syntax.Word) (netip.Prefix, bool) {
	text, length, has := strings.Cut(w.Text, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		remedy := "write ADDRESS/PREFIX, for instance 10.0.0.3/24"
		if strings.ContainsAny(w.Text, ",;") {
			remedy = "put each address on a line of its own, without commas"
		}
		l.fail(w, remedy, "%s is no address: keepalived loses it", quote(w.Text))
		return netip.Prefix{}, false
	}
	addr = addr.Unmap()
	if !has {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	bits, err := strconv.Atoi(length)
	switch {
	case err == nil && bits >= 0 && bits <= addr.BitLen():
		return netip.PrefixFrom(addr, bits), true
	case strings.ContainsAny(length, ",;"):
		l.fail(w, "put each address on a line of its own, without commas", "%s is more than an address: keepalived loses what is behind the comma", quote(w.Text))
		return netip.Prefix{}, false
	}
	remedy := "write a prefix length up to " + strconv.Itoa(addr.BitLen())
	if mask, err := netip.ParseAddr(length); err == nil && mask.Is4() && addr.Is4() {
		remedy = "write the prefix length: " + text + "/" + strconv.Itoa(maskBits(mask))
	}
	l.warn(w, remedy, "bad prefix length in %s: %d is used", quote(w.Text), addr.BitLen())
	return netip.PrefixFrom(addr, addr.BitLen()), true
}

// maskBits returns how many one bits a network mask begins with.
func maskBits(mask netip.Addr) int {
	n := 0
	for _, b := range mask.AsSlice() {
		for ; b&0x80 != 0; b <<= 1 {
			n++
		}
	}
	return n
}

// addressOption reads one option of an address; a flag is its own value. It returns
// false when keepalived would drop the address over it.
func (l *loader) addressOption(a *Address, name, value syntax.Word) bool {
	switch name.Text {
	case "dev":
		a.Interface = value.Text
	case "label":
		if len(value.Text) > maxLabel {
			l.fail(value, "write 15 characters at most", "label %s is longer than 15 characters: keepalived loses the address %s", quote(value.Text), a.Prefix.Addr())
			return false
		}
		a.Label = value.Text
	case "brd", "broadcast":
		return l.broadcast(a, value)
	case "scope":
		n, err := strconv.Atoi(value.Text)
		known := slices.Contains([]string{"global", "site", "link", "host", "nowhere"}, value.Text)
		if !known && (err != nil || n < 0 || n > 255) {
			l.warn(value, "write global, site, link, host, nowhere or a number up to 255", "unknown scope %s: global is used", quote(value.Text))
			return true
		}
		a.Scope = value.Text
	default:
		switch {
		case slices.Contains(addressOptions, name.Text):
			l.warn(name, "", "%s is not supported yet", name.Text)
		case isAddress(name.Text):
			l.fail(name, "put each address on a line of its own", "two addresses in one line: keepalived loses %s", name.Text)
		default:
			l.warn(name, didYouMean(name.Text, addressOptions), "unknown option %s of an address: it is ignored", quote(name.Text))
		}
	}
	return true
}

// broadcast reads the value of brd: an address, + for all host bits set, - for none.
func (l *loader) broadcast(a *Address, w syntax.Word) bool {
	p := a.Prefix
	if w.Text != "+" && w.Text != "-" {
		b, err := netip.ParseAddr(w.Text)
		if err != nil || !b.Is4() {
			l.fail(w, "write an IPv4 address, or +", "brd %s is no address: keepalived loses the address %s", quote(w.Text), p.Addr())
			return false
		}
		a.Broadcast = b
		return true
	}
	if !p.Addr().Is4() || p.Bits() > 30 {
		l.warn(w, "write a prefix length up to 30 behind the address", "the prefix of %s is too long for a broadcast address: brd is ignored", p)
		return true
	}
	bytes := p.Masked().Addr().As4()
	if w.Text == "+" {
		for i := p.Bits(); i < 32; i++ {
			bytes[i/8] |= 0x80 >> (i % 8)
		}
	}
	a.Broadcast = netip.AddrFrom4(bytes)
	return true
}

// isAddress reports whether a word is an address, with or without a prefix length.
func isAddress(s string) bool {
	s, _, _ = strings.Cut(s, "/")
	_, err := netip.ParseAddr(s)
	return err == nil
}
