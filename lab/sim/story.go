package sim

import (
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/node"
)

// Story is a random sequence of faults, in acts: trouble, then either calm or one fault that
// stays, and in either case one healthy node holds each claim a bound later.
type Story struct{ Length time.Duration }

// Tell schedules the story: hosts start, then one act follows the other.
func (s Story) Tell(w *World) {
	for _, h := range w.Hosts {
		w.After(w.upTo(3*time.Second), h.Start)
	}
	w.After(w.upTo(20*time.Second), w.act)
}

// act plays some trouble, ends it, judges, and begins the next act.
func (w *World) act() {
	w.tended = false
	length := w.spread(40*time.Second) + time.Second
	for range 1 + w.Rand.IntN(10) {
		w.After(w.upTo(length), w.fault)
	}
	w.After(length, func() {
		w.Calm()
		if w.chance(2) {
			w.oneFault()
		}
		bound := w.Shape.Bound()
		w.After(bound, func() { w.judge("", bound) })
		// Long enough for a holder to be secure, so that nothing moves any more.
		end := bound + w.between(time.Second, 15*time.Second)
		w.After(end, func() {
			w.judge("", end)
			w.act()
		})
	})
}

// Bound is within what time after the last fault one healthy node holds each claim. It is
// the sum of what can follow each other: a swap that was under way, a daemon that is
// started again, a witness or a promise that is waited for, VRRP's own timer, a
// holder whose guard takes its time before it hands over, and a node to which the kernel or the
// disk had refused something and which leaves the claim to others for a while after that.
func (s Shape) Bound() time.Duration {
	return longDelay + respawn + 2*s.Timing.Wait + node.FreeLifetime(s.Advert, downAdverts) + s.GuardLimit + node.BrokenFor + time.Second
}

// judge has the checker look whether one node holds each claim, and which.
func (w *World) judge(want string, after time.Duration) {
	if w.anyLeft() {
		return // who left a promise for good takes nothing before the one it gave it to is heard
	}
	for i, c := range w.Shape.Claims {
		holders := w.Holders(i)
		if len(holders) == 0 && slices.ContainsFunc(w.Hosts, func(h *Host) bool { return h.banned(i) }) {
			continue // by an operator, who alone can end that
		}
		w.Check.Held(w.Now, c.Name, holders, want, after)
	}
	w.report()
}

// Calm ends all faults and starts everything that is off.
func (w *World) Calm() {
	w.note("calm")
	w.calms++
	w.tended = true // somebody looks after the cluster until the next trouble
	w.net = quiet()
	w.Store.Up, w.Store.ReadOnly, w.Store.Slow, w.Store.Loses = true, false, 0, 0
	if w.voter != nil {
		w.voter.start()
	}
	for _, h := range w.Hosts {
		h.calm()
	}
	w.look()
}

func (h *Host) calm() {
	h.trouble = trouble{skew: h.trouble.skew}
	h.disk.standby = false
	h.Wake()
	h.Start()
	if d := h.daemon; d != nil {
		d.stall, d.reloads = 0, 0
		d.thaw()
	}
	h.setLink(true)
	h.setScript(true)
	h.setStandby(false)
	h.clearFences()
	for i, gone := range h.without {
		if gone {
			h.without[i] = false
			h.reload()
		}
	}
}

// oneFault is trouble that stays, and that a cluster has to live with: each claim is
// held by one healthy node all the same.
func (w *World) oneFault() {
	h, permits := w.anyHost(), w.Shape.permits()
	votersLeft := w.Shape.Mode != arbiter.ModeQuorum || w.votes() > 2
	if w.Shape.Mode == arbiter.ModeVeto && w.Shape.Isolation == arbiter.IsolationHold || w.anyLeft() {
		return // then the others may have to be heard
	}
	switch w.Rand.IntN(7) {
	case 0:
		if votersLeft {
			h.downed = true // nobody starts it again
			h.Crash()
		}
	case 1:
		if permits && votersLeft {
			w.note("%s is cut off", h.Name)
			w.isolate(h.number)
		}
	case 2:
		if permits && votersLeft {
			h.Freeze(time.Hour)
		}
	case 3:
		if permits && (w.Shape.Mode == arbiter.ModeLease || w.Shape.Nodes == 2) {
			w.note("the nodes are cut off from each other")
			w.cutPeers(nil)
		}
	case 4:
		if w.Shape.Mode == arbiter.ModeLease {
			// Once each claim has a holder: nobody takes what nobody holds while the witness is silent.
			w.during(w.Shape.Bound(), func() { w.Store.Switch(false) })
		}
	case 5:
		if w.voter != nil && votersLeft {
			w.voter.stop()
		}
	default:
		o := w.Hosts[(h.number+1)%len(w.Hosts)]
		if w.Shape.Mode != arbiter.ModeVRRP {
			w.cut(h.number, o.number, VRRP)
		}
	}
	w.look()
}

// anyLeft reports whether a node left a promise for good behind, and has not taken it
// back: it takes nothing before the others have heard of its return (node/leave.go).
func (w *World) anyLeft() bool {
	return slices.ContainsFunc(w.Hosts, func(h *Host) bool { return h.disk.left })
}

// votes is how many vote in quorum mode.
func (w *World) votes() int {
	n := len(w.Hosts)
	if w.voter != nil {
		n++
	}
	return n
}

// cutPeers cuts the nodes off from each other, but not from the witness, nor from the
// bridge, if one is named.
func (w *World) cutPeers(bridge *Host) {
	for i, a := range w.Hosts {
		for o, b := range w.Hosts {
			if i != o && a != bridge && b != bridge {
				w.cut(i, o, All()...)
			}
		}
	}
}

// anyHost returns a random host, half of the time one that holds something.
func (w *World) anyHost() *Host {
	if w.chance(2) {
		if names := w.Holders(w.Rand.IntN(len(w.Shape.Claims))); len(names) > 0 {
			return w.Host(names[0])
		}
	}
	return w.Hosts[w.Rand.IntN(len(w.Hosts))]
}
