package node

import "time"

// A node that stops in order while the witness is silent would take its promise along,
// and the holder would have to let go although nothing is wrong. So it leaves a promise
// for good: it stores that it left so, tells the others, and when it is back it takes
// nothing before each of them is known to count on its absence no longer, because it
//   - has answered this node, and so has heard of its return, or
//   - renews at the witness again: then it lives by its lease;
//
// and before what it may still hold by the old promise has run out: a Wait later.
// What the others count on ends with the first answer that they have from the witness.

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
		if n.lease != nil && len(n.cfg.Peers) > 0 && n.witnessSilent(now) {
			n.leaving = leftStoring
			n.emit(StoreLeft{Left: true})
		}
	}
	return n.leaving != leftStoring
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

// leftForGood reports whether the peer's promise for good counts.
func (n *Node) leftForGood(p *peer) bool {
	if p.left.IsZero() || n.lease == nil {
		return false
	}
	at, _ := n.lease.Answered()
	return at.Before(p.left)
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
		n.quiet = now.Add(n.cfg.Timing.Wait)
		n.emit(StoreLeft{Left: false})
		return
	}
	for _, c := range n.inOrder() {
		c.consult(n, now)
	}
}
