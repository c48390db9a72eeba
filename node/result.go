package node

import (
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
)

// applyResult takes in how an effect went.
func (n *Node) applyResult(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case TokenStored:
		if c := n.claims[ev.Claim]; c != nil && c.phase == Storing && ev.Token == c.token {
			n.tokenStored(now, c, ev.Err)
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
		n.abandon(now, c, err.Error())
		return
	}
	c.verdict = arbiter.Decide(n.evidence(now, c))
	if c.verdict.Do != arbiter.Hold {
		n.abandon(now, c, c.verdict.Why)
		return
	}
	n.add(now, c)
}

func (n *Node) addressesDone(now time.Time, c *claim, ev AddressesDone) {
	switch {
	case ev.On && ev.Err != nil && (c.phase == Adding || c.phase == Held):
		n.tell(Warning, c.cfg.Name, "the addresses cannot be put on", ev.Err.Error())
		c.let(n, now, ev.Err.Error(), false)
	case ev.On && c.phase == Adding:
		c.enter(Held, now)
		n.tell(Info, c.cfg.Name, "holding", c.verdict.Why)
		for _, in := range c.instances {
			n.drive(now, in, vrrp.Grant{})
		}
	case !ev.On && c.phase == Leaving:
		c.off = ev.Err == nil
		if ev.Err != nil {
			n.tell(Warning, c.cfg.Name, "the addresses cannot be taken off", ev.Err.Error())
		}
	}
}

func (n *Node) guardsDone(now time.Time, c *claim, ev GuardsDone) {
	g := &c.guards
	if ev.Always {
		g = &c.always
	}
	if text := g.done(now, ev); text != "" {
		n.tell(Warning, c.cfg.Name, text, ev.Err.Error())
	}
}
