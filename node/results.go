package node

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
)

// applyResult takes in how an effect went.
func (n *Node) applyResult(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case TokenStored:
		c := n.claims[ev.Claim]
		if c == nil {
			return
		}
		n.sendStored(now, c, ev)
		switch {
		case c.phase == Idle && ev.Token == c.proof && now.Sub(c.handover) < retryEvery:
			n.proved(now, c, ev.Err)
		case c.phase == Storing && ev.Token == c.token:
			n.tokenStored(now, c, ev.Err)
		case c.phase == Held && ev.Token == c.storing && ev.Err == nil:
			c.token, c.known = ev.Token, max(c.known, ev.Token)
		}
	case AddressesDone:
		if c := n.claims[ev.Claim]; c != nil {
			n.addressesDone(now, c, ev)
		}
	case GuardsDone:
		if c := n.claims[ev.Claim]; c != nil {
			n.guardsDone(now, c, ev)
		}
	default: // the result of no effect
	}
}

func (n *Node) tokenStored(now time.Time, c *claim, err error) {
	if err != nil {
		n.tell(Warning, c.cfg.Name, "cannot take: the token cannot be stored", err.Error())
		c.fails(now, "the token cannot be stored", err)
		n.abandon(now, c, err.Error())
		return
	}
	c.verdict = arbiter.Decide(n.evidence(now, c))
	n.settleStoring(now, c)
}

// settleStoring puts the claim on once its token is durable and a preempted master was told, if
// nothing has come up meanwhile.
func (n *Node) settleStoring(now time.Time, c *claim) {
	switch {
	case c.verdict.Do != arbiter.Hold:
		n.abandon(now, c, c.verdict.Why)
	case c.stored < c.token:
	case n.cfg.Mode == arbiter.ModeVRRP && now.Before(c.since.Add(preemptLead)):
	case n.permits() && n.outdated(now, c):
		n.abandon(now, c, fmt.Sprintf("token %d has been used meanwhile", c.token))
	case n.cfg.Mode == arbiter.ModeVeto && !n.alone(now, c):
	default:
		c.known = max(c.known, c.token)
		n.add(now, c)
	}
}

// alone reports whether no live peer is about to take the claim as well. That each has said
// before that it does not hold it is not enough where nothing else is permission: two that say
// so to each other at one instant would both take it. So a node asks once more when
// it has made up its mind, and goes on when every live peer says after that that it neither holds
// nor takes: that cannot be said to both of two. Of two that take, the arbiter has the lower one give way.
func (n *Node) alone(now time.Time, c *claim) bool {
	for _, name := range n.cfg.Peers {
		if p := n.peers[name]; p.report.Leaving || n.peerEvidence(now, c, p).Alive != arbiter.Yes {
			continue // it takes nothing more; or it is not there, or there is no path: on_isolation has decided about that
		}
		if a := c.answers[name]; a.takes || a.asked.Before(c.since) {
			n.askHolders(now, c)
			return false
		}
	}
	return true
}

func (n *Node) addressesDone(now time.Time, c *claim, ev AddressesDone) {
	switch {
	case ev.On && ev.Err != nil && (c.phase == Adding || c.phase == Held):
		n.tell(Warning, c.cfg.Name, "the addresses cannot be put on", ev.Err.Error())
		c.fails(now, "the addresses cannot be put on", ev.Err)
		c.to = n.successor(now, c)
		c.let(n, now, ev.Err.Error())
	case ev.On && c.phase == Adding:
		c.enter(Held, now)
		c.consults = time.Time{} // not before: what silence has decided must stay decided
		n.tell(Info, c.cfg.Name, "holding", c.verdict.Why)
		for _, in := range c.instances {
			n.drive(now, in, vrrp.Grant{})
		}
	case !ev.On && c.phase == Leaving:
		c.off = ev.Err == nil
		n.fencingStep(now, c, stepAddresses, ev.Err)
		if ev.Err != nil {
			n.tell(Warning, c.cfg.Name, "the addresses cannot be taken off", ev.Err.Error())
		}
	}
}
