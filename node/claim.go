package node

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/vrrp"
)

// Phase is how far a claim is on its way in or out. The zero Phase is Idle and holds nothing.
type Phase uint8

// The phases, in the order they are passed through.
const (
	Idle      Phase = iota // not held, nothing of it is here
	Storing                // permission is there; the token is being made durable, or in plain VRRP the master lets go
	Adding                 // the gate is armed; the addresses are being put on
	Held                   // addresses on, adverts sent
	Leaving                // gate shut; addresses being taken off, guards being stopped
	Releasing              // all verified; the release is being confirmed by the witness
)

// String returns the phase in lower case.
func (p Phase) String() string {
	names := [...]string{"idle", "storing", "adding", "held", "leaving", "releasing"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

type claim struct {
	cfg       ClaimConfig
	instances []*instance
	address   string // what breaks a tie of priorities: the first instance's
	leaving   bool   // a reload takes it away

	phase   Phase
	token   arbiter.Token // of the holding
	storing arbiter.Token // Held: the lease's, to be that of the holding once it is durable
	known   arbiter.Token // the highest ever seen, anywhere
	since   time.Time     // of the present phase
	verdict arbiter.Verdict
	want    arbiter.Want // Idle: why it would be taken

	cause fencing.Cause // of a fencing that is about to begin

	guards     guards          // those that run only where the claim is held
	always     guards          // those that run on every node, unless it is fenced
	guardsAt   time.Time       // the former are not started before: a former holder's may still be stopping
	guardsFrom time.Time       // since when that is being waited for
	bidder     arbiter.Request // Held: the handover that comes first of those lately asked for
	bidderAt   time.Time
	off        bool      // Leaving: the addresses are verified to be off
	forced     bool      // Leaving: without permission, so in a hurry
	to         string    // Leaving: in favour of this peer
	why        string    // Leaving: for what reason
	retry      time.Time // a failed effect is tried again then
	broken     string    // why the claim could not be taken, or not be held on to, here
	brokenTo   time.Time // until then it is left to others
	ill        string    // why it was given up: its guarded services failed
	illTo      time.Time // until then it is left to others, if there are any
	illFor     time.Duration
	extend     time.Time // Held: the addresses' lifetime is extended then
	armed      time.Time // the deadline that the gate has

	ballot   *arbiter.Ballot // the promises of others
	gave     time.Time       // when it was last let go of in favour of another node
	bid      arbiter.Token   // the token that they were asked to let this node hold with
	turn     time.Time       // Idle: no round is opened before; zero: not known yet
	lost     int             // rounds in a row that brought too little
	bar      arbiter.Token   // the highest that anybody is known to have asked for promises with
	stored   arbiter.Token   // the highest that is durable here
	replies  []reply         // promises that are given once their tokens are durable
	asked    time.Time       // when the peers were last asked whether they hold it
	question uint64          // that request's id
	answers  map[string]answer
	consults time.Time     // since when they are being asked
	yielded  bool          // an operator gave the claim away: it is not taken back from a live holder
	told     string        // the refusal that was last told
	dared    string        // the challenge that was last told
	handover time.Time     // when a handover was last asked for
	proof    arbiter.Token // the token that is stored before, to show that one can be
	proven   time.Time     // when that was shown
	offer    offer
	link     arbiter.Link // what ARP shows
	deaf     string       // why the link could not be asked
}

// offer is a peer's word that it has let go. The zero offer is none.
type offer struct {
	at        time.Time
	token     arbiter.Token // of the holding that it has let go of
	toThis    bool          // this node is to take it
	unsettled bool          // guarded services of a holder before it may still be stopping
}

// answer is what a peer last said when it was asked whether it holds the claim.
type answer struct {
	yes    bool
	guards bool
	takes  bool // it is about to take the claim
	asked  time.Time
	at     time.Time
	path   arbiter.Path
}

// reply is an answer that waits for a token to be durable.
type reply struct {
	answer arbiter.Answer
	token  arbiter.Token
}

type instance struct {
	claim    *claim
	cfg      InstanceConfig
	machine  *vrrp.Machine
	preempts bool   // it wants to be master although a live one was heard
	fault    string // why it may not be master; empty: it may
}

func (in *instance) name() string { return in.cfg.VRRP.Name }

func (n *Node) newClaim(cfg ClaimConfig) (*claim, error) {
	c := &claim{cfg: cfg, address: cfg.address(), known: max(cfg.Token, n.learned[cfg.Name]), stored: cfg.Token, since: n.started, answers: map[string]answer{}}
	for _, ic := range cfg.Instances {
		ic.VRRP.ByPermission = n.permits()
		m, err := vrrp.New(ic.VRRP)
		if err != nil {
			return nil, err // it names the instance
		}
		c.instances = append(c.instances, &instance{claim: c, cfg: ic, machine: m})
	}
	switch n.cfg.Mode {
	case arbiter.ModeLease:
		c.ballot = arbiter.NewBallot(n.cfg.Timing.Hold, n.cfg.Peers, len(n.cfg.Peers))
	case arbiter.ModeQuorum:
		voters := append(append([]string{}, n.cfg.Peers...), n.cfg.Witnesses...)
		c.ballot = arbiter.NewBallot(n.cfg.Timing.Hold, voters, (len(voters)+1)/2)
	case arbiter.ModeNone, arbiter.ModeVRRP, arbiter.ModeVeto:
	}
	return c, nil
}

// Same reports whether a reload from c to other leaves the claim where it is: what they
// differ in can change while it is held.
func (c ClaimConfig) Same(other ClaimConfig) bool { return reflect.DeepEqual(c.fixed(), other.fixed()) }

// fixed returns the part of c that cannot change while the claim is held.
func (c ClaimConfig) fixed() ClaimConfig {
	c.Token, c.GuardTries = 0, 0
	c.Instances = slices.Clone(c.Instances)
	for i := range c.Instances {
		in := &c.Instances[i]
		in.VRRP = in.VRRP.Fixed()
		// A tracker that was not there before knows nothing yet, and would count as down.
		in.Interfaces, in.Scripts = names(in.Interfaces), names(in.Scripts)
	}
	return c
}

// names returns the trackers without their weights.
func names(tracks []Track) (bare []Track) {
	for _, t := range tracks {
		bare = append(bare, Track{Name: t.Name})
	}
	return bare
}

// tune takes over a configuration by which the claim is the same.
func (c *claim) tune(n *Node, now time.Time, cfg ClaimConfig) {
	cfg.Token = c.cfg.Token
	c.cfg = cfg
	for i, in := range c.instances {
		in.cfg = cfg.Instances[i]
		in.cfg.VRRP.ByPermission = n.permits()
		in.machine.Tune(now, in.cfg.VRRP)
	}
}

// settle moves the claim as far as the evidence allows at this instant.
func (n *Node) settle(now time.Time, c *claim) {
	if n.started.IsZero() {
		return
	}
	n.settleFencing(now, c)
	in := n.evidence(now, c)
	c.verdict, c.want = arbiter.Decide(in), in.Want
	defer n.settleGuards(now, c)
	switch c.phase {
	case Idle:
		n.settleIdle(now, c)
	case Storing:
		n.settleStoring(now, c)
	case Adding:
		if c.verdict.Do != arbiter.Hold {
			c.let(n, now, c.verdict.Why)
		}
	case Held:
		n.settleHeld(now, c)
	case Leaving:
		n.settleLeaving(now, c)
	case Releasing:
		if !n.releasing(now, c) {
			n.released(now, c)
		}
	}
}

func (n *Node) settleIdle(now time.Time, c *claim) {
	n.applyFaults(now, c)
	if n.lease != nil && c.verdict.Do != arbiter.Obtain && c.verdict.Do != arbiter.Hold {
		n.lease.Drop(c.cfg.Name)
	}
	n.explain(c)
	n.settleLink(now, c)
	n.settleBallot(now, c)
	switch c.verdict.Do {
	case arbiter.Refuse:
		c.consults = time.Time{}
		if n.lease != nil && n.barred(now, c) != "" && n.leased(now, c) {
			n.giveBack(now, c, "") // granted too late: nothing of it was used
		}
	case arbiter.Consult:
		c.consult(n, now)
	case arbiter.Shoot:
		c.consult(n, now)
		n.shoot(now, c, c.verdict.Peer)
	case arbiter.Obtain:
		n.obtain(now, c)
	case arbiter.Handover:
		n.askHandover(now, c)
	case arbiter.Hold:
		n.take(now, c)
	}
}

// take begins to hold: the token first, so that no service ever runs with one that a
// crash could hand out again.
func (n *Node) take(now time.Time, c *claim) {
	c.yielded, c.storing = false, 0
	if n.lease != nil {
		n.lease.Use(c.cfg.Name)
	}
	switch {
	case n.cfg.Mode == arbiter.ModeVRRP:
		c.token, c.guardsAt = 0, now
		n.preempt(now, c)
		return
	case n.lease != nil && n.leased(now, c):
		c.token, _, _ = n.lease.Permission(c.cfg.Name)
		// The same token heard in the mesh is that of somebody else: the witness has only just said
		// that this one is ours.
		if n.outdated(now, c) || c.token <= c.bar {
			n.giveBack(now, c, n.cfg.Name) // the next is above it
			return
		}
	case n.permits():
		if !n.bidStands(now, c) {
			return
		}
		c.token = c.bid
	default:
		c.token = c.highest() + 1
	}
	c.waitForGuards(n, now)
	c.enter(Storing, now)
	n.emit(StoreToken{Claim: c.cfg.Name, Token: c.token})
}

// preemptLead is how long before the addresses a live master of plain VRRP is told to let go: what
// its processing takes, on a busy host too. keepalived tells it afterwards, and both hold meanwhile.
const preemptLead = 30 * time.Millisecond

// preempt takes in plain VRRP: a live master of lower priority is told first.
func (n *Node) preempt(now time.Time, c *claim) {
	if !slices.ContainsFunc(c.instances, func(in *instance) bool { return in.preempts }) {
		n.add(now, c)
		return
	}
	c.enter(Storing, now)
	for _, in := range c.instances {
		n.drive(now, in, vrrp.Preempt{})
	}
}

// add arms the gate and then puts the addresses on.
func (n *Node) add(now time.Time, c *claim) {
	c.enter(Adding, now)
	c.offer = offer{} // it is used up: what is given away next is not taken back by it
	until := c.verdict.Until
	c.armed = until
	n.emit(ArmGate{Claim: c.cfg.Name, Until: until})
	n.emit(AddAddresses{Claim: c.cfg.Name, Until: until})
	c.extend = now.Add(extendEvery)
}

// abandon gives up a taking of which nothing has taken effect yet.
func (n *Node) abandon(now time.Time, c *claim, why string) {
	n.tell(Info, c.cfg.Name, "not taken after all", why)
	c.forced, c.to, c.why = false, "", why
	if c.cfg.Guarded && n.guardsWait(now, c) {
		c.enter(Leaving, now) // the next holder must not think that nobody's run
		c.off = true
		return
	}
	n.release(now, c)
}

// release gives the claim back, nothing of it being here any more.
func (n *Node) release(now time.Time, c *claim) {
	n.endFencing(now, c)
	n.giveBack(now, c, c.to)
	c.enter(Releasing, now)
	if !n.releasing(now, c) {
		n.released(now, c)
	}
}

// fails leaves the claim to others for a while: an effect that this node needs for it
// has failed. Without that a node that cannot serve would grab it again and again.
func (c *claim) fails(now time.Time, what string, err error) {
	c.broken, c.brokenTo = fmt.Sprintf("%s: %v", what, err), now.Add(BrokenFor)
}

// giveBack ends the permission on this side.
func (n *Node) giveBack(now time.Time, c *claim, to string) {
	if n.lease != nil {
		n.lease.Release(c.cfg.Name, to)
		n.lease.Hasten(now)
	}
	if c.ballot != nil {
		c.ballot.End()
	}
}

func (n *Node) settleHeld(now time.Time, c *claim) {
	switch {
	case c.verdict.Do == arbiter.Hold:
	case n.barred(now, c) != "":
		c.to = n.successor(now, c)
		c.let(n, now, c.verdict.Why)
		return
	default:
		n.fence(now, c, n.causeOf(now, c), c.verdict.Why)
		return
	}
	if n.permits() && c.verdict.Until.After(c.armed) {
		c.armed = c.verdict.Until
		n.emit(ArmGate{Claim: c.cfg.Name, Until: c.armed})
		if n.cfg.ByLifetime {
			c.extend = now
		}
	}
	if !now.Before(c.extend) {
		c.extend = now.Add(extendEvery)
		n.emit(AddAddresses{Claim: c.cfg.Name, Until: c.verdict.Until})
	}
	n.keepPermission(now, c)
	n.settleConflicts(now, c)
}

// keepPermission renews the promises where they are what the claim is held by. The lease
// renews itself; one that is not there yet, because the witness was silent when the
// claim was taken, is taken behind the promises.
func (n *Node) keepPermission(now time.Time, c *claim) {
	if n.lease == nil {
		if n.permits() {
			n.openBallot(now, c)
		}
		return
	}
	token, until, _ := n.lease.Permission(c.cfg.Name)
	if !n.leased(now, c) {
		n.lease.Take(c.cfg.Name, c.token-1)
	} else if token > max(c.token, c.storing) {
		c.storing = token
		n.emit(StoreToken{Claim: c.cfg.Name, Token: token})
	}
	// Also while the witness answers, but has not renewed this for some time: its store may have been
	// replaced twice, or its answers come too late.
	if n.witnessSilent(now) || !n.leased(now, c) || until.Sub(now) < 2*n.cfg.Timing.Renew {
		n.openBallot(now, c)
	}
}

// let begins to let go: the gate is shut and the addresses go at once. When there is no
// permission any more it is forced: no grace for guards and no advert.
func (c *claim) let(n *Node, now time.Time, why string) {
	n.tell(Warning, c.cfg.Name, "letting go", why)
	c.enter(Leaving, now)
	n.spent[c.cfg.Name] = max(n.spent[c.cfg.Name], c.token)
	c.off, c.forced, c.why = false, n.expired(now, c), why
	n.emit(ShutGate{Claim: c.cfg.Name})
	n.emit(RemoveAddresses{Claim: c.cfg.Name})
	n.noteForced(now, c, why)
	c.retry = now.Add(retryEvery)
	n.settleGuards(now, c)
	if c.forced {
		c.yield(n, now, true)
	}
}

// yield takes the instances back to BACKUP; quiet ones do not say so.
func (c *claim) yield(n *Node, now time.Time, quiet bool) {
	for _, in := range c.instances {
		if in.machine.State() == vrrp.StateMaster {
			n.drive(now, in, vrrp.Yield{Quiet: quiet, Why: c.why})
		}
	}
}

func (n *Node) settleLeaving(now time.Time, c *claim) {
	if !now.Before(c.retry) {
		c.retry = now.Add(retryEvery)
		if !c.off {
			n.emit(RemoveAddresses{Claim: c.cfg.Name})
		}
	}
	if !c.off || c.guards.state != guardsOff || c.cfg.GuardedAlways && n.fencings[c.cfg.Name] != nil && c.always.state != guardsOff {
		return
	}
	if c.cfg.Guarded {
		if n.guardsWait(now, c) {
			return // a former holder's guards may still run: the next holder would not know
		}
		n.forgetFormer(c)
	}
	n.release(now, c)
}

// releasing reports whether the witness's word on a release is worth waiting for: the
// others learn of it there; once the lease has run out they need no word, and while the
// witness is silent this node's own has to do.
func (n *Node) releasing(now time.Time, c *claim) bool {
	if n.lease == nil || !n.lease.Releasing(c.cfg.Name) || n.witnessSilent(now) {
		return false
	}
	_, until, _ := n.lease.Permission(c.cfg.Name)
	return now.Before(until)
}

// released is the end of a holding: now others may be told.
func (n *Node) released(now time.Time, c *claim) {
	c.enter(Idle, now)
	n.publishNow(now)
	n.applyFaults(now, c)
	if !c.forced {
		n.offer(c)
		c.yield(n, now, false)
	}
	if c.to != "" {
		c.gave = now
	}
	c.to = ""
}

func (c *claim) enter(p Phase, now time.Time) { c.phase, c.since = p, now }

// agreed reports whether all instances of the claim are in the state.
func (c *claim) agreed(s vrrp.State) bool {
	for _, in := range c.instances {
		if in.machine.State() != s {
			return false
		}
	}
	return true
}
