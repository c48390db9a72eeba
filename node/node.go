package node

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// Node is one node. It is driven by Step alone and is not safe for concurrent use.
type Node struct {
	cfg         Config
	fresh       time.Duration // how long a peer's word counts
	started     time.Time
	stopping    bool
	stopBy      time.Time // until then a take that is under way at the witness is waited for
	stopped     bool
	leaving     leaving
	former      former
	silent      bool        // adopting: scripts are told nothing
	toldSilent  arbiter.Tri // whether the operator was told that the witness is silent
	reference   arbiter.Tri // whether it answered
	referenceAt time.Time   // when it was asked, or answered
	quiet       time.Time   // until then nothing is taken: a peer may still count on our absence

	claims   map[string]*claim
	spent    map[string]arbiter.Token // by claim: the highest token of a holding of this node that is over
	learned  map[string]arbiter.Token // the highest token heard of, of claims that are not configured
	pending  []ClaimConfig            // to replace claims that are still letting go
	lease    *witness.Lease
	promises *arbiter.Promises
	peers    map[string]*peer
	links    map[string]bool
	scripts  map[string]bool

	watchdog watchdog

	requestID  uint64
	reportSeq  uint64
	nextReport time.Time
	reported   arbiter.Report        // the last one, to notice changes
	reports    []arbiter.ClaimReport // room for the next

	fencings  map[string]*fenced // by claim: those that are not cleared
	fencingID uint64
	unwritten string // why the ledger cannot be written; empty: it can

	order []*claim // all claims by name; nil: they have changed
	out   []Action // of the Step under way
}

// New returns a node that holds nothing and has seen nothing.
func New(cfg Config) (*Node, error) {
	n := &Node{
		cfg:       cfg,
		claims:    map[string]*claim{},
		learned:   map[string]arbiter.Token{},
		spent:     map[string]arbiter.Token{},
		peers:     map[string]*peer{},
		fencings:  map[string]*fenced{},
		links:     map[string]bool{},
		scripts:   map[string]bool{},
		requestID: cfg.Incarnation,
	}
	for _, name := range cfg.Peers {
		n.peers[name] = &peer{name: name, owed: cfg.Left}
	}
	for _, name := range cfg.Witnesses {
		n.peers[name] = &peer{name: name, witness: true}
	}
	for _, c := range cfg.Claims {
		made, err := n.newClaim(c)
		if err != nil {
			return nil, err
		}
		n.claims[c.Name] = made
	}
	if n.permits() {
		if err := cfg.Timing.Check(); err != nil {
			return nil, err
		}
	}
	n.fresh = freshFor
	if n.permits() {
		// Permission that has run out must not be waited for twice.
		n.fresh = min(freshFor, cfg.Timing.Hold)
	}
	if cfg.Mode == arbiter.ModeLease {
		n.lease = witness.NewLease(witness.Config{
			Node: cfg.Name, Incarnation: cfg.Incarnation, Timing: cfg.Timing, Held: cfg.grants(), Settled: cfg.settled(), Trusted: cfg.Trusted,
		})
	}
	return n, nil
}

// permits reports whether this node's mode gives permission with a deadline.
func (n *Node) permits() bool {
	return n.cfg.Mode == arbiter.ModeLease || n.cfg.Mode == arbiter.ModeQuorum
}

// Step takes in one event and returns what has to be done, in order. now is on the
// boot clock and never goes back.
func (n *Node) Step(now time.Time, ev Event) []Action {
	n.out = nil
	if n.stopped {
		return nil
	}
	n.apply(now, ev)
	n.settleTrust(now)
	n.settleReturn(now)
	n.settleFormer(now)
	for _, c := range n.inOrder() {
		n.settle(now, c)
	}
	n.replaceClaims(now)
	n.askWitness(now)
	n.publish(now)
	n.finishStop(now)
	n.settleWatchdog(now)
	return n.out
}

// apply hands the event to the machine that it concerns.
func (n *Node) apply(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case Start:
		n.start(now)
	case Tick:
		for _, in := range n.instances() {
			if d := in.machine.Deadline(); !d.IsZero() && !now.Before(d) {
				n.drive(now, in, vrrp.Tick{})
			}
		}
	case Stop:
		if n.stopping {
			return
		}
		n.stopping, n.stopBy = true, now.Add(n.cfg.Timing.Renew)
		n.tell(Info, "", "stopping in order", "every claim held is handed over")
	case Handover:
		text, err := n.handoverTo(now, ev)
		n.emit(Respond{ID: ev.ID, Text: text, Err: err})
	case FenceNow, ClearFence, FencingWritten, PeerShot:
		n.applyFencing(now, ev)
	case Standby:
		n.setStandby(ev)
	case TrustWitness:
		n.trustWitness(now, ev)
	case Reconfigure:
		n.reconfigure(now, ev.Claims)
	case Advert:
		if in := n.instance(ev.Instance); in != nil {
			n.drive(now, in, vrrp.Received{Packet: ev.Packet, Source: ev.Source})
		}
	case Link:
		n.links[ev.Interface] = ev.Up
		n.track(now)
	case Script:
		n.scripts[ev.Name] = ev.Up
		n.track(now)
	case PeerReport, PeerAlive, PeerAsked, PeerAnswered:
		n.applyMesh(now, ev)
	case ReferenceDone:
		n.reference, n.referenceAt = arbiter.No, now
		if ev.Answers {
			n.reference = arbiter.Yes
		}
	case WitnessDone:
		if n.lease != nil {
			n.lease.Done(now, ev.ID, ev.Outcome, ev.Err, ev.Refused)
			n.learnTokens(ev.Outcome.Observation)
		}
	case WitnessSeen:
		if n.lease != nil {
			n.lease.Observe(now, ev.Observation)
			n.learnTokens(ev.Observation)
		}
	case LeftStored:
		n.leftStored(ev.Err)
	case TokenStored, AddressesDone, GuardsDone:
		n.applyResult(now, ev)
	case WatchdogDone:
		n.watchdogDone(now, ev)
	case AddressesProbed:
		if c := n.claims[ev.Claim]; c != nil {
			n.probed(now, c, ev)
		}
	case AddressSeen:
		if c := n.claims[ev.Claim]; c != nil {
			n.sighted(now, c, ev.Station)
		}
	}
}

func (n *Node) start(now time.Time) {
	n.started = now
	if n.permits() {
		n.promises = arbiter.NewPromises(n.cfg.Timing.Wait, n.forgotUntil(now))
	}
	n.tell(Info, "", "started", n.modeInWords())
	for _, c := range n.inOrder() {
		c.since = now
		n.emit(Begin{c.cfg.Name})
	}
	n.recallFencings(now)
	n.track(now)
	for _, in := range n.instances() {
		if _, kept := n.cfg.Kept[in.claim.cfg.Name]; kept {
			continue
		}
		_, former := n.cfg.Former[in.claim.cfg.Name]
		n.drive(now, in, vrrp.Start{Goodbye: former})
	}
	for _, c := range n.inOrder() {
		if k, kept := n.cfg.Kept[c.cfg.Name]; kept {
			n.adopt(now, c, k)
		}
	}
	n.beginFormer(now)
}

// forgotUntil returns when this node could have given the promises that it has
// forgotten. Where only all others together give permission none of them matters: the
// holder would have to give one too. A former start of this node could do harm by
// taking, not by promising, and a take waits anyway.
func (n *Node) forgotUntil(now time.Time) time.Time {
	if n.cfg.Mode == arbiter.ModeLease {
		return time.Time{}
	}
	return now
}

// drive steps an instance's VRRP machine and turns its actions into the node's.
func (n *Node) drive(now time.Time, in *instance, ev vrrp.Event) {
	for _, a := range in.machine.Step(now, ev) {
		switch a := a.(type) {
		case vrrp.Send:
			// Until the release is on its way adverts keep the others waiting; then another
			// may hold already.
			if a.Packet.Priority == 0 || in.claim.phase != Releasing {
				n.emit(SendAdvert{Instance: in.name(), Packet: a.Packet})
			}
		case vrrp.Announce:
			// A master that is letting go has no address to announce: to answer the successor's
			// first advert with one would draw the clients back here.
			if in.claim.phase == Held {
				n.emit(Announce{Instance: in.name(), Count: a.Count})
			}
		case vrrp.Want:
			in.preempts = a.Alive
		case vrrp.Unwant:
			in.preempts = false
		case vrrp.Overdue:
			in.claim.consult(n, now)
			in.claim.probe(n, now)
		case vrrp.Challenged:
			n.challenged(now, in, a)
		case vrrp.Changed:
			n.changed(now, in, a)
		case vrrp.Discarded:
			n.tell(Warning, in.name(), "advert discarded", fmt.Sprintf("from %v: %s", a.Source, a.Why))
		}
	}
}

// changed follows a change of an instance's VRRP state.
func (n *Node) changed(now time.Time, in *instance, a vrrp.Changed) {
	n.tell(Info, in.name(), fmt.Sprintf("%v -> %v", a.From, a.To), a.Why)
	in.preempts = false
	c := in.claim
	if a.From == vrrp.StateMaster && c.phase == Held {
		// The RFC's rule: a master that outranks this one was heard, or the instance failed.
		c.let(n, now, a.Why)
	}
	if n.silent || n.stopping != (a.To == vrrp.StateInit) {
		// An orderly stop is told as STOP alone, not as the BACKUP on the way; and an
		// instance that a reload ends is told nothing.
		return
	}
	state := a.To.String()
	if n.stopping {
		state = "STOP"
	}
	n.emit(Notify{Name: in.name(), State: state, Priority: in.machine.Priority(), Token: c.token})
	if c.cfg.Group && c.agreed(a.To) {
		n.emit(Notify{Name: c.cfg.Name, Group: true, State: state, Priority: in.machine.Priority(), Token: c.token})
	}
}

// challenged answers a higher priority heard in a mode with permission: ask, do not step down.
func (n *Node) challenged(now time.Time, in *instance, a vrrp.Challenged) {
	c := in.claim
	if now.Sub(c.asked) < retryEvery {
		return
	}
	if from := fmt.Sprintf("from %v, priority %d", a.Source, a.Packet.Priority); from != c.dared {
		n.tell(Warning, in.name(), "an advert of a higher priority was heard; it alone takes nothing", from+"; asking the peers")
		c.dared = from
	}
	c.consult(n, now)
}

// askWitness sends what the lease has to send, if anything is due.
func (n *Node) askWitness(now time.Time) {
	if n.lease == nil || n.started.IsZero() {
		return
	}
	if op, due := n.lease.Poll(now); due {
		n.emit(AskWitness{op})
	}
	n.tellWitness(now)
}

// tellWitness says once when the witness falls silent, and what that means, and when it
// is back.
func (n *Node) tellWitness(now time.Time) {
	at, err := n.lease.Answered()
	if at.IsZero() && now.Sub(n.started) < n.cfg.Timing.Wait {
		return // it was hardly asked yet
	}
	silent := arbiter.No
	if n.witnessSilent(now) {
		silent = arbiter.Yes
	}
	if silent == n.toldSilent {
		return
	}
	n.toldSilent = silent
	if silent == arbiter.No {
		n.tell(Info, "", "the witness answers", n.lease.Timing().String()+" renew/hold/wait")
		return
	}
	why := "holders stay by promises of all other nodes, and nobody takes over from a node that dies"
	if err != nil {
		why += ": " + err.Error()
	}
	n.tell(Warning, "", "the witness is silent", why)
}

// owed reports whether the witness may be about to have this node as the claim's holder,
// or still has: without a release the others would wait in vain.
func (n *Node) owed(now time.Time, c *claim) bool {
	return n.lease != nil && now.Before(n.stopBy) && (n.lease.Unsettled(c.cfg.Name) || n.lease.Releasing(c.cfg.Name))
}

// finishStop ends the node once nothing is held any more.
func (n *Node) finishStop(now time.Time) {
	if !n.stopping || n.stopped {
		return
	}
	for _, c := range n.claims {
		if c.phase != Idle || n.owed(now, c) {
			return
		}
	}
	if !n.leave(now) {
		return
	}
	for _, in := range n.instances() {
		n.drive(now, in, vrrp.Stop{})
	}
	n.stopped = true
	n.nextReport = now
	n.publish(now)
	n.emit(Stopped{})
}

func (n *Node) emit(a Action) { n.out = append(n.out, a) }

func (n *Node) tell(level Level, claim, text, why string) {
	n.emit(Tell{Level: level, Claim: claim, Text: text, Why: why})
}

// inOrder returns the claims by name, so that one history gives one trace.
func (n *Node) inOrder() []*claim {
	if n.order == nil {
		for _, name := range n.claimNames() {
			n.order = append(n.order, n.claims[name])
		}
	}
	return n.order
}

// claimNames returns the names of the claims in order.
func (n *Node) claimNames() []string { return slices.Sorted(maps.Keys(n.claims)) }

// instances returns all instances in order of their claims and places.
func (n *Node) instances() []*instance {
	var all []*instance
	for _, c := range n.inOrder() {
		all = append(all, c.instances...)
	}
	return all
}

func (n *Node) instance(name string) *instance {
	for _, c := range n.claims {
		for _, in := range c.instances {
			if in.name() == name {
				return in
			}
		}
	}
	return nil
}

// reconfigure notes the new claims; replaceClaims brings them in as the old ones let go.
func (n *Node) reconfigure(now time.Time, claims []ClaimConfig) {
	n.pending = append([]ClaimConfig{}, claims...) // also none at all is something to bring in
	for name, c := range n.claims {
		i := slices.IndexFunc(claims, func(p ClaimConfig) bool { return p.Name == name })
		if c.leaving = i < 0 || !c.cfg.Same(claims[i]); !c.leaving {
			c.tune(n, now, claims[i])
		}
	}
	n.track(now)
}

// replaceClaims removes the claims that a reload took away or changed, once they are
// let go, and starts their successors.
func (n *Node) replaceClaims(now time.Time) {
	if n.pending == nil {
		return
	}
	for _, c := range n.inOrder() {
		if c.leaving && c.phase == Idle {
			for _, in := range c.instances {
				n.drive(now, in, vrrp.Stop{})
			}
			n.learned[c.cfg.Name] = max(n.learned[c.cfg.Name], c.highest())
			delete(n.claims, c.cfg.Name)
			n.order = nil
			n.emit(End{c.cfg.Name})
		}
	}
	waiting := false
	for _, p := range n.pending {
		if old := n.claims[p.Name]; old != nil {
			waiting = waiting || old.leaving
			continue
		}
		made, err := n.newClaim(p)
		if err != nil {
			n.tell(Warning, p.Name, "not taken over from the new configuration", err.Error())
			continue
		}
		n.claims[p.Name], n.order = made, nil
		n.emit(Begin{p.Name})
		n.track(now)
		for _, in := range made.instances {
			n.drive(now, in, vrrp.Start{})
		}
	}
	if !waiting && len(n.claims) <= len(n.pending) {
		n.pending = nil
	}
}
