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
	iface    expr.MetaKey // inet only: what names the interface
	addr     uint32       // inet only: where the other side's address is in an IPv4 header
}

// drop makes the host's firewall drop traffic; peer restricts it to one other host.
func (h *host) drop(traffic scenario.Traffic, way scenario.Way, peer netip.Addr) error {
	conn, err := nftables.New(nftables.WithNetNSFd(h.ns))
	if err != nil {
		return fmt.Errorf("reach the firewall of %s: %w", h.Name, err)
	}
	for _, hk := range hooks(traffic, way) {
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
			chain.Device = iface
		}
		conn.AddChain(chain)
		for _, match := range matches {
			if peer.IsValid() && hk.table.Family == nftables.TableFamilyINet {
				match = append(match, hk.fromOrTo(peer)...)
			}
			conn.AddRule(&nftables.Rule{
				Table: hk.table, Chain: chain,
				Exprs: append(match, &expr.Verdict{Kind: expr.VerdictDrop}),
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

func hooks(traffic scenario.Traffic, way scenario.Way) []hook {
	inet, link := labTable(nftables.TableFamilyINet), labTable(nftables.TableFamilyNetdev)
	const sourceAddr, destAddr = 12, 16
	var found []hook
	if traffic != scenario.ARPTraffic {
		found = append(found,
			hook{inet, "in", nftables.ChainHookPrerouting, nftables.ChainPriorityConntrackDefrag, expr.MetaKeyIIFNAME, sourceAddr},
			hook{inet, "out", nftables.ChainHookOutput, nftables.ChainPriorityConntrackDefrag, expr.MetaKeyOIFNAME, destAddr})
	}
	if traffic == scenario.ARPTraffic || traffic == scenario.AllTraffic {
		// Not in the arp family, which daemons' packet sockets bypass.
		found = append(found,
			hook{table: link, name: "in", hook: nftables.ChainHookIngress, priority: nftables.ChainPriorityFilter},
			hook{table: link, name: "out", hook: nftables.ChainHookEgress, priority: nftables.ChainPriorityFilter})
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

func isARP() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(unix.ETH_P_ARP)},
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
	case scenario.ARPTraffic:
	}
	return nil
}

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
