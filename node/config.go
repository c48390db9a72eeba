package node

import (
	"net/netip"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// Config is what a Node works by.
type Config struct {
	Name        string // this node's name in the cluster; the host's name without one
	Incarnation uint64 // grows with each start of the daemon
	Mode        arbiter.Mode
	Peers       []string       // the other nodes, sorted
	Witnesses   []string       // members of the mesh that vote and hold nothing, sorted
	Timing      witness.Timing // ModeLease and ModeQuorum; must pass Check
	Isolation   arbiter.Isolation
	Reference   bool          // ModeVeto: an address must answer before a claim is taken in isolation
	ShotDelay   time.Duration // on_isolation fence: the head start of the node that shoots first
	ShotJitter  time.Duration // and what chance adds, for both; drawn anew for each start
	ClearAfter  time.Duration // how long a fenced node stays out at the least; 0: until an operator clears it
	Watchdog    WatchdogMode
	// ByLifetime says that nothing but an address's lifetime silences it when this node
	// cannot, so that it is extended with each renewal; Timing has to fit.
	ByLifetime bool
	// Left says that this node left while the witness was silent: see leave.go.
	Left bool
	// Trusted is the etcd cluster that was the witness before this start; 0: none is known.
	Trusted uint64
	// Standby is what the operator said last, before the daemon was started.
	Standby bool
	// Former are the claims that a former start of this daemon may have held, with their tokens:
	// see former.go.
	Former map[string]Former
	// Kept are the claims that a former start left in place for this one: see adopt.go.
	Kept map[string]Kept
	// Fenced has the fencings that former starts of the daemon left open, one a claim. Those
	// of another boot of the host have no Began.
	Fenced []fencing.Record
	Claims []ClaimConfig // sorted by name
}

// ClaimConfig is one claim: an instance, or a sync group of several.
type ClaimConfig struct {
	Name      string
	Group     bool // a sync group, even one of a single instance
	Instances []InstanceConfig
	// Guarded says that services are guarded by this claim and run only where it is held.
	Guarded bool
	// GuardedAlways says that services are guarded by it that run on every node, and are
	// stopped only when a node has to let go by force.
	GuardedAlways bool
	// GuardLimit is the longest time its guards take to stop, killing included. A
	// claim taken from a node that did not release it starts its guards that much later.
	GuardLimit time.Duration
	// GuardTries is how often in a row its guarded services may not start, or end by
	// themselves, until the claim is given up for another node; 0: it is never given up.
	GuardTries int
	Token      arbiter.Token // the highest one stored by former starts of the daemon
	// Version changes with anything of the claim that only the shell knows
	// (addresses, commands), so that a reload notices.
	Version string
}

// InstanceConfig is one VRRP instance and what moves its priority.
type InstanceConfig struct {
	VRRP       vrrp.Config
	Address    netip.Addr // the source of its adverts: breaks ties
	Interfaces []Track
	Scripts    []Track
}

// Track is an interface or a script whose state moves an instance's priority.
type Track struct {
	Name   string
	Weight int // 0: down is a fault; above 0: added while up; below 0: added while down
	// Reverse swaps up and down for the weight, as keepalived's word of that name does.
	Reverse bool
}

// What the shell around a node has to keep to as well.
const (
	// BrokenFor is how long a claim is left to others after an effect of taking or holding
	// it has failed here.
	BrokenFor = 10 * time.Second
	// ShortestLifetime is what an address needs to live until it is extended, each second,
	// by a loop that has something else to do just then.
	ShortestLifetime = 2 * time.Second
)

// FreeLifetime returns how long an address lives that is held without a deadline and is not
// extended any more: an advertisement interval longer than others wait.
func FreeLifetime(advert time.Duration, downAdverts int) time.Duration {
	return advert * time.Duration(downAdverts+1)
}

const (
	// reportEvery is how often a node tells the mesh how it stands, changed or not.
	reportEvery = 200 * time.Millisecond
	// freshFor is how long a peer's word counts; several reports fit in.
	freshFor = time.Second
	// askFor is how long the first answer of a peer that was never heard of is waited for.
	askFor = 1500 * time.Millisecond
	// askEvery is how often an unanswered question is asked again; takeEvery the same while
	// only that keeps the addresses from going on: much less than the 195 ms by which master-down
	// intervals of usual priorities differ.
	askEvery  = 200 * time.Millisecond
	takeEvery = 20 * time.Millisecond
	// offerFor is how long the word of a peer that it has let go counts as an offer.
	offerFor = 2 * time.Second
	// retryEvery is how often a failed letting go (address, guard) is tried again.
	retryEvery = time.Second
	// extendEvery is how often the lifetime of held addresses is extended.
	extendEvery = time.Second
)
