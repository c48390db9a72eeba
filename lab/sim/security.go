package sim

import (
	"math/bits"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// security is for how long a host has had everything that it needs to keep a claim: as long
// as that lasts nobody may take the claim from it.
type security struct {
	witness time.Duration // since when the witness gives it; never: it does not
	voters  time.Duration // since when enough voters give it, the same ones all the time
	who     uint8         // those voters
}

// never is an instant that does not come.
const never = time.Duration(1<<63 - 1)

// look works out anew who has what he needs. It is to be called whenever a fault comes
// or goes.
func (w *World) look() {
	if !w.Shape.permits() {
		return
	}
	for _, h := range w.Hosts {
		for claim := range h.security {
			s := &h.security[claim]
			s.witness = began(s.witness, w.Now, h.well(claim) && w.witnessServes(h))
			h.countVoters(claim)
		}
	}
}

// began returns since when something is so.
func began(since, now time.Duration, so bool) time.Duration {
	switch {
	case !so:
		return never
	case since == never:
		return now
	}
	return since
}

// well reports whether the host and its daemon lack nothing to hold the claim.
func (h *Host) well(claim int) bool {
	t := h.trouble
	return h.able != notAble && !h.downed && !h.standby && !h.without[claim] && !h.linkDown && !h.scriptDown &&
		t.slowStore == 0 && !t.storeFails && !t.kernelFails && !t.guardFails && !t.guardDied
}

// witnessServes reports whether the host reaches an etcd in full order.
func (w *World) witnessServes(h *Host) bool {
	s := w.Store
	return w.Shape.Mode == arbiter.ModeLease && h.disk.witness == s.data.id && s.Up && !s.ReadOnly && s.Slow == 0 && s.Loses == 0 &&
		w.reaches(h.number, len(w.Hosts), Etcd)
}

// countVoters sees whether as many others as it needs can promise the claim to the host.
func (h *Host) countVoters(claim int) {
	w, s := h.world, &h.security[claim]
	var now uint8
	for i, o := range w.Hosts {
		// One that lets go gives no promise before its guard has stopped.
		if o != h && o.well(claim) && !o.guards[claim].runs && w.reaches(h.number, i, Mesh) {
			now |= 1 << i
		}
	}
	needed := len(w.Hosts) - 1
	if w.Shape.Mode == arbiter.ModeQuorum {
		if w.voter != nil {
			needed++
			if w.voter.up && w.reaches(h.number, len(w.Hosts), Mesh) {
				now |= 1 << len(w.Hosts)
			}
		}
		needed = (needed + 1) / 2
	}
	enough := func(who uint8) bool { return h.well(claim) && bits.OnesCount8(who) >= needed }
	if s.voters != never && enough(s.who&now) {
		s.who &= now
		return
	}
	s.who, s.voters = now, began(never, w.Now, enough(now))
}

// secure returns for how long the host has had what it needs to keep the claim.
func (h *Host) secure(claim int) time.Duration {
	s := &h.security[claim]
	since := min(s.witness, s.voters)
	if since == never {
		return 0
	}
	return h.world.Now - since
}

// lost has the checker judge the end of a holding. What was under way when the last
// fault ended is over after enough.
func (w *World) lost(h *Host, claim int, cause string) {
	if !w.Shape.permits() {
		return
	}
	enough := 2*w.Shape.Timing.Wait + longDelay
	w.Check.Lost(w.Now, w.Shape.Claims[claim].Name, h.Name, h.secure(claim), enough, cause)
	w.report()
}

// distrust makes what the witness gives count anew: it has lost its memory.
func (w *World) distrust() {
	for _, h := range w.Hosts {
		for claim := range h.security {
			h.security[claim].witness = never
		}
	}
	w.look()
}
