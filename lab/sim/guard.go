package sim

import (
	"errors"
	"time"

	"github.com/solovip/solovip/node"
)

// guard is a guarded service of one claim on one host.
type guard struct {
	runs    bool
	excused bool // see Host.excuse
	failed  bool // a stop of it has failed, so that its limit is void
	life    int  // which start of it this is
}

const (
	// guardStart is how long a service takes to start.
	guardStart = 300 * time.Millisecond
	// guardKill is how long a killed one takes to end.
	guardKill = 500 * time.Millisecond
)

var (
	errGuardEnded = errors.New("it has ended by itself")
	errGuardStuck = errors.New("it cannot be shown to be stopped")
	errTooLate    = errors.New("the permission has ended meanwhile")
)

// startGuards starts a claim's services. They count as running at once.
func (d *daemon) startGuards(a node.StartGuards) {
	h, claim := d.host, d.host.world.Shape.claim(a.Claim)
	if a.Always {
		h.world.Check.Served(h.world.Now, a.Claim, h.Name, d.fenced[claim] != "")
		h.world.report()
		d.after(h.world.upTo(guardStart), func() { d.step(node.GuardsDone{Claim: a.Claim, Always: true, On: true}) })
		return
	}
	if !a.Until.IsZero() && !h.boot().Before(a.Until) {
		d.step(node.GuardsDone{Claim: a.Claim, On: true, Err: errTooLate})
		return
	}
	h.settled[claim] = true
	g := &h.guards[claim]
	*g = guard{runs: true, life: g.life + 1}
	life := g.life
	h.world.note("%s starts the guard of %s with token %d", h.Name, a.Claim, a.Token)
	h.world.changed(claim)
	d.after(h.world.upTo(guardStart), func() {
		if g.life == life {
			d.step(node.GuardsDone{Claim: a.Claim, On: true})
		}
	})
}

// stopGuards stops them; a start that is under way ends first.
func (d *daemon) stopGuards(a node.StopGuards) {
	h, claim := d.host, d.host.world.Shape.claim(a.Claim)
	if a.Always { // only a fence stops these
		d.after(h.world.upTo(guardKill), func() { d.step(node.GuardsDone{Claim: a.Claim, Always: true}) })
		return
	}
	g := &h.guards[claim]
	g.life++ // voids the end of a start
	took := h.world.upTo(h.world.Shape.GuardLimit)
	switch {
	case a.Kill:
		took = h.world.upTo(guardKill)
	case h.trouble.guardSlow:
		took = h.world.Shape.GuardLimit - 1
	}
	if !a.Kill && h.trouble.guardFails && h.world.chance(2) {
		d.after(took, func() {
			g.failed = g.runs
			d.step(node.GuardsDone{Claim: a.Claim, Err: errGuardStuck})
		})
		return
	}
	h.endGuard(claim, took, func() { d.step(node.GuardsDone{Claim: a.Claim}) })
}

// endGuard ends a service after a time and has the daemon, if it is still the same
// one, told. When the daemon is frozen by then, the service may have to wait for the
// kill that only the daemon can send.
func (h *Host) endGuard(claim int, took time.Duration, tell func()) {
	g, d := &h.guards[claim], h.daemon
	life := g.life
	h.after(took, func() {
		switch {
		case g.life != life || h.daemon != d:
			return // another start of it, or another daemon sees to it
		case d != nil && !d.runs() && h.world.chance(2):
			d.receive(internal, func() { h.endGuard(claim, h.world.upTo(guardKill), tell) })
			return
		}
		h.guardGone(claim)
		if d == nil {
			tell()
			return
		}
		d.receive(internal, tell)
	})
}

func (h *Host) guardGone(claim int) {
	g := &h.guards[claim]
	*g = guard{life: g.life}
	h.world.note("%s: the guard of %s is off", h.Name, h.world.Shape.Claims[claim].Name)
	h.world.changed(claim)
}

// guardDies ends a service by itself.
func (h *Host) guardDies(claim int) {
	if !h.runsGuard(claim) {
		return
	}
	h.world.note("%s: the guard of %s ends by itself", h.Name, h.world.Shape.Claims[claim].Name)
	h.guardGone(claim)
	if d := h.daemon; d != nil {
		d.receive(internal, func() {
			d.step(node.GuardsDone{Claim: h.world.Shape.Claims[claim].Name, On: true, Err: errGuardEnded})
		})
	}
}
