package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// Shape is a cluster: what its configuration says.
type Shape struct {
	Mode       arbiter.Mode
	Nodes      int  // 1 to 5
	Voter      bool // a mesh witness votes and relays
	Claims     []ClaimShape
	Advert     time.Duration
	Timing     witness.Timing
	GuardLimit time.Duration // stopping a guard, killing included
	Isolation  arbiter.Isolation
	// ClearAfter is how long a fenced node stays out at the least: shorter than Bound, or
	// the preferred node would come back when it is looked for.
	ClearAfter time.Duration
}

// ClaimShape is one claim of a Shape.
type ClaimShape struct {
	Name    string
	Group   bool // a sync group of two instances
	Always  bool // with a service that runs on every node
	Reverse bool // the last node has the highest priority
}

// ShapeOf returns the cluster that a seed plays: all modes, 2 to 5 nodes.
func ShapeOf(seed uint64) Shape {
	r := rand.New(rand.NewPCG(seed, 2))
	s := Plain(arbiter.ModeLease, 2)
	switch n := r.IntN(20); {
	case n < 7:
		s.Mode = arbiter.ModeQuorum
	case n == 7:
		s.Mode = arbiter.ModeVeto
	case n == 8:
		s.Mode = arbiter.ModeVRRP
	}
	s.Nodes = []int{2, 2, 2, 2, 2, 3, 3, 3, 4, 5}[r.IntN(10)]
	s.Voter = r.IntN(4) > 0 || s.Mode == arbiter.ModeQuorum && s.Nodes == 2
	switch r.IntN(10) {
	case 0, 1:
		s.Advert = 100 * time.Millisecond
		s.Timing = witness.Fast()
	case 2:
		s.Timing = witness.WAN()
	}
	if s.Mode == arbiter.ModeVeto || s.Mode == arbiter.ModeVRRP {
		s.Voter = s.Mode == arbiter.ModeVeto && r.IntN(2) == 0
		s.Nodes = 2
		s.Isolation = arbiter.Isolation(r.IntN(2))
	}
	if r.IntN(3) == 0 {
		s.Claims = append(s.Claims, ClaimShape{Name: "VI_2", Reverse: true})
	}
	s.Claims[0].Group = r.IntN(5) == 0
	s.Claims[0].Always = r.IntN(8) == 0
	return s
}

// Plain is a cluster of one claim with a witness, one advert a second.
func Plain(mode arbiter.Mode, nodes int) Shape {
	return Shape{
		Mode: mode, Nodes: nodes, Voter: true, Claims: []ClaimShape{{Name: "VI_1"}},
		Advert: time.Second, Timing: witness.Auto(time.Second, downAdverts),
		GuardLimit: 2 * time.Second, Isolation: arbiter.IsolationClaim, ClearAfter: 5 * time.Second,
	}
}

const downAdverts = 3

// String says the shape in a line.
func (s Shape) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, %d nodes, advert %v, timing %v", s.Mode, s.Nodes, s.Advert, s.Timing)
	if s.Voter {
		b.WriteString(", mesh witness")
	}
	for _, c := range s.Claims {
		b.WriteString(", " + c.Name)
		if c.Group {
			b.WriteString(" (group)")
		}
		if c.Reverse {
			b.WriteString(" (priorities reversed)")
		}
		if c.Always {
			b.WriteString(" (and a service on all nodes)")
		}
	}
	return b.String()
}

// exposure is how long a host that a hypervisor paused can go on by clocks that stood still: to
// the end of its permission, which no renewal prolongs once another has the claim.
func (s Shape) exposure() time.Duration {
	return (s.Timing.Hold + s.Timing.Late) * 101 / 100
}

// claim returns the number of the claim of that name.
func (s Shape) claim(name string) int {
	return slices.IndexFunc(s.Claims, func(c ClaimShape) bool { return c.Name == name })
}

// priority is that of the node with the given number for the claim.
func (s Shape) priority(claim, number int) uint8 {
	if s.Claims[claim].Reverse {
		number = s.Nodes - 1 - number
	}
	return uint8(150 - 10*number)
}

// addresses are the claim's, one for each of its instances.
func (s Shape) addresses(claim int) []netip.Addr {
	all := []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + 2*claim)})}
	if s.Claims[claim].Group {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, byte(101 + 2*claim)}))
	}
	return all
}

// names of what a node tracks.
const (
	linkName   = "eth0"
	scriptName = "check"
)

// claimConfig is the configuration of a claim on a host. revision stands for whatever
// of it a reload changes.
func (s Shape) claimConfig(claim, number int, addr netip.Addr, token arbiter.Token, revision int) node.ClaimConfig {
	c := s.Claims[claim]
	cfg := node.ClaimConfig{
		Name: c.Name, Group: c.Group, Guarded: true, GuardedAlways: c.Always, GuardLimit: s.GuardLimit, GuardTries: 3,
		Token: token, Version: fmt.Sprint(revision),
	}
	for i, vip := range s.addresses(claim) {
		name := c.Name
		if c.Group {
			name = fmt.Sprintf("%s.%d", c.Name, i+1)
		}
		cfg.Instances = append(cfg.Instances, node.InstanceConfig{
			Address:    addr,
			Interfaces: []node.Track{{Name: linkName}},
			Scripts:    []node.Track{{Name: scriptName}},
			VRRP: vrrp.Config{
				Name: name, VRID: vrrp.VRID(51 + 2*claim + i), Version: vrrp.V3, Priority: s.priority(claim, number),
				AdvertInterval: s.Advert, Preempt: true, Source: addr,
				Addresses:   []netip.Addr{vip},
				DownAdverts: downAdverts, GARP: vrrp.GARP{Delay: 5 * time.Second, Repeat: 5},
			},
		})
	}
	return cfg
}

// nodeConfig is the configuration of a node, without its claims.
func (s Shape) nodeConfig(h *Host) node.Config {
	cfg := node.Config{
		Name: h.Name, Mode: s.Mode, Timing: s.Timing, Isolation: s.Isolation, ClearAfter: s.ClearAfter,
	}
	for _, o := range h.world.Hosts {
		if o != h && s.Mode != arbiter.ModeVRRP {
			cfg.Peers = append(cfg.Peers, o.Name)
		}
	}
	if s.Voter {
		cfg.Witnesses = []string{witnessName}
	}
	return cfg
}
