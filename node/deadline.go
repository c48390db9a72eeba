package node

import (
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// Deadline returns when the next Tick is due; zero: only events matter.
func (n *Node) Deadline(now time.Time) time.Time {
	if n.stopped {
		return time.Time{}
	}
	var d earliest
	for _, c := range n.inOrder() {
		for _, in := range c.instances {
			d.add(in.machine.Deadline())
		}
		c.deadlines(n, now, &d)
	}
	if n.lease != nil {
		d.add(n.lease.Deadline(now))
	}
	n.watchdogDeadline(now, &d)
	if len(n.peers) > 0 {
		d.add(n.nextReport)
	}
	if now.Before(n.stopBy) {
		d.add(n.stopBy)
	}
	if n.owing() != "" {
		d.add(now.Add(askEvery))
	}
	d.add(n.former.due())
	if now.Before(n.quiet) {
		d.add(n.quiet)
	}
	return d.at
}

// earliest is the earliest of several instants; a zero one does not count.
type earliest struct{ at time.Time }

func (e *earliest) add(t time.Time) {
	if !t.IsZero() && (e.at.IsZero() || t.Before(e.at)) {
		e.at = t
	}
}

// deadlines adds when the claim itself wants to be looked at again.
func (c *claim) deadlines(n *Node, now time.Time, d *earliest) {
	d.add(n.banDue(now, c))
	if now.Before(c.brokenTo) {
		d.add(c.brokenTo)
	}
	if now.Before(c.illTo) {
		d.add(c.illTo)
	}
	if c.always.failed > 0 && c.always.state == guardsOn && !c.always.steady(now) {
		d.add(c.always.on.Add(steadyAfter))
	}
	d.add(c.guards.due())
	d.add(c.always.due())
	c.linkDeadlines(now, d)
	switch c.phase {
	case Idle:
		if c.verdict.Do == arbiter.Consult || c.verdict.Do == arbiter.Shoot || c.verdict.Do == arbiter.Obtain || c.verdict.Do == arbiter.Handover {
			d.add(now.Add(askEvery))
		}
		if c.verdict.Do == arbiter.Obtain && now.Before(c.turn) {
			d.add(c.turn)
		}
		if p := n.peers[c.verdict.Peer]; p != nil && c.verdict.Do == arbiter.Shoot {
			d.add(p.shot.Due())
		}
		if n.lease != nil {
			if s := n.lease.Standing(now, c.cfg.Name); s.State == witness.Waiting {
				d.add(s.At)
			}
		}
	case Held:
		d.add(c.extend)
		d.add(c.verdict.Until)
		if c.guards.state == guardsOff && c.cfg.Guarded {
			d.add(later(c.guardsAt, c.guards.retry))
			c.guardsDeadline(now, d)
		}
		if c.ballot != nil {
			d.add(now.Add(n.cfg.Timing.Renew))
		}
	case Storing, Adding:
		d.add(c.verdict.Until)
		if c.phase == Storing && n.cfg.Mode == arbiter.ModeVRRP {
			d.add(c.since.Add(preemptLead))
		}
		if again := c.asked.Add(takeEvery); c.phase == Storing && now.Before(again) {
			d.add(again)
		}
	case Leaving:
		d.add(c.retry)
		c.guardsDeadline(now, d)
	case Releasing:
		if n.lease != nil {
			_, until, _ := n.lease.Permission(c.cfg.Name)
			d.add(until)
		}
	}
}

// guardsDeadline adds when the peers are asked again whether their guards run.
func (c *claim) guardsDeadline(now time.Time, d *earliest) {
	if now.Before(c.guardsAt) {
		d.add(c.guardsAt)
		if again := c.asked.Add(askEvery); now.Before(again) {
			d.add(again)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
