package node

import (
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
)

// In veto mode with on_isolation fence a node that no path shows is switched off before
// anything is taken from it. Two nodes that cannot hear each other must not shoot each
// other: the one that comes second waits for a head start, and by then it is off.

type (
	// ShootPeer has agents switch another node off and verify it. PeerShot follows.
	ShootPeer struct{ Peer string }
	// PeerShot is the result: nil says that the node is shown to be switched off.
	PeerShot struct {
		Peer string
		Err  error
	}
)

func (ShootPeer) action() {}
func (PeerShot) event()   {}

// shoot begins to have a peer switched off, for the sake of a claim, and fires when it is time.
func (n *Node) shoot(now time.Time, c *claim, name string) {
	p := n.peers[name]
	if p == nil {
		return
	}
	wait := n.cfg.ShotJitter
	if !n.shootsFirst(p) {
		wait += n.cfg.ShotDelay
	}
	if p.shot.Begin(now, wait) {
		n.tell(Warning, c.cfg.Name, "another node is to be switched off, because no path reaches it", name+", in "+wait.Round(time.Millisecond).String())
	}
	if p.shot.Fire(now) {
		p.record = n.newRecord(now, c.cfg.Name, fencing.Isolation, c.verdict.Why)
		p.record.Target, p.record.Token, p.record.Evidence = name, c.known, n.evidenceFor(now, c)
		n.emit(WriteFencing{p.record.Clone()})
		n.emit(ShootPeer{Peer: name})
	}
}

// shootsFirst decides which of two nodes has the head start, the same on both of them as far as they
// know each other: the one with more priority in all claims together, else by name.
func (n *Node) shootsFirst(p *peer) bool {
	ours, theirs := 0, 0
	for _, c := range n.inOrder() {
		if cr, ok := p.report.Claim(c.cfg.Name); ok {
			ours, theirs = ours+int(c.priority()), theirs+int(cr.Priority)
		}
	}
	if ours != theirs {
		return ours > theirs
	}
	return n.cfg.Name > p.name
}

// shot takes in what the agents have come to.
func (n *Node) shot(now time.Time, ev PeerShot) {
	p := n.peers[ev.Peer]
	if p == nil {
		return
	}
	why := ""
	if ev.Err != nil {
		why = ev.Err.Error()
	}
	p.shot.Answer(now, why)
	p.record.Step(now, "switch "+ev.Peer+" off, and verify it", ev.Err)
	if ev.Err != nil {
		n.tell(Warning, "", "another node could not be switched off; nothing is taken from it", ev.Peer+": "+why)
	} else {
		p.record.Finish(now)
		n.tell(Warning, "", "another node is switched off", ev.Peer)
	}
	n.emit(WriteFencing{p.record.Clone()})
}

// offEvidence is whether the peers that no path reaches are shown to be switched off: the
// worst of what is known of each.
func (n *Node) offEvidence(now time.Time, peers []arbiter.Peer) arbiter.Tri {
	worst := arbiter.Yes
	for _, e := range peers {
		if e.Alive != arbiter.No || e.Holds == arbiter.No {
			continue
		}
		p := n.peers[e.Name]
		heard := later(p.seen, p.direct)
		for _, c := range n.claims {
			heard = later(heard, c.answers[e.Name].at)
		}
		switch off := p.shot.Look(now, heard); {
		case off == arbiter.No:
			worst = arbiter.No
		case off == arbiter.Unknown && worst == arbiter.Yes:
			worst = arbiter.Unknown
		}
	}
	return worst
}
