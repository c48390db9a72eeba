package node

import (
	"slices"
	"time"
)

// A node that stops in order while the witness is silent would take its promise along,
// and the holder would have to let go although nothing is wrong. So it leaves a promise
// for good: it stores that it left so, tells the others, and when it is back it takes
// nothing before each of them is known to count on its absence no longer, because it
//   - has answered this node, and so has heard of its return, or
//   - renews at the witness again: then it lives by its lease;
//
// and before what it may still hold by the old promise has run out. The others count on that
// promise for a Wait after the first answer that they have from the witness, and a holding that they
// got by it ends within another Wait.

// quietWaits is how many Waits a node that is back takes nothing for: two, and one for clocks
// that differ.
const quietWaits = 3

// leaving is how far the promise for good is.
type leaving uint8

const (
	notLeft     leaving = iota
	leftStoring         // being made durable
	leftStored          // durable: the last report says so
	leftPlainly         // the witness answers, or it could not be stored
)

// leave reports whether the node may go now, all that it leaves behind in place.
func (n *Node) leave(now time.Time) bool {
	if n.leaving == notLeft {
		n.leaving = leftPlainly
		if n.lease != nil && len(n.cfg.Peers) > 0 && (n.witnessSilent(now) || n.unconfirmed()) {
			n.leaving = leftStoring
			n.emit(StoreLeft{Left: true})
		}
	}
	return n.leaving != leftStoring
}

// unconfirmed reports whether a release may not have come to the witness: then the next holder may
// have to live by promises for longer than this node is there.
func (n *Node) unconfirmed() bool {
	return slices.ContainsFunc(n.inOrder(), func(c *claim) bool {
		return n.lease.Unsettled(c.cfg.Name) || n.lease.Releasing(c.cfg.Name)
	})
}

// leftStored takes in whether the promise for good is durable, if the node is leaving.
func (n *Node) leftStored(err error) {
	switch {
	case err != nil:
		n.tell(Warning, "", "whether this node left a promise for good cannot be stored", err.Error())
		n.leaving = leftPlainly
	case n.leaving == leftStoring:
		n.leaving = leftStored
	}
}

// noteAnswers notes when the witness answered for the first time since a peer left.
func (n *Node) noteAnswers() {
	if n.lease == nil {
		return
	}
	at, _ := n.lease.Answered()
	for _, name := range n.cfg.Peers {
		if p := n.peers[name]; !p.left.IsZero() && p.heardOf.IsZero() && !at.Before(p.left) {
			p.heardOf = at
		}
	}
}

// leftForGood reports whether the peer's promise for good counts: until the witness answers, and for
// the Wait that getting a lease may take then.
func (n *Node) leftForGood(now time.Time, p *peer) bool {
	if p.left.IsZero() || n.lease == nil {
		return false
	}
	return p.heardOf.IsZero() || now.Before(p.heardOf.Add(n.cfg.Timing.Wait))
}

// owing returns the first peer that may still count on this node's absence; empty: none.
func (n *Node) owing() string {
	if !n.cfg.Left {
		return ""
	}
	for _, name := range n.cfg.Peers {
		if n.peers[name].owed {
			return name
		}
	}
	return ""
}

// settleReturn asks the peers that may count on this node's absence, until none does.
func (n *Node) settleReturn(now time.Time) {
	n.noteAnswers()
	if !n.cfg.Left || n.started.IsZero() {
		return
	}
	for _, name := range n.cfg.Peers {
		if n.lease != nil && n.lease.Alive(name) {
			n.peers[name].owed = false
		}
	}
	if n.owing() == "" {
		n.cfg.Left = false
		n.quiet = now.Add(quietWaits * n.cfg.Timing.Wait)
		n.emit(StoreLeft{Left: false})
		return
	}
	for _, c := range n.inOrder() {
		c.consult(n, now)
	}
}
