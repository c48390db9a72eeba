package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// peer is what is known about another member of the mesh.
type peer struct {
	name    string
	witness bool // a mesh witness: votes, holds nothing
	alive   arbiter.Tri
	report  arbiter.Report
	seen    time.Time // when the latest report came, or its word that it has let go
	path    arbiter.Path
	direct  time.Time // when it was last heard without a relay
	left    time.Time // it left while the witness was silent: then; zero: it did not, or is back
	heardOf time.Time // left: when the witness answered for the first time since
	owed    bool      // this node left so, and the peer may not know yet that it is back
	shot    fencing.Shot
	record  fencing.Record // of the shot
}

func (n *Node) applyMesh(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case PeerAlive:
		if p := n.peers[ev.Name]; p != nil {
			word := "a member of the mesh has gone"
			p.alive = arbiter.No
			if ev.Alive {
				p.alive, word = arbiter.Yes, "a member of the mesh is there"
			}
			n.tell(Info, "", word, ev.Name)
		}
	case PeerReport:
		n.hear(now, ev)
	case PeerAsked:
		if p := n.peers[ev.Request.From]; p != nil {
			p.left = time.Time{} // it asks, so it is back
			n.answer(now, ev.Request)
		}
	case PeerAnswered:
		n.answered(now, ev.Answer, ev.Path)
	default: // not of the mesh
	}
}

// hear keeps a peer's newest report, and by which path it came.
func (n *Node) hear(now time.Time, ev PeerReport) {
	p := n.peers[ev.Report.Node]
	if p == nil {
		return
	}
	if ev.Path.Via == "" {
		p.direct = now
	}
	if !ev.Report.Newer(p.report) {
		return
	}
	p.report, p.seen, p.path = ev.Report, now, ev.Path
	for _, cr := range ev.Report.Claims {
		n.learn(cr.Claim, cr.Token)
	}
	p.left, p.heardOf = time.Time{}, time.Time{}
	if ev.Report.Leaving && ev.Report.Left {
		p.left = now
	}
}

// consult asks before a claim is taken, and notes since when.
func (c *claim) consult(n *Node, now time.Time) {
	if c.consults.IsZero() {
		c.consults = now
	}
	n.askHolders(now, c)
}

// askHolders asks every peer whether it holds the claim, by every path: now and then, and at once
// when this node has made up its mind.
func (n *Node) askHolders(now time.Time, c *claim) {
	every := askEvery
	if c.phase == Storing {
		every = takeEvery
	}
	if now.Sub(c.asked) < every && (c.phase != Storing || !c.asked.Before(c.since)) {
		return
	}
	c.asked = now
	if n.cfg.Reference && now.Sub(n.referenceAt) > n.fresh/2 {
		n.referenceAt, n.reference = now, arbiter.Unknown
		n.emit(AskReference{})
	}
	id := n.newRequest()
	c.question = id
	for _, name := range n.cfg.Peers {
		n.question(arbiter.Request{ID: id, Kind: arbiter.RequestHolds, To: name, Claim: c.cfg.Name})
	}
}

// newRequest returns a number that no request of this node had before.
func (n *Node) newRequest() uint64 {
	n.requestID++
	return n.requestID
}

func (n *Node) question(r arbiter.Request) {
	r.From = n.cfg.Name
	n.emit(Question{r})
}

// obtain asks for the permission that the claim needs.
func (n *Node) obtain(now time.Time, c *claim) {
	if n.lease != nil && n.mayLease(now, c) {
		free := !n.witnessSilent(now) && n.lease.Standing(now, c.cfg.Name).State == witness.Free
		if free && !n.itsTurn(now, c) {
			return // one that comes before this node is about to take it
		}
		n.lease.Take(c.cfg.Name, c.highest())
		if free {
			return // the swap that is due brings it
		}
	}
	n.openBallot(now, c)
}

// askHandover asks the holder to let go in favour of this node, once it has shown that it can store
// a token: the holder would let go for nothing otherwise, again and again.
func (n *Node) askHandover(now time.Time, c *claim) {
	switch {
	case now.Sub(c.handover) < retryEvery:
	case now.Sub(c.proven) < BrokenFor:
		n.sendHandover(now, c)
	default:
		c.handover, c.proof = now, max(c.highest(), c.stored)
		n.emit(StoreToken{Claim: c.cfg.Name, Token: c.proof})
	}
}

// proved takes in whether the token that shows it could be stored.
func (n *Node) proved(now time.Time, c *claim, err error) {
	switch {
	case err != nil:
		c.fails(now, "the token cannot be stored", err)
	case c.verdict.Do == arbiter.Handover:
		c.proven = now
		n.sendHandover(now, c)
	}
}

func (n *Node) sendHandover(now time.Time, c *claim) {
	c.handover = now
	n.question(arbiter.Request{
		ID: n.newRequest(), Kind: arbiter.RequestHandover, To: c.verdict.Peer,
		Claim: c.cfg.Name, Priority: c.priority(),
	})
}

// offer tells all peers that this node has let go: one of them may take the claim, and
// none is bound to this node by a promise any more. The one that is to take it asks the others
// at once, so it is told last: they would still refuse.
func (n *Node) offer(c *claim) {
	id := n.newRequest()
	names := slices.Concat(n.cfg.Witnesses, n.cfg.Peers)
	if i := slices.Index(names, c.to); i >= 0 {
		names = append(slices.Delete(names, i, i+1), c.to)
	}
	for _, name := range names {
		n.question(arbiter.Request{ID: id, Kind: arbiter.RequestReleased, To: name, Claim: c.cfg.Name, Token: c.token, For: c.to})
	}
}

// answer replies to a peer's question.
func (n *Node) answer(now time.Time, r arbiter.Request) {
	a := arbiter.Answer{ID: r.ID, From: n.cfg.Name, To: r.From, Claim: r.Claim}
	c := n.claims[r.Claim]
	switch c {
	case nil:
		a.Why = "no such claim here"
	default:
		switch r.Kind {
		case arbiter.RequestHolds:
			a.Token, a.Yes, a.Guards = c.known, c.holds(), c.guards.state != guardsOff
			a.Takes = c.phase == Storing
		case arbiter.RequestPromise:
			a.Token = c.highest() // not the one just bid: the asker must see others' alone
			a.Why = n.promise(now, c, r)
			if a.Yes = a.Why == ""; a.Yes {
				c.bar = max(c.bar, r.Token)
			}
			if a.Yes && r.Token > c.stored {
				n.replyStored(c, a, r.Token)
				return
			}
		case arbiter.RequestHandover:
			a.Why = n.handOver(now, c, r)
			a.Yes = a.Why == ""
		case arbiter.RequestReleased:
			a.Yes = true
			n.learn(r.Claim, r.Token)
			n.offeredTo(now, c, r)
		default:
			a.Why = fmt.Sprintf("request kind %d is not known to this version", r.Kind)
		}
	}
	n.emit(Reply{a})
}

// handOver begins to let go in favour of a peer whose priority is higher.
func (n *Node) handOver(now time.Time, c *claim, r arbiter.Request) (why string) {
	switch {
	case c.phase != Held:
		return "this node does not hold it (" + c.phase.String() + ")"
	case r.Priority <= c.priority():
		return fmt.Sprintf("priority %d is not higher than %d", r.Priority, c.priority())
	case !n.isPeer(r.From):
		return r.From + " cannot hold it"
	}
	if now.Sub(c.bidderAt) > 2*retryEvery || comesFirst(r, c.bidder.Priority, c.bidder.From) {
		c.bidder, c.bidderAt = r, now
	}
	switch {
	case n.lease != nil && !n.witnessSilent(now) && !n.leased(now, c):
		return "the witness is just back: it is being told who holds"
	case n.lease != nil && n.lease.Unsettled(c.cfg.Name):
		return "a take of this node's own is in doubt at the witness: it could promise the claim to nobody"
	case c.cfg.Guarded && !n.guardsMayStart(now, c):
		return "the guarded services of the holder before may still be stopping"
	case c.bidder.From != r.From:
		return c.bidder.From + " asks for it too, and comes first" // not one move after the other
	}
	c.to = r.From
	c.let(n, now, fmt.Sprintf("handed over to %s, whose priority %d is higher", r.From, r.Priority))
	return ""
}

// offeredTo takes in that a peer has let go of the claim, all verified.
func (n *Node) offeredTo(now time.Time, c *claim, r arbiter.Request) {
	p := n.peers[r.From]
	p.report.Claims = slices.Clone(p.report.Claims) // the mesh has it too
	for i := range p.report.Claims {
		if p.report.Claims[i].Claim == c.cfg.Name {
			p.report.Claims[i].Holds, p.report.Claims[i].Guards = false, false
		}
	}
	p.seen = now
	// The word of an older holding than the last one known is no offer: another has held since.
	if r.Token != 0 && r.Token >= c.known && (r.For == "" || r.For == n.cfg.Name) {
		c.offer = offer{at: now, token: r.Token, toThis: r.For != "", unsettled: r.Unsettled}
	}
	if n.promises != nil {
		n.promises.Release(r)
	}
	if n.lease != nil {
		n.lease.Hasten(now)
	}
}

// answered takes in a peer's answer.
func (n *Node) answered(now time.Time, a arbiter.Answer, path arbiter.Path) {
	p, c := n.peers[a.From], n.claims[a.Claim]
	if p == nil {
		return
	}
	if c == nil {
		n.learn(a.Claim, a.Token) // a reload took the claim away, and another may bring it back
		return
	}
	n.former.answered(a)
	p.owed = false // it has heard this node, so it counts on its absence no longer
	if c.ballot != nil {
		c.ballot.Answered(a)
	}
	if a.ID == c.question {
		c.answers[p.name] = answer{yes: a.Yes, guards: a.Guards, takes: a.Takes, asked: c.asked, at: now, path: path}
		n.learn(a.Claim, a.Token)
	}
	c.bar = max(c.bar, a.Token)
	if path.Via == "" {
		p.direct = now
	}
}

// holds reports whether anything of the claim may be on this node.
func (c *claim) holds() bool {
	return c.phase != Idle && c.phase != Storing && (c.phase != Leaving || !c.off) && c.phase != Releasing
}

// publish tells the mesh how this node stands: when that changes, and at intervals.
func (n *Node) publish(now time.Time) {
	if len(n.peers) == 0 || n.started.IsZero() {
		return
	}
	r := n.report(now)
	if !r.Same(n.reported) || !now.Before(n.nextReport) {
		r.Claims = slices.Clone(r.Claims)
		n.reported = r
		n.reportSeq++
		r.Seq = n.reportSeq
		n.nextReport = now.Add(reportEvery)
		n.emit(Publish{r})
	}
}

// publishNow makes the next publish due at once.
func (n *Node) publishNow(now time.Time) {
	n.nextReport = now
	n.publish(now)
}

// report returns how this node stands. Its claims are good until the next call.
func (n *Node) report(now time.Time) arbiter.Report {
	r := arbiter.Report{Node: n.cfg.Name, Incarnation: n.cfg.Incarnation, Mode: n.cfg.Mode, Leaving: n.stopped, Left: n.leaving == leftStored, Store: n.seesStore()}
	r.Claims = n.reports[:0]
	for _, c := range n.inOrder() {
		cr := arbiter.ClaimReport{
			Claim: c.cfg.Name, State: c.state().String(), Holds: c.holds(), Guards: c.guards.state != guardsOff,
			Token: c.known, Priority: c.priority(), Address: c.address, Barred: n.barred(now, c),
		}
		if cr.Holds {
			cr.Token = c.token
		}
		r.Claims = append(r.Claims, cr)
	}
	n.reports = r.Claims
	return r
}

// state is the claim's VRRP state: that of its instances when they agree, else the weakest.
func (c *claim) state() vrrp.State {
	s := vrrp.StateMaster
	for _, in := range c.instances {
		switch got := in.machine.State(); {
		case got == vrrp.StateFault || s == vrrp.StateFault:
			s = vrrp.StateFault
		case got != vrrp.StateMaster:
			s = got
		}
	}
	return s
}
