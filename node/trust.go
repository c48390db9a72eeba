package node

import (
	"errors"
	"fmt"
	"time"
)

// Another etcd cluster behind the witness's endpoints is no witness yet: other nodes may still
// renew at the former. It becomes one when each of the others says that it sees it too, which
// takes a moment in a healthy cluster; or when an operator says so, because a node is off.

// settleTrust trusts another etcd cluster once all the others use it, and remembers which
// one is trusted.
func (n *Node) settleTrust(now time.Time) {
	if n.lease == nil {
		return
	}
	if id := n.lease.Stranger(); id != 0 && n.allSee(now, id) {
		n.tell(Warning, "", "the witness is another etcd cluster from now on", fmt.Sprintf("%x; every node sees it", id))
		n.lease.Trust(now)
	}
	if id := n.lease.Trusted(); id != n.cfg.Trusted {
		n.cfg.Trusted = id
		n.emit(StoreWitness{Cluster: id})
	}
}

// allSee reports whether every other node that is not off says that it sees the etcd cluster.
func (n *Node) allSee(now time.Time, id uint64) bool {
	for _, name := range n.cfg.Peers {
		p := n.peers[name]
		off := p.report.Leaving && !p.seen.IsZero()
		if !off && (now.Sub(p.seen) > n.fresh || p.report.Store != id) {
			return false
		}
	}
	return true
}

// seesStore returns the etcd cluster that answers this node; 0: none has.
func (n *Node) seesStore() uint64 {
	if n.lease == nil {
		return 0
	}
	if id := n.lease.Stranger(); id != 0 {
		return id
	}
	return n.lease.Trusted()
}

// otherWitness returns a live peer that uses another etcd cluster as its witness; empty: none is
// known. While there is one a lease excludes nobody.
func (n *Node) otherWitness(now time.Time) string {
	for _, name := range n.cfg.Peers {
		p := n.peers[name]
		if p.report.Store != 0 && p.report.Store != n.lease.Trusted() && !p.report.Leaving && now.Sub(p.seen) <= n.fresh {
			return name
		}
	}
	return ""
}

// trustWitness follows an operator's word that no node which is not heard holds anything: the
// witness counts as it is now, and nobody counts on this node's absence.
func (n *Node) trustWitness(now time.Time, ev TrustWitness) {
	r := Respond{ID: ev.ID}
	owing := n.owing()
	switch {
	case n.lease == nil:
		r.Err = errors.New("no witness is configured here")
	case n.lease.Stranger() != 0:
		r.Text = fmt.Sprintf("the witness is etcd cluster %x from now on; what nobody holds can be taken after %v", n.lease.Stranger(), n.cfg.Timing.Wait)
		n.lease.Trust(now)
	case owing != "":
		r.Text = owing + " is taken to be off: it counts on this node's absence no longer"
	default:
		r.Text = "the witness is trusted as it is: there was nothing to decide"
	}
	if n.lease != nil {
		for _, name := range n.cfg.Peers {
			n.peers[name].owed = false
		}
		n.tell(Warning, "", "an operator trusts the witness", r.Text)
	}
	n.emit(r)
}

// mayLease reports whether a lease of the witness would exclude all others, as far as is known.
func (n *Node) mayLease(now time.Time, c *claim) bool {
	who := n.otherWitness(now)
	if who != "" {
		n.lease.Drop(c.cfg.Name)
		n.tellOnce(c, "elsewhere "+who, "not taken by the witness: "+who+" uses another etcd cluster")
	}
	return who == ""
}
