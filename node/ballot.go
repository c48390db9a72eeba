package node

import (
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
)

// A claim that is not held by the lease is held by promises, and several nodes may ask for
// them. Each asks in its turn, by rank; a round that cannot bring enough any more ends at
// once and gives back what it brought, so that its promises bind nobody.

// openBallot asks the voters for their promises: of a claim that is held once each renewal
// period, of one that is not when this node's turn has come.
func (n *Node) openBallot(now time.Time, c *claim) {
	if c.phase != Idle {
		if now.Sub(c.ballot.Asked()) >= n.cfg.Timing.Renew {
			n.ask(now, c, c.token)
		}
		return
	}
	if n.itsTurn(now, c) && !c.ballot.Running() {
		n.bidAbove(now, c)
	}
}

// itsTurn reports whether those that come before this node have had time to take the claim.
func (n *Node) itsTurn(now time.Time, c *claim) bool {
	if c.turn.IsZero() {
		c.turn = now.Add(time.Duration(n.rank(now, c)) * n.cfg.Timing.Renew / turns)
	}
	return !now.Before(c.turn)
}

// bidAbove asks with a token above all that were heard of.
func (n *Node) bidAbove(now time.Time, c *claim) {
	c.bid = c.highest() + 1
	n.ask(now, c, c.bid)
}

// ask opens a round. Who promises makes the token durable, and says which it knew before:
// any two sets of voters that are enough share one, so no two holdings get the same token.
func (n *Node) ask(now time.Time, c *claim, token arbiter.Token) {
	r := arbiter.Request{ID: n.newRequest(), Kind: arbiter.RequestPromise, Claim: c.cfg.Name, Priority: c.priority(), Token: token}
	c.ballot.Open(now, r.ID)
	for _, name := range c.ballot.Voters() {
		if n.leftForGood(now, n.peers[name]) {
			c.ballot.Grant(name)
			continue
		}
		r.To = name
		n.question(r)
	}
}

// turns is how many nodes have their turn within a renewal period: the time between two is for
// one to ask all others and to have their answers.
const turns = 8

// rank is how many peers would take the claim as well and go before this node.
func (n *Node) rank(now time.Time, c *claim) (before int) {
	if c.offer.forThis(now) {
		return 0
	}
	for _, name := range n.cfg.Peers {
		p := n.peers[name]
		cr, ok := p.report.Claim(c.cfg.Name)
		able := ok && !cr.Holds && cr.Barred == "" && cr.State == vrrp.StateBackup.String()
		if !able || p.alive == arbiter.No || p.report.Leaving || now.Sub(p.seen) > n.fresh {
			continue
		}
		if comesFirst(arbiter.Request{From: name, Priority: cr.Priority}, c.priority(), n.cfg.Name) {
			before++
		}
	}
	return before
}

// settleBallot ends a round of a claim that is not held: one that brings too little, or that
// nothing is wanted of any more.
func (n *Node) settleBallot(now time.Time, c *claim) {
	if c.want == arbiter.WantNone {
		c.turn, c.lost = time.Time{}, 0
	}
	if c.ballot == nil || !c.ballot.Running() || c.verdict.Do == arbiter.Hold {
		return
	}
	failed := c.ballot.Failed(n.saidGoodbye) || !c.ballot.Until().After(now) && now.Sub(c.ballot.Asked()) > n.cfg.Timing.Renew/2
	if c.verdict.Do == arbiter.Obtain && !failed {
		return
	}
	n.withdraw(c)
	if failed {
		// Those who met have their next turns apart, and give way to the others the more the
		// more often they tried in vain.
		c.lost = min(c.lost+1, maxLost)
		turn := n.cfg.Timing.Renew / turns
		if c.offer.forThis(now) {
			turn /= haste
		}
		c.turn = now.Add(time.Duration((1+n.rank(now, c))*c.lost) * turn)
	}
}

// saidGoodbye reports whether a member of the mesh said that it is stopping, and has not been heard since.
func (n *Node) saidGoodbye(name string) bool { return n.peers[name].report.Leaving }

// haste is by how much sooner a node asks again that the holder has let go for: nobody else
// asks, and who refused has only not heard of it yet.
const haste = 8

// maxLost bounds how long a node that asked in vain waits for its next turn.
const maxLost = 4

// withdraw gives all promises of the round back.
func (n *Node) withdraw(c *claim) {
	c.ballot.End()
	id := n.newRequest()
	for _, name := range c.ballot.Voters() {
		n.question(arbiter.Request{ID: id, Kind: arbiter.RequestReleased, To: name, Claim: c.cfg.Name, For: n.cfg.Name})
	}
}

// bidStands reports whether the token bid is above all that those who promised had heard of.
// If it is not, they are asked again, with a higher one: they have promised already.
func (n *Node) bidStands(now time.Time, c *claim) bool {
	above := c.highest() < c.bid
	if above && c.ballot.Won() {
		return true
	}
	if !above || now.Sub(c.ballot.Asked()) > n.cfg.Timing.Renew/2 {
		n.bidAbove(now, c)
	}
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
	case c.ballot.Running() && !comesFirst(r, c.priority(), n.cfg.Name) && n.promises.To(now, c.cfg.Name) != r.From:
		return "this node is asking for it too, and comes first"
	}
	if why := n.promises.Grant(now, r); why != "" {
		return why
	}
	if c.ballot.Running() {
		n.withdraw(c)
	}
	if n.lease != nil {
		n.lease.Drop(c.cfg.Name)
	}
	return ""
}

// comesFirst reports whether the asking node goes before one of the given priority and name.
func comesFirst(r arbiter.Request, priority uint8, name string) bool {
	if r.Priority != priority {
		return r.Priority > priority
	}
	return r.From > name
}
