package netns

import (
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
)

// blocked is one direction of traffic that the switch does not carry: what comes from one
// host is dropped where it leaves the switch for the other one, broadcasts and all.
type blocked struct{ from, to *host }

// chain returns the nftables chain, in the stage's own namespace, that does it.
func (b blocked) chain(port string) *nftables.Chain {
	return &nftables.Chain{
		Name: b.from.Name + "-" + port, Table: labTable(nftables.TableFamilyNetdev), Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookEgress, Priority: nftables.ChainPriorityFilter, Device: port,
	}
}

// directions returns what a Block or Unblock step is about.
func (n *network) directions(step scenario.Step) []blocked {
	a, b := n.hosts[step.Host], n.hosts[step.Peer]
	out, in := blocked{a, b}, blocked{b, a}
	switch step.Way {
	case scenario.Out:
		return []blocked{out}
	case scenario.In:
		return []blocked{in}
	case scenario.Both:
	}
	return []blocked{out, in}
}

// block has the switches carry no traffic of a kind between two hosts, or in one direction.
func (n *network) block(step scenario.Step) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("reach the firewall of the switch: %w", err)
	}
	conn.AddTable(labTable(nftables.TableFamilyNetdev))
	for _, d := range n.directions(step) {
		for i, c := range d.to.cables {
			chain := conn.AddChain(d.chain(c.port))
			from := d.from.cables[min(i, len(d.from.cables)-1)].mac
			for _, match := range frames(step.Traffic) {
				conn.AddRule(&nftables.Rule{
					Table: chain.Table, Chain: chain,
					Exprs: append(append(comesFrom(from), match...), &expr.Verdict{Kind: expr.VerdictDrop}),
				})
			}
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("block %s between %s and %s: %w", step.Traffic, step.Host, step.Peer, err)
	}
	n.blocked = append(n.blocked, n.directions(step)...)
	return nil
}

// unblock ends all that block has begun between two hosts.
func (n *network) unblock(step scenario.Step) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("reach the firewall of the switch: %w", err)
	}
	var left []blocked
	gone := map[blocked]bool{}
	for _, d := range n.blocked {
		if d != (blocked{n.hosts[step.Host], n.hosts[step.Peer]}) && d != (blocked{n.hosts[step.Peer], n.hosts[step.Host]}) {
			left = append(left, d)
			continue
		}
		for _, c := range d.to.cables {
			if !gone[d] {
				conn.DelChain(d.chain(c.port))
			}
		}
		gone[d] = true
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("join %s and %s: %w", step.Host, step.Peer, err)
	}
	n.blocked = left
	return nil
}

// comesFrom matches frames of a sender.
func comesFrom(mac net.HardwareAddr) []expr.Any {
	const source = 6 // in an Ethernet header
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: source, Len: uint32(len(mac))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: mac},
	}
}

// frames returns the conditions of one rule each that together select traffic on a wire.
func frames(traffic scenario.Traffic) [][]expr.Any {
	switch traffic {
	case scenario.ARPTraffic:
		return [][]expr.Any{isARP()}
	case scenario.AllTraffic:
		return [][]expr.Any{nil}
	case scenario.IPTraffic:
		return [][]expr.Any{isProtocol(unix.ETH_P_IP)}
	case scenario.VRRPAdverts, scenario.MeshTraffic, scenario.WitnessTraffic, scenario.UnaskedTraffic:
	}
	var rules [][]expr.Any
	for _, match := range (hook{}).matches(traffic) {
		rules = append(rules, append(isProtocol(unix.ETH_P_IP), match...))
	}
	return rules
}
