package gate

import (
	"net/netip"
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
	elementsPerMessage       = 1000 // an attribute holds 64 KiB, an element takes up to 44 bytes
	setVIPs, setArmed        = "vips", "armed"
	setVIPs6, setArmed6      = "vips6", "armed6"
	hookARPInput, hookARPOut = 0, 1 // NF_ARP_IN, NF_ARP_OUT
)

// afterNAT is a priority behind source translation (100), so that what leaves with the
// VIP as its translated source is seen as such.
const afterNAT = 300

// pair is the two sets of one table for one address family.
type pair struct {
	vips, armed *nftables.Set
	v6          bool
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
func newLayout(name string) *layout {
	inet := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	arp := &nftables.Table{Name: name, Family: nftables.TableFamilyARP}
	v4 := newPair(inet, 1, setVIPs, setArmed, nftables.TypeIPAddr)
	v6 := newPair(inet, 3, setVIPs6, setArmed6, nftables.TypeIP6Addr)
	a4 := newPair(arp, 5, setVIPs, setArmed, nftables.TypeIPAddr)

	saddr4 := drop(v4, isFamily(unix.NFPROTO_IPV4), network(ip4Source, ip4Bytes))
	saddr6 := drop(v6, isFamily(unix.NFPROTO_IPV6), network(ip6Source, ip6Bytes))
	return &layout{
		tables: []*nftables.Table{inet, arp},
		pairs:  []pair{v4, v6, a4},
		chains: []chain{
			{baseChain(inet, "prerouting", nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw), [][]expr.Any{
				drop(v4, isFamily(unix.NFPROTO_IPV4), network(ip4Dest, ip4Bytes)),
				drop(v6, isFamily(unix.NFPROTO_IPV6), network(ip6Dest, ip6Bytes)),
				drop(v6, isND(ndSolicit), transport(ndTarget, ip6Bytes)),
			}},
			{baseChain(inet, "output", nftables.ChainHookOutput, *nftables.ChainPriorityRaw), [][]expr.Any{
				saddr4, saddr6,
				drop(v6, isND(ndAdvertise), transport(ndTarget, ip6Bytes)),
			}},
			{baseChain(inet, "postrouting", nftables.ChainHookPostrouting, afterNAT), [][]expr.Any{
				saddr4, saddr6,
			}},
			{baseChain(arp, "input", nftables.ChainHookRef(hookARPInput), 0), [][]expr.Any{
				drop(a4, isRequestNotFrom(a4.vips), network(arpTarget, ip4Bytes)),
			}},
			{baseChain(arp, "output", nftables.ChainHookRef(hookARPOut), 0), [][]expr.Any{
				drop(a4, nil, network(arpSender, ip4Bytes)),
			}},
		},
	}
}

// newPair describes two sets. The ids tell the sets of one transaction apart.
func newPair(t *nftables.Table, id uint32, vips, armed string, typ nftables.SetDatatype) pair {
	return pair{
		vips:  &nftables.Set{Table: t, ID: id, Name: vips, KeyType: typ},
		armed: &nftables.Set{Table: t, ID: id + 1, Name: armed, KeyType: typ, HasTimeout: true},
		v6:    typ.Bytes == ip6Bytes,
	}
}

func baseChain(t *nftables.Table, name string, hook *nftables.ChainHook, prio nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{Table: t, Name: name, Hooknum: hook, Priority: &prio,
		Type: nftables.ChainTypeFilter, Policy: &accept}
}

// drop is the rule: match, load the address, in vips, not in armed, drop.
func drop(p pair, match []expr.Any, load *expr.Payload) []expr.Any {
	var rule []expr.Any
	rule = append(rule, match...)
	return append(rule, load,
		&expr.Lookup{SourceRegister: 1, SetName: p.vips.Name, SetID: p.vips.ID},
		&expr.Lookup{SourceRegister: 1, SetName: p.armed.Name, SetID: p.armed.ID, Invert: true},
		&expr.Verdict{Kind: expr.VerdictDrop})
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
		for _, s := range []*nftables.Set{p.vips, p.armed} {
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

// elements returns those of addrs that are of the pair's family, in portions that fit
// into one message. A timeout of zero is none.
func (p pair) elements(addrs []netip.Addr, timeout time.Duration) [][]nftables.SetElement {
	var all [][]nftables.SetElement
	for _, a := range addrs {
		if a.Is6() != p.v6 {
			continue
		}
		if len(all) == 0 || len(all[len(all)-1]) == elementsPerMessage {
			all = append(all, nil)
		}
		last := &all[len(all)-1]
		*last = append(*last, nftables.SetElement{Key: a.AsSlice(), Timeout: timeout})
	}
	return all
}
