package node

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/vrrp"
)

// Snapshot is everything a status shows of a node at one instant: a stable contract,
// rendered by the command line and whatever else shows a status. Durations are in
// milliseconds; -1 is "never".
type Snapshot struct {
	Node        string            `json:"node"`
	Mode        string            `json:"mode"`
	ModeInWords string            `json:"mode_in_words"`
	Safety      Safety            `json:"safety"`
	SafetyWhy   string            `json:"safety_why"`
	UptimeMS    int64             `json:"uptime_ms"`
	Stopping    bool              `json:"stopping"`
	Standby     bool              `json:"standby"`
	LedgerError string            `json:"ledger_error,omitempty"` // why fencings cannot be written down
	Witness     *WitnessSnapshot  `json:"witness,omitempty"`
	Watchdog    *WatchdogSnapshot `json:"watchdog,omitempty"`
	Peers       []PeerSnapshot    `json:"peers"`
	Claims      []ClaimSnapshot   `json:"claims"`
}

// Safety sums a snapshot up.
type Safety string

// The values of Safety.
const (
	Safe     Safety = "safe"     // two holders are impossible, and one fault is survived
	Degraded Safety = "degraded" // two holders are impossible, but a fault more costs the VIP
	Unsafe   Safety = "unsafe"   // two holders are possible
)

// WitnessSnapshot is the etcd witness as this node sees it.
type WitnessSnapshot struct {
	AnsweredMS int64  `json:"answered_ms"` // ago
	Silent     bool   `json:"silent"`
	Error      string `json:"error,omitempty"`
	// Condition says in words what is wrong with it, and since when: silent, slow, refusing to
	// write, emptied or put back, another etcd cluster. Empty: nothing is.
	Condition string `json:"condition,omitempty"`
	RenewMS   int64  `json:"renew_ms"`
	HoldMS    int64  `json:"hold_ms"`
	WaitMS    int64  `json:"wait_ms"`
}

// PeerSnapshot is another member of the mesh.
type PeerSnapshot struct {
	Name     string                `json:"name"`
	Witness  bool                  `json:"witness,omitempty"`
	Alive    string                `json:"alive"` // yes, no or unknown
	Path     string                `json:"path"`  // of its latest word: direct, or via NAME
	AgeMS    int64                 `json:"age_ms"`
	DirectMS int64                 `json:"direct_ms"` // since it was last heard without a relay
	BeatMS   int64                 `json:"beat_ms"`   // since its record at the witness changed
	Mode     string                `json:"mode,omitempty"`
	Claims   []arbiter.ClaimReport `json:"claims,omitempty"`
}

// ClaimSnapshot is one claim.
type ClaimSnapshot struct {
	Name        string             `json:"name"`
	State       string             `json:"state"` // MASTER, BACKUP, FAULT or INIT
	Phase       string             `json:"phase"`
	Holder      string             `json:"holder"` // as far as known; empty: nobody is known to hold it
	HolderBy    string             `json:"holder_by,omitempty"`
	SinceMS     int64              `json:"since_ms"` // the phase
	Token       arbiter.Token      `json:"token"`    // of the holding, else the highest known
	Priority    uint8              `json:"priority"`
	Permission  string             `json:"permission"` // by what it is held
	RemainingMS int64              `json:"remaining_ms"`
	Why         string             `json:"why"` // the decision and its evidence
	Guards      string             `json:"guards,omitempty"`
	Conflicts   []ConflictSnapshot `json:"conflicts,omitempty"`
	Instances   []InstanceSnapshot `json:"instances"`
	Fenced      *FencedSnapshot    `json:"fenced,omitempty"` // this node is kept out
	Evidence    []fencing.Evidence `json:"evidence,omitempty"`
	Needs       string             `json:"needs"` // in words: what would have to change
	WitnessLost string             `json:"if_witness_lost"`
	PeersLost   string             `json:"if_peers_lost"`
}

// InstanceSnapshot is one VRRP instance.
type InstanceSnapshot struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	VRID     uint8  `json:"vrid"`
	Priority uint8  `json:"priority"`
	SinceMS  int64  `json:"since_ms"`
	Fault    string `json:"fault,omitempty"`
}

// ConflictSnapshot is another station of the link that speaks for an address of a claim
// held here, or of one that nobody is known to hold.
type ConflictSnapshot struct {
	Station string `json:"station"` // its hardware address
	Address string `json:"address"`
	LastMS  int64  `json:"last_ms"` // since it was last seen
	Count   int    `json:"count"`   // how often it was seen, once a second at the most
}

// Snapshot returns how the node stands.
func (n *Node) Snapshot(now time.Time) Snapshot {
	s := Snapshot{
		Node: n.cfg.Name, Mode: n.cfg.Mode.String(), ModeInWords: n.modeInWords(),
		UptimeMS: age(now, n.started), Stopping: n.stopping, Standby: n.cfg.Standby, LedgerError: n.unwritten,
		Watchdog: n.watchdogSnapshot(now), Peers: []PeerSnapshot{}, Claims: []ClaimSnapshot{},
	}
	if n.lease != nil {
		at, err := n.lease.Answered()
		t := n.lease.Timing()
		s.Witness = &WitnessSnapshot{
			AnsweredMS: age(now, at), Silent: n.witnessSilent(now),
			Condition: n.lease.Condition(now),
			RenewMS:   t.Renew.Milliseconds(), HoldMS: t.Hold.Milliseconds(), WaitMS: t.Wait.Milliseconds(),
		}
		if err != nil {
			s.Witness.Error = err.Error()
		}
	}
	for _, names := range [][]string{n.cfg.Peers, n.cfg.Witnesses} {
		for _, name := range names {
			s.Peers = append(s.Peers, n.peerSnapshot(now, n.peers[name]))
		}
	}
	for _, name := range n.claimNames() {
		s.Claims = append(s.Claims, n.claimSnapshot(now, n.claims[name]))
	}
	s.Safety, s.SafetyWhy = n.safety(now)
	return s
}

func age(now, at time.Time) int64 {
	if at.IsZero() {
		return -1
	}
	return now.Sub(at).Milliseconds()
}

func (n *Node) peerSnapshot(now time.Time, p *peer) PeerSnapshot {
	s := PeerSnapshot{
		Name: p.name, Witness: p.witness, Alive: p.alive.String(), Path: p.path.String(),
		AgeMS: age(now, p.seen), DirectMS: age(now, p.direct), BeatMS: -1, Claims: p.report.Claims,
	}
	if !p.seen.IsZero() {
		s.Mode = p.report.Mode.String()
	}
	if n.lease != nil && !p.witness {
		if at, ok := n.lease.Beat(p.name); ok {
			s.BeatMS = age(now, at)
		}
	}
	return s
}

func (n *Node) claimSnapshot(now time.Time, c *claim) ClaimSnapshot {
	s := ClaimSnapshot{
		Name: c.cfg.Name, State: c.state().String(), Phase: c.phase.String(), SinceMS: age(now, c.since),
		Token: c.known, Priority: c.priority(), Why: c.verdict.Why, RemainingMS: -1,
		Fenced: n.fencedSnapshot(now, c.cfg.Name), Evidence: n.evidenceFor(now, c), Needs: n.needs(now, c),
		WitnessLost: n.ifWitnessLost(now, c), PeersLost: n.ifPeersLost(now, c),
	}
	s.Holder, s.HolderBy = n.knownHolder(now, c)
	if c.phase == Held {
		s.Token = c.token
		s.Permission = c.verdict.Why
		if !c.verdict.Until.IsZero() {
			s.RemainingMS = c.verdict.Until.Sub(now).Milliseconds()
		}
	}
	s.Conflicts = c.conflicts(now)
	if c.cfg.Guarded {
		s.Guards = c.guards.state.String()
	}
	for _, in := range c.instances {
		s.Instances = append(s.Instances, InstanceSnapshot{
			Name: in.name(), State: in.machine.State().String(), VRID: uint8(in.cfg.VRRP.VRID),
			Priority: in.machine.Priority(), SinceMS: age(now, in.machine.Since()), Fault: in.fault,
		})
	}
	return s
}

// knownHolder says who holds the claim and by what that is known.
func (n *Node) knownHolder(now time.Time, c *claim) (name, by string) {
	if c.phase == Held {
		return n.cfg.Name, "this node"
	}
	for _, p := range n.evidence(now, c).Peers {
		if p.Holds == arbiter.Yes {
			return p.Name, fmt.Sprintf("mesh, %v, %v ago", p.Path, p.Age.Round(time.Millisecond))
		}
	}
	if n.lease != nil {
		if s := n.lease.Standing(now, c.cfg.Name); s.Holder != "" && !s.Released && s.Holder != n.cfg.Name {
			if at, ok := n.lease.Beat(s.Holder); ok && now.Sub(at) < n.cfg.Timing.Wait {
				return s.Holder, fmt.Sprintf("witness, renewed %v ago", now.Sub(at).Round(time.Millisecond))
			}
		}
	}
	for _, in := range c.instances {
		if at := in.machine.MasterHeard(); !at.IsZero() && in.machine.State() == vrrp.StateBackup && now.Sub(at) < in.machine.MasterDownInterval() {
			return in.machine.MasterAddr().String(), fmt.Sprintf("vrrp advert, %v ago", now.Sub(at).Round(time.Millisecond))
		}
	}
	return "", ""
}

func (n *Node) modeInWords() string {
	switch n.cfg.Mode {
	case arbiter.ModeNone:
		return "not known yet"
	case arbiter.ModeVRRP:
		return "plain VRRP, as keepalived: two nodes can hold a VIP at once when adverts are lost"
	case arbiter.ModeVeto:
		return "two nodes without a third: nothing is taken while any path shows a live holder; in a total cut two nodes can hold a VIP at once"
	case arbiter.ModeQuorum:
		return "promises of a majority of voters: never two holders"
	case arbiter.ModeLease:
		return "a lease of the witness, or promises of all other nodes while it is silent: never two holders"
	}
	return n.cfg.Mode.String()
}

// safety sums up what could happen now.
func (n *Node) safety(now time.Time) (Safety, string) {
	switch n.cfg.Mode {
	case arbiter.ModeNone, arbiter.ModeVRRP, arbiter.ModeVeto:
		return Unsafe, n.modeInWords()
	case arbiter.ModeQuorum, arbiter.ModeLease:
	}
	if n.lease != nil && n.witnessSilent(now) {
		return Degraded, "the witness is silent: a holder stays by promises of all other nodes, and nobody can take over from a node that dies"
	}
	if n.watchdog.trouble != "" {
		return Degraded, "the watchdog that is " + n.cfg.Watchdog.String() + " would not reset this machine in time: " + n.watchdog.trouble
	}
	for _, name := range n.cfg.Peers {
		if p := n.peers[name]; p.seen.IsZero() || now.Sub(p.seen) > n.fresh {
			return Degraded, name + " is not heard: there may be nobody to take over"
		}
	}
	if n.cfg.Mode == arbiter.ModeLease {
		return Safe, "never two holders; the witness answers and every node is heard"
	}
	for _, name := range n.cfg.Witnesses {
		if p := n.peers[name]; p == nil || p.seen.IsZero() || now.Sub(p.seen) > n.fresh {
			return Degraded, name + " is not heard: without one voter more there is no majority"
		}
	}
	return Safe, "never two holders; every voter is heard"
}

// ifWitnessLost says in words what would happen if the witness were lost now.
func (n *Node) ifWitnessLost(now time.Time, c *claim) string {
	if n.lease == nil {
		return "no witness is configured: nothing would change"
	}
	missing := ""
	for _, name := range n.cfg.Peers {
		if p := n.peers[name]; p.seen.IsZero() || now.Sub(p.seen) > n.fresh || p.report.Leaving {
			missing = name
		}
	}
	held := c.phase == Held
	switch {
	case held && missing == "":
		return "this node keeps the claim by promises of all other nodes, for as long as they all answer"
	case held:
		return fmt.Sprintf("this node lets go within %v: %s is not heard and cannot promise", n.cfg.Timing.Hold, missing)
	}
	return "nobody takes over from a holder that dies until the witness is back; a handover in order still works"
}

// ifPeersLost says in words what would happen if no peer were heard any more.
func (n *Node) ifPeersLost(now time.Time, c *claim) string {
	held := c.phase == Held
	switch n.cfg.Mode {
	case arbiter.ModeNone:
		return ""
	case arbiter.ModeVRRP:
		if held {
			return "this node keeps the claim; a peer that is only cut off takes it too: two holders"
		}
		return fmt.Sprintf("this node takes the claim after %v, even if the peer lives and holds it: two holders", c.patience())
	case arbiter.ModeVeto:
		switch {
		case held:
			return "this node keeps the claim; on_isolation of the peer decides whether there are two holders"
		case n.cfg.Isolation == arbiter.IsolationFence:
			return "this node has an agent switch the peer off, and takes the claim when that is shown (on_isolation fence)"
		case n.cfg.Isolation == arbiter.IsolationClaim:
			return fmt.Sprintf("this node takes the claim after %v (on_isolation claim); two holders if the peer lives", c.patience())
		}
		return "this node does not take the claim (on_isolation hold)"
	case arbiter.ModeQuorum:
		if held {
			return fmt.Sprintf("this node lets go within %v unless a majority of voters answers", n.cfg.Timing.Hold)
		}
		return "this node takes the claim only with promises of a majority of voters"
	case arbiter.ModeLease:
		switch {
		case n.witnessSilent(now) && held:
			return fmt.Sprintf("this node lets go within %v: the witness is silent too", n.cfg.Timing.Hold)
		case n.witnessSilent(now):
			return "nothing is taken: the witness is silent too"
		case held:
			return "this node keeps the claim by its lease"
		}
		return fmt.Sprintf("this node takes the claim once the holder has not renewed its lease for %v, and not before", n.cfg.Timing.Wait)
	}
	return ""
}

// patience is how long the claim's instances wait for adverts.
func (c *claim) patience() time.Duration {
	longest := time.Duration(0)
	for _, in := range c.instances {
		longest = max(longest, in.machine.MasterDownInterval())
	}
	return longest.Round(time.Millisecond)
}
