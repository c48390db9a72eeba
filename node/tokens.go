package node

import (
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// learn notes a token of a holding that was heard of, also of a claim that a reload may
// bring back.
func (n *Node) learn(claim string, token arbiter.Token) {
	if c := n.claims[claim]; c != nil {
		c.known = max(c.known, token)
		if c.offer.token < token {
			c.offer = offer{} // another has held it since
		}
		return
	}
	n.learned[claim] = max(n.learned[claim], token)
}

// learnTokens learns from the witness, whatever its records count for otherwise.
func (n *Node) learnTokens(o witness.Observation) {
	for name, v := range o.Claims {
		n.learn(name, v.Record.Token)
	}
}

// outdated reports whether a token as high as that of the holding to come has been heard of.
func (n *Node) outdated(now time.Time, c *claim) bool {
	if c.token <= n.spent[c.cfg.Name] {
		return true // a take that was under way then has been granted since
	}
	if n.lease != nil && n.leased(now, c) {
		return c.token < c.highest() // what the witness says is among what was heard of
	}
	return c.token <= c.highest()
}

// highest returns the highest token that was heard of, or that somebody may hold with.
func (c *claim) highest() arbiter.Token { return max(c.known, c.bar) }

// replyStored gives the promise once the token that it was asked for with is durable: a
// node that is started anew must not take with the same one.
func (n *Node) replyStored(c *claim, a arbiter.Answer, token arbiter.Token) {
	c.replies = append(c.replies, reply{a, token})
	n.emit(StoreToken{Claim: c.cfg.Name, Token: token})
}

// sendStored sends the replies that waited for the token to be durable, but those to nodes that
// have given the promise back meanwhile.
func (n *Node) sendStored(now time.Time, c *claim, ev TokenStored) {
	if ev.Err == nil {
		c.stored = max(c.stored, ev.Token)
	}
	waiting := c.replies[:0]
	for _, r := range c.replies {
		switch {
		case n.promises.To(now, c.cfg.Name) != r.answer.To:
		case ev.Err != nil && r.token == ev.Token:
			r.answer.Yes, r.answer.Why = false, "the token cannot be stored: "+ev.Err.Error()
			n.emit(Reply{r.answer})
		case r.token <= c.stored:
			n.emit(Reply{r.answer})
		default:
			waiting = append(waiting, r)
		}
	}
	c.replies = waiting
}
