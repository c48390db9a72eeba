package split

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is the name of our tables, one in the family inet and one in netdev.
const tableName = "solovip_split"

// first is the priority of our chains: before everything else that may look at a packet.
const first = -500

// Where things are in the headers.
const (
	ip4Source, ip4Dest   = 12, 16 // RFC 791 section 3.1
	ip6Source, ip6Dest   = 8, 24  // RFC 8200 section 3
	arpSender, arpTarget = 14, 24 // RFC 826, with addresses of 6 and 4 bytes
	ndFirst, ndLast      = 133, 137
)

// term is a part of a rule, or a rule: as nft writes it, and as the kernel takes it.
type term struct {
	text  string
	exprs []expr.Any
}

// rule puts a rule together.
func rule(verdict expr.VerdictKind, terms ...term) term {
	var r term
	for _, t := range terms {
		if t.text != "" {
			r.text += t.text + " "
		}
		r.exprs = append(r.exprs, t.exprs...)
	}
	r.text += map[expr.VerdictKind]string{expr.VerdictDrop: "drop", expr.VerdictAccept: "accept"}[verdict]
	r.exprs = append(r.exprs, &expr.Verdict{Kind: verdict})
	return r
}

// table is one of our tables with all that is in it.
type table struct {
	*nftables.Table
	sets   []set
	chains []chain
}

// set holds addresses of one family, each until its time is over.
type set struct {
	*nftables.Set
	typ   string
	addrs []netip.Addr
}

type chain struct {
	*nftables.Chain
	text  string
	rules []term
}

// end is one end of a direction: where the peer's address is in what comes in, or goes out.
type end struct {
	name     string // of the sets
	ip4, ip6 term
	arp      term
}

func ends() map[Way]end {
	return map[Way]end{
		In: {
			"from",
			address("ip saddr @from4", unix.NFPROTO_IPV4, ip4Source, 4, "from4"),
			address("ip6 saddr @from6", unix.NFPROTO_IPV6, ip6Source, 16, "from6"),
			arp("arp saddr ip @from4", arpSender, "from4"),
		},
		Out: {
			"to",
			address("ip daddr @to4", unix.NFPROTO_IPV4, ip4Dest, 4, "to4"),
			address("ip6 daddr @to6", unix.NFPROTO_IPV6, ip6Dest, 16, "to6"),
			arp("arp daddr ip @to4", arpTarget, "to4"),
		},
	}
}

// tables returns what the cut puts into the kernel.
func (c Cut) tables() []table {
	inet := table{Table: &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}}
	link := table{Table: &nftables.Table{Name: tableName, Family: nftables.TableFamilyNetdev}}
	hooks := map[Way][2]*nftables.ChainHook{
		In:  {nftables.ChainHookInput, nftables.ChainHookIngress},
		Out: {nftables.ChainHookOutput, nftables.ChainHookEgress},
	}
	names := map[Way][2]string{In: {"input", "ingress"}, Out: {"output", "egress"}}
	for _, way := range []Way{In, Out} {
		if c.Way != Both && c.Way != way {
			continue
		}
		e := ends()[way]
		inet.sets = append(inet.sets, sets(inet.Table, e.name, c.ipPeers(way))...)
		inet.add(names[way][0], hooks[way][0], "", c.ipRules(e))
		if !c.drops(ARP) {
			continue
		}
		link.sets = append(link.sets, sets(link.Table, e.name, c.linkPeers(way))...)
		for _, device := range c.Links {
			link.add(names[way][1], hooks[way][1], device, c.linkRules(e))
		}
	}
	if len(link.chains) == 0 {
		return []table{inet}
	}
	return []table{inet, link}
}

// add adds a base chain; one of netdev belongs to a device.
func (t *table) add(name string, hook *nftables.ChainHook, device string, rules []term) {
	accept, priority := nftables.ChainPolicyAccept, nftables.ChainPriority(first)
	on, chainName := "", name
	if device != "" {
		on, chainName = fmt.Sprintf(" device %q", device), name+"_"+clean(device)
	}
	t.chains = append(t.chains, chain{
		Chain: &nftables.Chain{
			Table: t.Table, Name: chainName, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority,
			Policy: &accept, Device: device,
		},
		text:  fmt.Sprintf("type filter hook %s%s priority %d; policy accept;", name, on, first),
		rules: rules,
	})
}

// clean makes an interface's name one that a chain may have.
func clean(device string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, device)
}

// ipPeers returns who is cut off at the IP layer. Adverts go to everybody by multicast:
// what goes out can only be dropped for all of them.
func (c Cut) ipPeers(way Way) []netip.Addr {
	addrs := slices.Clone(c.Peers)
	if way == Out && (c.drops(VRRP) || c.drops(IP)) {
		addrs = append(addrs, netip.AddrFrom4([4]byte{224, 0, 0, 18}), netip.MustParseAddr("ff02::12")) // RFC 9568 section 5.1
	}
	return addrs
}

// linkPeers returns who is cut off at the link: going out, a neighbour solicitation is sent to
// the group of its target (RFC 4291 section 2.7.1).
func (c Cut) linkPeers(way Way) []netip.Addr {
	addrs := slices.Clone(c.Peers)
	for _, p := range c.Peers {
		if p.Is6() && way == Out {
			group, of := netip.MustParseAddr("ff02::1:ff00:0").As16(), p.As16()
			copy(group[13:], of[13:])
			addrs = append(addrs, netip.AddrFrom16(group))
		}
	}
	return addrs
}

// ipRules returns the rules of one direction at the IP layer. An accept ends our chain only.
func (c Cut) ipRules(e end) []term {
	var rules []term
	for _, p := range c.SSH {
		rules = append(rules, rule(expr.VerdictAccept, port(unix.IPPROTO_TCP, 2, p)), rule(expr.VerdictAccept, port(unix.IPPROTO_TCP, 0, p)))
	}
	var what []term
	if c.drops(VRRP) {
		what = append(what, term{"meta l4proto 112", layer4(112)})
	}
	if c.drops(Mesh) {
		for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			what = append(what, port(proto, 0, c.MeshPort), port(proto, 2, c.MeshPort))
		}
	}
	if c.drops(Witness) {
		for _, p := range c.WitnessPorts {
			what = append(what, port(unix.IPPROTO_TCP, 0, p), port(unix.IPPROTO_TCP, 2, p))
		}
	}
	for _, w := range what {
		rules = append(rules, rule(expr.VerdictDrop, e.ip4, w), rule(expr.VerdictDrop, e.ip6, w))
	}
	if c.drops(IP) {
		rules = append(rules,
			rule(expr.VerdictDrop, e.ip4),
			rule(expr.VerdictAccept, e.ip6, neighbours()),
			rule(expr.VerdictDrop, e.ip6))
	}
	return rules
}

// linkRules returns the rules of one direction at the link. They are not in the family arp,
// which packet sockets go past.
func (c Cut) linkRules(e end) []term {
	isIP6 := term{exprs: protocol(unix.ETH_P_IPV6)} // nft writes nothing for it
	onLink := term{e.ip6.text, e.ip6.exprs[2:]}     // without the check of a family, which the link does not know
	return []term{
		rule(expr.VerdictDrop, e.arp),
		rule(expr.VerdictDrop, isIP6, neighbours(), onLink),
	}
}

// sets returns the sets of one direction.
func sets(t *nftables.Table, name string, addrs []netip.Addr) []set {
	four := set{&nftables.Set{Table: t, Name: name + "4", KeyType: nftables.TypeIPAddr, HasTimeout: true}, "ipv4_addr", nil}
	six := set{&nftables.Set{Table: t, Name: name + "6", KeyType: nftables.TypeIP6Addr, HasTimeout: true}, "ipv6_addr", nil}
	for _, a := range addrs {
		if a.Is4() {
			four.addrs = append(four.addrs, a)
		} else {
			six.addrs = append(six.addrs, a)
		}
	}
	return []set{four, six}
}

// address matches packets of a family whose address at the offset is in a set.
func address(text string, family byte, offset, length uint32, set string) term {
	return term{text, append([]expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equals(family)}, inSet(offset, length, set)...)}
}

func arp(text string, offset uint32, set string) term {
	return term{text, append(protocol(unix.ETH_P_ARP), inSet(offset, 4, set)...)}
}

func inSet(offset, length uint32, set string) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Lookup{SourceRegister: 1, SetName: set},
	}
}

func equals(value ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value}
}

func protocol(etherType uint16) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, equals(binary.BigEndian.AppendUint16(nil, etherType)...)}
}

func layer4(proto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals(proto)}
}

// port matches a source port, at offset 0, or a destination port, at offset 2.
func port(proto byte, offset uint32, number uint16) term {
	which := map[uint32]string{0: "sport", 2: "dport"}[offset]
	name := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[proto]
	return term{
		fmt.Sprintf("%s %s %d", name, which, number),
		append(layer4(proto),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
			equals(binary.BigEndian.AppendUint16(nil, number)...)),
	}
}

// neighbours matches neighbour and router discovery (RFC 4861 section 4).
func neighbours() term {
	return term{
		fmt.Sprintf("icmpv6 type %d-%d", ndFirst, ndLast),
		append(layer4(unix.IPPROTO_ICMPV6),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
			&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{ndFirst}},
			&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{ndLast}}),
	}
}

// Text returns the cut's rules as nft lists them, and reads them.
func (c Cut) Text() string {
	var b strings.Builder
	for _, t := range c.tables() {
		family := map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyNetdev: "netdev"}[t.Family]
		fmt.Fprintf(&b, "table %s %s {\n", family, t.Name)
		for _, s := range t.sets {
			fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n\t\tflags timeout\n%s\t}\n\n", s.Name, s.typ, s.elements(c))
		}
		for i, ch := range t.chains {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "\tchain %s {\n\t\t%s\n", ch.Name, ch.text)
			for _, r := range ch.rules {
				fmt.Fprintf(&b, "\t\t%s\n", r.text)
			}
			b.WriteString("\t}\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func (s set) elements(c Cut) string {
	if len(s.addrs) == 0 {
		return ""
	}
	words := make([]string, len(s.addrs))
	for i, a := range s.addrs {
		words[i] = fmt.Sprintf("%s timeout %s", a, span(c.For))
	}
	return "\t\telements = { " + strings.Join(words, ",\n\t\t\t     ") + " }\n"
}
