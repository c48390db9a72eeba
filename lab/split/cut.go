package split

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Traffic is a kind of traffic that a Cut drops.
type Traffic string

// The kinds of traffic.
const (
	VRRP    Traffic = "vrrp"    // adverts: IP protocol 112
	Mesh    Traffic = "mesh"    // the mesh port, UDP and TCP
	Witness Traffic = "witness" // the witness's ports, TCP
	IP      Traffic = "ip"      // all IP but SSH and neighbour discovery
	ARP     Traffic = "arp"     // ARP and, for IPv6, neighbour discovery
	All     Traffic = "all"     // IP and ARP
)

// traffics returns all kinds of traffic.
func traffics() []Traffic { return []Traffic{VRRP, Mesh, Witness, IP, ARP, All} }

// Way is the direction that a Cut drops, seen from this host.
type Way string

// The directions.
const (
	Both Way = "both"
	In   Way = "in"
	Out  Way = "out"
)

// ways returns all directions.
func ways() []Way { return []Way{Both, In, Out} }

// LongAfter is the length from which on a cut is more than a test: who wants that has to
// say so. Longest is the longest one that there is.
const (
	LongAfter = 10 * time.Minute
	Longest   = 24 * time.Hour
)

// Cut is what is dropped, between this host and whom, and for how long.
type Cut struct {
	Block []Traffic
	Way   Way
	Peers []netip.Addr  // without a zone; not of this host
	For   time.Duration // at most Longest

	MeshPort     uint16
	WitnessPorts []uint16
	SSH          []uint16 // TCP ports that are never dropped, see FindSSH
	Links        []string // by which the peers are reached without a router, see LinksTo; for ARP
}

// Validate reports the first mistake in a cut, with the remedy.
func (c Cut) Validate() error {
	if len(c.Block) == 0 || len(c.Peers) == 0 {
		return errors.New("say what is to be dropped, and between this host and whom")
	}
	for _, t := range c.Block {
		if !slices.Contains(traffics(), t) {
			return fmt.Errorf("unknown traffic %q; there are: %s", t, list(traffics()))
		}
	}
	if !slices.Contains(ways(), c.Way) {
		return fmt.Errorf("unknown direction %q; there are: %s", c.Way, list(ways()))
	}
	if c.For < time.Millisecond || c.For > Longest {
		return fmt.Errorf("a cut lasts from a millisecond to %v: not %v", Longest, c.For)
	}
	for _, p := range c.Peers {
		if !p.IsGlobalUnicast() && !p.IsLinkLocalUnicast() || p.Zone() != "" || p.Is4In6() {
			return fmt.Errorf("%s is not the address of another host", p)
		}
	}
	if c.drops(ARP) && len(c.Links) == 0 {
		return errors.New("ARP cannot be dropped: all peers are behind a router; leave arp out, or say ip in place of all")
	}
	return nil
}

// drops reports whether the cut drops a kind of traffic; All is the two it consists of.
func (c Cut) drops(t Traffic) bool {
	return slices.Contains(c.Block, t) || (t == IP || t == ARP) && slices.Contains(c.Block, All)
}

func list[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}

// String returns the cut in words.
func (c Cut) String() string {
	way := map[Way]string{Both: "from and to", In: "from", Out: "to"}[c.Way]
	peers := make([]string, len(c.Peers))
	for i, p := range c.Peers {
		peers[i] = p.String()
	}
	return fmt.Sprintf("for %v this host drops %s %s %s", c.For, list(c.Block), way, strings.Join(peers, ", "))
}
