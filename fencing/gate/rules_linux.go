package gate

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Where the addresses are in the headers.
const (
	ip4Source, ip4Dest       = 12, 16 // RFC 791 section 3.1
	ip6Source, ip6Dest       = 8, 24  // RFC 8200 section 3
	arpOperation             = 6      // RFC 826, with addresses of 6 and 4 bytes
	arpSender, arpTarget     = 14, 24
	ndTarget                 = 8 // RFC 4861 sections 4.3 and 4.4
	ndSolicit, ndAdvertise   = 135, 136
	arpRequest               = 1
	ip4Bytes, ip6Bytes       = 4, 16
	nameBytes                = unix.IFNAMSIZ // of an interface
	elementsPerMessage       = 1000          // an attribute holds 64 KiB, an element takes up to 60 bytes
	setVIPs, setArmed        = "vips", "armed"
	setVIPs6, setArmed6      = "vips6", "armed6"
	setVIPsLL, setArmedLL    = "vips6_link", "armed6_link"
	setHushed, setHushed6    = "hushed", "hushed6"
	setHushedLL              = "hushed6_link"
	hookARPInput, hookARPOut = 0, 1 // NF_ARP_IN, NF_ARP_OUT
)

// afterNAT is a priority behind source translation (100), so that what leaves with the
// VIP as its translated source is seen as such.
const afterNAT = 300

// kind is what a set has for keys.
type kind uint8

const (
	ip4       kind = iota // addresses
	ip6                   // addresses, link-local ones left out
	linkLocal             // interface and link-local IPv6 address: the same one may be on each link
)

func kindOf(a netip.Addr) kind {
	switch {
	case a.Is4():
		return ip4
	case a.IsLinkLocalUnicast():
		return linkLocal
	}
	return ip6
}

// pair is the sets of one table for one kind of keys: who is silent unless it is armed. For those
// in hushed, which is nil where nothing asks for addresses, only the questions are dropped.
type pair struct {
	vips, armed, hushed *nftables.Set
	kind                kind
}

// chain is a base chain with its rules.
type chain struct {
	chain *nftables.Chain
	rules [][]expr.Any
}

// layout is all that a gate puts into the kernel, but for the elements.
type layout struct {
	tables []*nftables.Table
	pairs  []pair
	chains []chain
}

// newLayout describes the two tables.
//
// Incoming ARP is dropped only when it asks for a VIP, and only when the asker is not
// a VIP itself, and outgoing ARP when it speaks as the VIP: so this host can still
// resolve the VIP when somebody else holds it, and hears the new holder's
// announcement. Neighbour discovery is treated alike: solicitations are dropped on the
// way in and advertisements on the way out.
//
// Hushed VIPs are not asked for: the same, on the way in, and where only what is for this host
// itself comes by, as this happens on every standby all the time. So what it bridges for its
// guests passes, and so does what is sent to it with a VIP on lo, as to a server of IPVS's.
//
// What comes in is dropped before anything else of netfilter has a look (prerouting at
// the raw priority): before conntrack, a translation of its destination (dstnat, -100),
// IPVS (input, just before srcnat) and whatever a firewall does. Another table's accept
// ends its own chain only, so it does not lead past here. What goes out is dropped in
// output, and again in postrouting behind source translation (100): there also the
// answers of containers and of IPVS's real servers (forward, 100) have the VIP as their
// source.
func newLayout(name string) *layout {
	inet := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	arp := &nftables.Table{Name: name, Family: nftables.TableFamilyARP}
	v4 := newPair(inet, 1, setVIPs, setArmed, "", ip4)
	v6 := newPair(inet, 3, setVIPs6, setArmed6, setHushed6, ip6)
	ll := newPair(inet, 6, setVIPsLL, setArmedLL, setHushedLL, linkLocal)
	a4 := newPair(arp, 9, setVIPs, setArmed, setHushed, ip4)

	const in, out = expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME
	sources := [][]expr.Any{
		drop(v4, isFamily(unix.NFPROTO_IPV4), network(ip4Source, ip4Bytes)),
		drop(v6, isFamily(unix.NFPROTO_IPV6), network(ip6Source, ip6Bytes)),
		drop(ll, isFamily(unix.NFPROTO_IPV6), on(out, network(ip6Source, ip6Bytes))...),
	}
	return &layout{
		tables: []*nftables.Table{inet, arp},
		pairs:  []pair{v4, v6, ll, a4},
		chains: []chain{
			{baseChain(inet, "prerouting", nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw), [][]expr.Any{
				drop(v4, isFamily(unix.NFPROTO_IPV4), network(ip4Dest, ip4Bytes)),
				drop(v6, isFamily(unix.NFPROTO_IPV6), network(ip6Dest, ip6Bytes)),
				drop(ll, isFamily(unix.NFPROTO_IPV6), on(in, network(ip6Dest, ip6Bytes))...),
				drop(v6, isND(ndSolicit), transport(ndTarget, ip6Bytes)),
				drop(ll, isND(ndSolicit), on(in, transport(ndTarget, ip6Bytes))...),
			}},
			{baseChain(inet, "input", nftables.ChainHookInput, *nftables.ChainPriorityRaw), [][]expr.Any{
				hush(v6, isND(ndSolicit), transport(ndTarget, ip6Bytes)),
				hush(ll, isND(ndSolicit), on(in, transport(ndTarget, ip6Bytes))...),
			}},
			{baseChain(inet, "output", nftables.ChainHookOutput, *nftables.ChainPriorityRaw), append(slices.Clone(sources),
				drop(v6, isND(ndAdvertise), transport(ndTarget, ip6Bytes)),
				drop(ll, isND(ndAdvertise), on(out, transport(ndTarget, ip6Bytes))...),
			)},
			{baseChain(inet, "postrouting", nftables.ChainHookPostrouting, afterNAT), sources},
			{baseChain(arp, "input", nftables.ChainHookRef(hookARPInput), 0), [][]expr.Any{
				drop(a4, isRequestNotFrom(a4.vips), network(arpTarget, ip4Bytes)),
				hush(a4, isRequestNotFrom(a4.hushed), network(arpTarget, ip4Bytes)),
			}},
			{baseChain(arp, "output", nftables.ChainHookRef(hookARPOut), 0), [][]expr.Any{
				drop(a4, nil, network(arpSender, ip4Bytes)),
			}},
		},
	}
}

// newPair describes the sets. The ids, from id on, tell those of one transaction apart.
func newPair(t *nftables.Table, id uint32, vips, armed, hushed string, k kind) pair {
	typ := map[kind]nftables.SetDatatype{
		ip4: nftables.TypeIPAddr, ip6: nftables.TypeIP6Addr,
		linkLocal: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIP6Addr),
	}[k]
	p := pair{
		vips:  &nftables.Set{Table: t, ID: id, Name: vips, KeyType: typ, Concatenation: k == linkLocal},
		armed: &nftables.Set{Table: t, ID: id + 1, Name: armed, KeyType: typ, Concatenation: k == linkLocal, HasTimeout: true},
		kind:  k,
	}
	if hushed != "" {
		p.hushed = &nftables.Set{Table: t, ID: id + 2, Name: hushed, KeyType: typ, Concatenation: k == linkLocal}
	}
	return p
}

func baseChain(t *nftables.Table, name string, hook *nftables.ChainHook, prio nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Table: t, Name: name, Hooknum: hook, Priority: &prio,
		Type: nftables.ChainTypeFilter, Policy: &accept,
	}
}

// drop is the rule for guarded VIPs, hush the one for hushed ones.
func drop(p pair, match []expr.Any, load ...expr.Any) []expr.Any {
	return dropUnlessArmed(p.vips, p, match, load)
}

func hush(p pair, match []expr.Any, load ...expr.Any) []expr.Any {
	return dropUnlessArmed(p.hushed, p, match, load)
}

// dropUnlessArmed is the rule: match, load the key, in the set, not in armed, drop.
func dropUnlessArmed(set *nftables.Set, p pair, match, load []expr.Any) []expr.Any {
	rule := slices.Concat(match, load)
	return append(rule,
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		&expr.Lookup{SourceRegister: 1, SetName: p.armed.Name, SetID: p.armed.ID, Invert: true},
		&expr.Verdict{Kind: expr.VerdictDrop})
}

// on loads the interface's name and, behind it, the address: the key of the kind linkLocal.
func on(iface expr.MetaKey, addr *expr.Payload) []expr.Any {
	addr.DestRegister = 2 // 16 bytes behind register 1
	return []expr.Any{&expr.Meta{Key: iface, Register: 1}, addr}
}

func network(offset, length uint32) *expr.Payload {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

func transport(offset, length uint32) *expr.Payload {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

func equals(value ...byte) *expr.Cmp {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value}
}

func isFamily(nfproto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equals(nfproto)}
}

// isND matches one kind of neighbour discovery message.
func isND(icmpType byte) []expr.Any {
	return append(isFamily(unix.NFPROTO_IPV6),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals(unix.IPPROTO_ICMPV6),
		transport(0, 1), equals(icmpType))
}

// isRequestNotFrom matches ARP requests whose sender is not one of the set.
func isRequestNotFrom(vips *nftables.Set) []expr.Any {
	return []expr.Any{
		network(arpOperation, 2), equals(0, arpRequest),
		network(arpSender, ip4Bytes),
		&expr.Lookup{SourceRegister: 1, SetName: vips.Name, SetID: vips.ID, Invert: true},
	}
}

// install adds the commands that replace whatever has the tables' names by the layout,
// with empty sets.
func (l *layout) install(c *nftables.Conn) error {
	for _, t := range l.tables {
		c.AddTable(t) // so that there is one to delete
		c.DelTable(t)
		c.AddTable(t)
	}
	for _, p := range l.pairs {
		for _, s := range []*nftables.Set{p.vips, p.armed, p.hushed} {
			if s == nil {
				continue
			}
			if err := c.AddSet(s, nil); err != nil {
				return err
			}
		}
	}
	for _, ch := range l.chains {
		c.AddChain(ch.chain)
		for _, exprs := range ch.rules {
			c.AddRule(&nftables.Rule{Table: ch.chain.Table, Chain: ch.chain, Exprs: exprs})
		}
	}
	return nil
}

// elements returns those of addrs that are of the pair's kind, in portions that fit
// into one message, each with its timeout; zero is none.
func (p pair) elements(addrs []netip.Addr, timeout func(netip.Addr) time.Duration) [][]nftables.SetElement {
	var all [][]nftables.SetElement
	for _, a := range addrs {
		if kindOf(a) != p.kind {
			continue
		}
		if len(all) == 0 || len(all[len(all)-1]) == elementsPerMessage {
			all = append(all, nil)
		}
		last := &all[len(all)-1]
		*last = append(*last, nftables.SetElement{Key: p.kind.key(a), Timeout: timeout(a)})
	}
	return all
}

// key is the element of an address.
func (k kind) key(a netip.Addr) []byte {
	if k != linkLocal {
		return a.AsSlice()
	}
	key := make([]byte, nameBytes, nameBytes+ip6Bytes)
	copy(key, a.Zone())
	return append(key, a.AsSlice()...)
}

// addr is the address of an element; false for what is no key of the kind.
func (k kind) addr(key []byte) (netip.Addr, bool) {
	if k != linkLocal {
		return netip.AddrFromSlice(key)
	}
	if len(key) != nameBytes+ip6Bytes {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(key[nameBytes:])
	return a.WithZone(string(bytes.TrimRight(key[:nameBytes], "\x00"))), ok
}
