package netns

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
)

const (
	meshPort    = 7946
	witnessPort = 2379
	vrrpProto   = 112
)

// firewall remembers what the lab put into a host's nftables.
type firewall struct {
	inet, link bool
}

// hook is a place in the kernel where a direction of traffic can be dropped, before any
// rule of the system under test sees it.
type hook struct {
	table    *nftables.Table
	name     string
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	device   string       // netdev only
	iface    expr.MetaKey // inet only: what names the interface
	addr     uint32       // inet only: where the other side's address is in an IPv4 header
}

// drop makes the host's firewall drop traffic; peer restricts it to one other host, and
// percent to that share of it.
func (h *host) drop(traffic scenario.Traffic, way scenario.Way, peer netip.Addr, percent int) error {
	conn, err := nftables.New(nftables.WithNetNSFd(h.ns))
	if err != nil {
		return fmt.Errorf("reach the firewall of %s: %w", h.Name, err)
	}
	for _, hk := range h.hooks(traffic, way) {
		conn.AddTable(hk.table)
		chain := &nftables.Chain{
			Name: hk.name, Table: hk.table, Type: nftables.ChainTypeFilter, Hooknum: hk.hook, Priority: hk.priority,
		}
		matches := [][]expr.Any{isARP()}
		if hk.table.Family == nftables.TableFamilyINet {
			h.firewall.inet = true
			matches = hk.matches(traffic)
		} else {
			h.firewall.link = true
			chain.Name, chain.Device = hk.name+"-"+hk.device, hk.device
		}
		conn.AddChain(chain)
		for _, match := range matches {
			if peer.IsValid() && hk.table.Family == nftables.TableFamilyINet {
				match = append(match, hk.fromOrTo(peer)...)
			}
			conn.AddRule(&nftables.Rule{
				Table: hk.table, Chain: chain,
				Exprs: append(append(match, chance(percent)...), &expr.Verdict{Kind: expr.VerdictDrop}),
			})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("make the firewall of %s drop %s: %w", h.Name, traffic, err)
	}
	return nil
}

// allow takes away all that drop has made.
func (h *host) allow() error {
	conn, err := nftables.New(nftables.WithNetNSFd(h.ns))
	if err != nil {
		return fmt.Errorf("reach the firewall of %s: %w", h.Name, err)
	}
	if h.firewall.inet {
		conn.DelTable(labTable(nftables.TableFamilyINet))
	}
	if h.firewall.link {
		conn.DelTable(labTable(nftables.TableFamilyNetdev))
	}
	h.firewall = firewall{}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("open the firewall of %s: %w", h.Name, err)
	}
	return nil
}

func labTable(family nftables.TableFamily) *nftables.Table {
	return &nftables.Table{Name: "lab", Family: family}
}

func (h *host) hooks(traffic scenario.Traffic, way scenario.Way) []hook {
	inet, link := labTable(nftables.TableFamilyINet), labTable(nftables.TableFamilyNetdev)
	const sourceAddr, destAddr = 12, 16
	var found []hook
	if traffic != scenario.ARPTraffic {
		found = append(found,
			hook{inet, "in", nftables.ChainHookPrerouting, nftables.ChainPriorityConntrackDefrag, "", expr.MetaKeyIIFNAME, sourceAddr},
			hook{inet, "out", nftables.ChainHookOutput, nftables.ChainPriorityConntrackDefrag, "", expr.MetaKeyOIFNAME, destAddr})
	}
	if traffic == scenario.ARPTraffic || traffic == scenario.AllTraffic {
		// Not in the arp family, which daemons' packet sockets bypass.
		for _, c := range h.cables {
			found = append(found,
				hook{table: link, name: "in", hook: nftables.ChainHookIngress, priority: nftables.ChainPriorityFilter, device: c.name},
				hook{table: link, name: "out", hook: nftables.ChainHookEgress, priority: nftables.ChainPriorityFilter, device: c.name})
		}
	}
	if way == scenario.Both {
		return found
	}
	var one []hook
	for _, hk := range found {
		if hk.name == string(way) {
			one = append(one, hk)
		}
	}
	return one
}

func isARP() []expr.Any { return isProtocol(unix.ETH_P_ARP) }

// isProtocol matches frames that carry a protocol.
func isProtocol(ethertype uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(ethertype)},
	}
}

// matches returns the conditions of one rule each that together select IP traffic.
func (hk hook) matches(traffic scenario.Traffic) [][]expr.Any {
	switch traffic {
	case scenario.VRRPAdverts:
		return [][]expr.Any{protocol(vrrpProto)}
	case scenario.MeshTraffic:
		return append(port(unix.IPPROTO_TCP, meshPort), port(unix.IPPROTO_UDP, meshPort)...)
	case scenario.WitnessTraffic:
		return port(unix.IPPROTO_TCP, witnessPort)
	case scenario.IPTraffic, scenario.AllTraffic:
		loopback := make([]byte, unix.IFNAMSIZ)
		copy(loopback, "lo")
		return [][]expr.Any{{
			&expr.Meta{Key: hk.iface, Register: 1},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: loopback},
		}}
	case scenario.ARPTraffic, scenario.UnaskedTraffic:
	}
	return nil
}

// chance matches so many packets of a hundred, at random; 0: all.
func chance(percent int) []expr.Any {
	if percent == 0 {
		return nil
	}
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: 100, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(uint32(percent))},
	}
}

// rejectUnasked gives the host the rules that firewalld starts with, for its default zone,
// in which ssh alone is opened; and the lab's service, as one would have done.
func (h *host) rejectUnasked() error {
	conn, err := nftables.New(nftables.WithNetNSFd(h.ns))
	if err != nil {
		return fmt.Errorf("reach the firewall of %s: %w", h.Name, err)
	}
	table := conn.AddTable(labTable(nftables.TableFamilyINet))
	const behindFilter = 10 // as firewalld's chains are
	chain := conn.AddChain(&nftables.Chain{
		Name: "unasked", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRef(behindFilter),
	})
	const ssh = 22
	accepted := [][]expr.Any{answers(), loopback(), protocol(unix.IPPROTO_ICMP)}
	accepted = append(accepted, to(unix.IPPROTO_TCP, ssh), to(unix.IPPROTO_TCP, ServicePort), to(unix.IPPROTO_UDP, ServicePort))
	for _, match := range accepted {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, &expr.Verdict{Kind: expr.VerdictAccept})})
	}
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED},
	}})
	h.firewall.inet = true
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("make the firewall of %s reject what comes unasked: %w", h.Name, err)
	}
	return nil
}

// answers matches what belongs to a connection that the kernel knows.
func answers() []expr.Any {
	known := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: known, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func loopback() []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
	}
}

// to matches packets to the port.
func to(proto byte, number uint16) []expr.Any { return port(proto, number)[1] }

// fromOrTo matches IPv4 packets whose other side is the given address.
func (hk hook) fromOrTo(addr netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: hk.addr, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr.AsSlice()},
	}
}

func protocol(number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}
}

// port matches packets from the port and packets to it.
func port(proto byte, number uint16) [][]expr.Any {
	var rules [][]expr.Any
	for _, offset := range []uint32{0, 2} { // source, destination
		rules = append(rules, append(protocol(proto),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(number)}))
	}
	return rules
}
