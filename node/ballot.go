package node

import (
	"time"

	"github.com/solovip/solovip/arbiter"
)

// A claim that is not held by the lease is held by promises, and several nodes may ask for
// them at one instant. Then those of the highest priority come first: the others
// withdraw, so that their promises bind nobody any more.

// openBallot asks the voters for their promises, once each renewal period.
func (n *Node) openBallot(now time.Time, c *claim) {
	if c.phase == Idle && (c.ballot.Running() || now.Before(c.pause)) || c.phase != Idle && now.Sub(c.ballot.Asked()) < n.cfg.Timing.Renew {
		return
	}
	r := arbiter.Request{ID: n.newRequest(), Kind: arbiter.RequestPromise, Claim: c.cfg.Name, Priority: c.priority()}
	if c.phase == Idle && n.cfg.Mode == arbiter.ModeQuorum {
		// Who promises remembers the token, and two majorities share a voter: so no two
		// holdings get the same. Where all others promise, all others are heard, and that is enough.
		c.bid = c.known + 1
		r.Token = c.bid
	}
	c.ballot.Open(now, r.ID)
	for _, name := range c.ballot.Voters() {
		if n.leftForGood(n.peers[name]) {
			c.ballot.Grant(name)
			continue
		}
		r.To = name
		n.question(r)
	}
}

// settleBallot ends a round of a claim that is not held: one that has brought too little
// for long enough, or that nothing is wanted of any more.
func (n *Node) settleBallot(now time.Time, c *claim) {
	if c.ballot == nil || !c.ballot.Running() || c.verdict.Do == arbiter.Hold {
		return
	}
	failed := !c.ballot.Until().After(now) && now.Sub(c.ballot.Asked()) > n.cfg.Timing.Renew/2
	if c.verdict.Do == arbiter.Obtain && !failed {
		return
	}
	n.withdraw(c)
	if failed {
		// Candidates that met once must not meet each time.
		c.lost++
		c.pause = now.Add(n.cfg.Timing.Renew / 4 * time.Duration(1+c.lost%3))
	}
}

// withdraw gives all promises of the round back.
func (n *Node) withdraw(c *claim) {
	c.ballot.End()
	id := n.newRequest()
	for _, name := range c.ballot.Voters() {
		n.question(arbiter.Request{ID: id, Kind: arbiter.RequestReleased, To: name, Claim: c.cfg.Name, For: n.cfg.Name})
	}
}

// bidStands reports whether the token bid is still above all that were heard of. If one was, the
// voters are asked again with a higher one.
func (n *Node) bidStands(c *claim) bool {
	if c.known < c.bid {
		return true
	}
	n.withdraw(c)
	c.ballot.Hasten()
	return false
}

// promise decides about a promise to a peer.
func (n *Node) promise(now time.Time, c *claim, r arbiter.Request) (why string) {
	switch {
	case n.promises == nil:
		return "this node's mode knows no promises"
	case c.phase != Idle:
		return "this node holds it"
	case n.lease != nil && n.lease.Unsettled(c.cfg.Name):
		return "a take of this node's own is under way"
	case !comesFirst(r, c.priority(), n.cfg.Name) && n.insists(now, c):
		return "this node would take it too, and comes first"
	case r.Token != 0 && r.Token <= c.known && n.promises.To(now, c.cfg.Name) != r.From:
		return "that token has been used"
	}
	if why := n.promises.Grant(now, r); why != "" {
		return why
	}
	c.lost = 0
	if c.ballot.Running() {
		n.withdraw(c)
	}
	if n.lease != nil {
		n.lease.Drop(c.cfg.Name)
	}
	return ""
}

// insists reports whether this node would take the claim itself, and has not tried in vain
// so often that another, which may reach more, should have its turn.
func (n *Node) insists(now time.Time, c *claim) bool {
	if c.lost >= maxLost || n.barred(now, c) != "" {
		return false
	}
	var lease arbiter.Lease
	if n.lease != nil {
		lease = n.leaseEvidence(now, c)
	}
	want := n.want(now, c, lease)
	return want == arbiter.WantVacant || want == arbiter.WantOffered
}

// maxLost is after how many rounds in vain a node lets one of lower priority try.
const maxLost = 3

// comesFirst reports whether the asking node goes before one of the given priority and name.
func comesFirst(r arbiter.Request, priority uint8, name string) bool {
	if r.Priority != priority {
		return r.Priority > priority
	}
	return r.From > name
}
