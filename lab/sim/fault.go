package sim

import (
	"slices"
	"time"

	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/node"
)

// fault does one random thing to the world. Most of it ends by itself, the rest with the
// calm.
func (w *World) fault() {
	faults := [...]func(*Host){
		w.faultCut, w.faultCut, w.faultCut, w.faultPart, w.faultPart, w.faultNoise, w.faultHeal,
		w.faultProcess, w.faultProcess, w.faultProcess, w.faultProcess, w.faultPower, w.faultPower,
		w.faultWitness, w.faultWitness, w.faultWitness, w.faultMemory, w.faultVoter,
		w.faultEffects, w.faultGuard, w.faultOperator, w.faultReload, w.faultTracked,
	}
	faults[w.Rand.IntN(len(faults))](w.anyHost())
}

// faultCut cuts one link, one way or both ways, for some or all traffic.
func (w *World) faultCut(h *Host) {
	o := w.Rand.IntN(len(w.Hosts) + 1)
	if w.chance(2) {
		o = len(w.Hosts)
	}
	if o == h.number {
		return
	}
	ks := All()
	if w.chance(2) {
		ks = ks[:1+w.Rand.IntN(2)]
	} else if w.chance(2) {
		ks = ks[1+w.Rand.IntN(2):]
	}
	way := w.Rand.IntN(4)
	if way != 0 {
		w.cut(h.number, o, ks...)
	}
	if way != 1 {
		w.cut(o, h.number, ks...)
	}
	w.ends(func() { w.heal(h.number, o) })
}

// heal makes the links between two members good again.
func (w *World) heal(a, b int) {
	w.note("the link %s - %s heals", w.memberName(a), w.memberName(b))
	w.net.links[a][b], w.net.links[b][a] = link{}, link{}
	w.look()
}

// ends has a fault end after a random time, most of the time, if the calm has not ended it
// before: what comes after that stays.
func (w *World) ends(fn func()) {
	if !w.chance(4) {
		w.during(w.spread(12*time.Second), fn)
	}
}

// during does more of a fault after a time, unless the calm has come by then.
func (w *World) during(wait time.Duration, fn func()) {
	calms := w.calms
	w.After(wait, func() {
		if w.calms == calms {
			fn()
		}
	})
}

// faultPart parts the network: a host from all others, or the nodes from each other, so
// that only the witness bridges them.
func (w *World) faultPart(h *Host) {
	switch w.Rand.IntN(5) {
	case 0:
		w.note("only %s is a bridge between the nodes", witnessName)
		w.cutPeers(nil)
	case 1:
		w.note("only %s is a bridge between the nodes", h.Name)
		w.cutPeers(h)
	default:
		w.note("%s is cut off from all", h.Name)
		w.isolate(h.number)
	}
	w.ends(w.Heal)
}

// faultNoise makes the network worse, or one link of it.
func (w *World) faultNoise(h *Host) {
	o := w.Rand.IntN(len(w.Hosts) + 1)
	l := &w.net.links[h.number][o]
	switch w.Rand.IntN(7) {
	case 0:
		w.net.loss = w.Rand.Float64() * 0.4
	case 1:
		w.net.delay = 1 + w.spread(800*time.Millisecond)
	case 2:
		w.net.twice = w.Rand.Float64()
	case 3:
		l.loss = w.Rand.Float64()
	case 4:
		l.delay = w.spread(3 * time.Second)
	default:
		w.wearOut(h)
	}
	w.note("loss %.2f, delay up to %v, twice %.2f; %s -> %s loss %.2f, delay %v", w.net.loss, w.net.delay, w.net.twice,
		h.Name, w.memberName(o), l.loss, l.delay)
	w.look()
}

// wearOut makes what a host hears late, by up to a renewal's period, and then cuts it off.
func (w *World) wearOut(h *Host) {
	for o := range len(w.Hosts) + 1 {
		w.net.links[o][h.number].delay = w.Shape.Timing.Renew
	}
	w.note("what comes to %s takes up to %v", h.Name, w.Shape.Timing.Renew)
	w.during(w.spread(12*time.Second), func() {
		w.note("%s is cut off from all", h.Name)
		w.isolate(h.number)
		w.ends(w.Heal)
	})
}

func (w *World) faultHeal(*Host) { w.Heal() }

// faultProcess freezes or kills a daemon, at any moment or just before one of the next
// effects, or stops its host with or without its boot clock.
func (w *World) faultProcess(h *Host) {
	length := w.spread(15 * time.Second)
	switch w.Rand.IntN(9) {
	case 8:
		takes := w.upTo(replaced)
		if w.chance(3) {
			takes = w.spread(4 * time.Second)
		}
		h.Replace(takes)
	case 0, 1:
		h.Freeze(length)
	case 2:
		h.Kill()
		w.jumpClock(h)
	case 3:
		h.Suspend(length)
	case 4:
		h.Pause(length)
	default:
		effects := 1 + w.Rand.IntN(12)
		if w.chance(3) {
			length = 0
		}
		h.Stall(effects, length)
	}
}

// faultPower switches a host off or on; it may lose its disk, and its wall clock may be off.
func (w *World) faultPower(h *Host) {
	if h.on && w.chance(8) {
		h.Stop()
		return
	}
	h.Crash()
	if w.chance(3) && !h.disk.left {
		// A node that left a promise behind and forgets it is beyond what can be survived:
		// docs/safety.md has it among the assumptions.
		w.note("%s has lost its disk", h.Name)
		h.disk = newDisk(len(h.disk.tokens))
		w.Check.Forgot()
	}
	w.jumpClock(h)
	if !w.chance(4) {
		w.After(w.spread(8*time.Second), h.Start)
	}
}

// jumpClock sets a host's wall clock wrong. A daemon looks at it when it starts.
func (w *World) jumpClock(h *Host) {
	if w.chance(3) {
		h.trouble.skew = time.Duration(w.Rand.Int64N(int64(20*time.Hour))) - 10*time.Hour
		w.note("%s: its wall clock is off by %v", h.Name, h.trouble.skew)
	}
}

// faultWitness makes the witness's etcd slow, deaf or full.
func (w *World) faultWitness(*Host) {
	s := w.Store
	switch w.Rand.IntN(8) {
	case 0, 1:
		s.Switch(false)
		w.ends(func() { s.Switch(true) })
	case 2:
		s.Switch(true)
	case 3, 6, 7:
		s.Slow = w.spread(3 * time.Second)
		w.ends(func() { s.Slow = 0; w.look() })
	case 4:
		s.Loses = w.Rand.Float64()
		w.ends(func() { s.Loses = 0; w.look() })
	case 5:
		s.ReadOnly = !s.ReadOnly
	}
	w.note("the witness: up %t, slow %v, loses %.2f of its replies, read-only %t", s.Up, s.Slow, s.Loses, s.ReadOnly)
	w.look()
}

// faultMemory makes the witness forget: all, or what is newer than a backup.
func (w *World) faultMemory(*Host) {
	if w.chance(2) {
		w.Store.Wipe()
		return
	}
	restore := w.Store.Backup()
	w.during(w.spread(20*time.Second), restore)
}

// faultVoter stops the mesh witness and starts it anew, perhaps without its disk, perhaps
// more than once, and perhaps while the nodes have nobody else to ask.
func (w *World) faultVoter(*Host) {
	if w.voter == nil {
		return
	}
	if w.chance(3) {
		w.note("the mesh witness alone is reached by all nodes")
		w.cutPeers(nil)
		w.ends(w.Heal)
	}
	for range 1 + w.Rand.IntN(3) {
		w.during(w.spread(10*time.Second), func() {
			w.voter.stop()
			if w.chance(8) {
				w.voter.forget()
			}
			w.After(w.spread(10*time.Second), w.voter.start)
		})
	}
}

// faultEffects makes a host's kernel or disk refuse, or its timers late.
func (w *World) faultEffects(h *Host) {
	switch w.Rand.IntN(3) {
	case 0:
		h.trouble.slowStore = w.spread(4 * time.Second)
	case 1:
		h.trouble.storeFails = true
	case 2:
		h.trouble.kernelFails = true
	case 3:
		h.trouble.lateTimers = true
	}
	w.note("%s: trouble %+v", h.Name, h.trouble)
	w.look()
	w.ends(func() {
		h.trouble.slowStore, h.trouble.storeFails, h.trouble.kernelFails = 0, false, false
		w.look()
	})
}

// faultGuard makes stopping a service slow or fail, or ends one.
func (w *World) faultGuard(h *Host) {
	switch w.Rand.IntN(3) {
	case 0:
		h.trouble.guardSlow = true
	case 1:
		h.trouble.guardFails = true
	case 2:
		h.trouble.guardDied = true
		w.look() // the claim may be given up for it at once
		h.guardDies(w.Rand.IntN(len(h.guards)))
	}
	w.note("%s: trouble %+v", h.Name, h.trouble)
	w.look()
}

// faultOperator is what people do to a healthy cluster.
func (w *World) faultOperator(h *Host) {
	switch w.Rand.IntN(4) {
	case 0:
		h.Stop()
		w.ends(h.Start)
	case 1:
		h.setStandby(true)
		w.ends(func() { h.setStandby(false) })
	case 2:
		if d := h.daemon; d != nil && d.runs() {
			claim := w.Rand.IntN(len(h.kernel))
			w.note("%s: the operator hands %s over", h.Name, w.Shape.Claims[claim].Name)
			w.words++
			w.yields, d.handing[claim] = true, true
			d.step(node.Handover{ID: w.words, Claim: w.Shape.Claims[claim].Name})
		}
	case 3:
		if d := h.daemon; d != nil && d.runs() {
			claim := w.Rand.IntN(len(h.kernel))
			w.note("%s: the operator fences %s", h.Name, w.Shape.Claims[claim].Name)
			w.words++
			d.handing[claim], h.outlawed = true, true
			d.step(node.FenceNow{ID: w.words, Claim: w.Shape.Claims[claim].Name})
			w.ends(h.clearFences)
		}
	}
}

// clearFences is the operator's word that the host may hold again, repeated until it is
// heard and on the disk: not by a daemon that is away, or that still lets go of what was fenced.
func (h *Host) clearFences() {
	if !h.outlawed {
		return
	}
	if d := h.daemon; d != nil && d.runs() {
		h.world.words++
		d.step(node.ClearFence{ID: h.world.words})
		h.outlawed = slices.ContainsFunc(h.disk.fenced, func(r fencing.Record) bool { return r.Cause == fencing.Operator }) ||
			slices.ContainsFunc(d.node.Snapshot(h.boot()).Claims, func(c node.ClaimSnapshot) bool { return c.Fenced != nil })
	}
	h.world.After(time.Second, h.clearFences)
}

// banned reports whether the host's daemon is kept out of the claim by an operator.
func (h *Host) banned(claim int) bool {
	d := h.daemon
	if d == nil || !d.runs() {
		return false
	}
	return slices.ContainsFunc(d.node.Snapshot(h.boot()).Claims, func(c node.ClaimSnapshot) bool {
		return c.Name == h.world.Shape.Claims[claim].Name && c.Fenced != nil && c.Fenced.Cause == fencing.Operator
	})
}

func (h *Host) setStandby(on bool) {
	d := h.daemon
	if h.standby == on || d == nil || !d.runs() {
		return
	}
	h.standby = on
	h.world.look()
	h.world.words++
	d.step(node.Standby{ID: h.world.words, On: on})
}

// faultReload changes a claim in a host's configuration, or takes it away: at any
// moment, or just before one of the next effects.
func (w *World) faultReload(h *Host) {
	if h.daemon != nil && w.chance(2) {
		h.daemon.reloads = 1 + w.Rand.IntN(12)
		return
	}
	h.edit()
}

// edit changes the configuration and has the daemon read it.
func (h *Host) edit() {
	w := h.world
	claim := w.Rand.IntN(len(h.kernel))
	if w.chance(3) {
		h.without[claim] = !h.without[claim]
	} else {
		h.revision[claim]++
	}
	if d := h.daemon; d != nil {
		d.changing[claim] = true
	}
	h.reload()
}

// reload has the daemon read its configuration.
func (h *Host) reload() {
	h.world.note("%s reloads: revisions %v, without %v", h.Name, h.revision, h.without)
	h.world.look()
	if d := h.daemon; d != nil {
		d.receive(internal, func() { d.step(node.Reconfigure{Claims: h.claimConfigs()}) })
	}
}

// faultTracked takes a host's interface or a tracked script down for a while.
func (w *World) faultTracked(h *Host) {
	if w.chance(2) {
		h.setScript(false)
		w.ends(func() { h.setScript(true) })
		return
	}
	h.setLink(false)
	w.isolate(h.number)
	w.ends(func() {
		w.Heal()
		h.setLink(true)
	})
}

func (h *Host) setLink(up bool) {
	if h.linkDown == !up {
		return
	}
	h.linkDown = !up
	h.world.look()
	if d := h.daemon; d != nil {
		d.receive(internal, func() { d.step(node.Link{Interface: linkName, Up: !h.linkDown}) })
	}
}

func (h *Host) setScript(up bool) {
	if h.scriptDown == !up {
		return
	}
	h.scriptDown = !up
	h.world.look()
	if d := h.daemon; d != nil {
		d.receive(internal, func() { d.step(node.Script{Name: scriptName, Up: !h.scriptDown}) })
	}
}
