package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/node"
)

// Host is a balancer: its clock, disk and kernel, the guarded services, and the daemon
// around the node under test. What belongs to the machine lives on when the daemon is
// frozen or killed.
type Host struct {
	Name string

	world  *World
	number int
	addr   netip.Addr
	clock  clock
	disk   disk

	on      bool // powered
	boots   int  // which power-on this is: what belongs to an earlier one is void
	asleep  bool // suspended
	later   []func()
	exposed bool          // woken, and the daemon has not run yet: to stop it then is not promised
	paused  bool          // asleep, and its clocks stand still
	since   time.Duration // asleep: since when
	risk    time.Duration // until then what it does may rest on clocks that stood still
	able    time.Duration // since when the daemon can act; notAble: it cannot
	refused time.Duration // when the kernel last refused: what it was asked for is asked again

	kernel []kernel // by claim
	guards []guard
	daemon *daemon                // nil: none runs
	lives  int                    // which start of the daemon this is
	former map[string]node.Former // what an earlier one had on when it ended
	kept   map[string]node.Kept   // what it has left in place for the next one
	downed bool                   // stopped in order by the operator: nobody starts it again

	linkDown, scriptDown bool
	standby              bool   // by the operator's word
	outlawed             bool   // the operator has fenced a claim, and not cleared it yet
	revision             []int  // of each claim's configuration
	settled              []bool // the claim's guard was started since its addresses were put on
	without              []bool // claims that a reload took away
	trouble              trouble

	security []security // by claim
}

// disk is what survives a power cut.
type disk struct {
	incarnation   uint64
	tokens        []arbiter.Token // by claim
	left, standby bool
	witness       uint64           // the etcd cluster that is trusted
	fenced        []fencing.Record // by claim: without an ID there is none
	boots         int              // when the last of them was written
}

func newDisk(claims int) disk {
	return disk{tokens: make([]arbiter.Token, claims), fenced: make([]fencing.Record, claims)}
}

// trouble is what goes wrong on a host beside the network.
type trouble struct {
	slowStore   time.Duration // the longest time that storing takes
	storeFails  bool
	kernelFails bool          // netlink says no
	guardFails  bool          // a stop cannot be shown to have worked
	guardDied   bool          // a service has ended by itself
	guardSlow   bool          // a stop takes as long as it may
	lateTimers  bool          // timers are often late, as far as is allowed
	skew        time.Duration // how far the wall clock is off
}

// notAble is the instant since when a daemon that cannot act can act.
const notAble = time.Duration(1<<63 - 1)

// wallStart is the wall clock's time when a run begins.
const wallStart = 1_700_000_000 * time.Second

// ratePPM bounds the clocks' rates: half of it on either side, so that two of them are
// up to 1 % apart.
const ratePPM = 5000

func newHost(w *World, i int) *Host {
	claims := len(w.Shape.Claims)
	h := &Host{
		Name: fmt.Sprintf("n%d", i+1), world: w, number: i, able: notAble,
		addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(11 + i)}), clock: clock{ppm: w.rate()},
		kernel: make([]kernel, claims), guards: make([]guard, claims), disk: newDisk(claims),
		former: map[string]node.Former{}, revision: make([]int, claims), settled: make([]bool, claims), without: make([]bool, claims), security: make([]security, claims),
	}
	for claim := range h.security {
		h.security[claim] = security{witness: never, voters: never}
	}
	return h
}

// rate returns a clock's rate: now and then an extreme one.
func (w *World) rate() int64 {
	switch w.Rand.IntN(4) {
	case 0:
		return ratePPM
	case 1:
		return -ratePPM
	}
	return w.Rand.Int64N(2*ratePPM+1) - ratePPM
}

// Start powers the host on if it is off, and starts the daemon if none runs.
func (h *Host) Start() {
	if !h.on {
		h.world.note("%s is powered on", h.Name)
		h.on = true
		h.boots++
		h.clock.start, h.clock.first = h.world.Now, h.world.between(5*time.Second, 500*time.Second)
		h.clock.slept, h.clock.since = 0, 0
	}
	h.downed = false
	if h.daemon == nil && !h.asleep {
		h.begin()
	}
}

// Crash is a power cut: nothing is said, everything stops.
func (h *Host) Crash() {
	if !h.on {
		return
	}
	h.world.note("%s loses power", h.Name)
	h.end()
	h.on, h.asleep, h.paused, h.exposed, h.later = false, false, false, false, nil
	h.boots++
	clear(h.former)
	h.kept = nil
	for i := range h.kernel {
		h.kernel[i] = kernel{}
		h.guards[i] = guard{life: h.guards[i].life + 1}
	}
	h.changed()
	h.world.look()
}

// Kill ends the daemon without a word. Kernel and services live on until the next one
// cleans up.
func (h *Host) Kill() {
	if h.daemon == nil || h.asleep || h.exposed {
		return
	}
	h.world.note("%s: the daemon is killed", h.Name)
	h.end()
	h.world.look()
}

// Stop asks for an orderly end of the daemon, which is not started again.
func (h *Host) Stop() {
	if d := h.daemon; d != nil && d.runs() && !h.downed {
		h.world.note("%s is stopped in order", h.Name)
		h.downed = true
		h.world.look()
		d.step(node.Stop{})
	}
}

// Freeze stops the daemon's process for a time. The kernel and the services go on.
func (h *Host) Freeze(length time.Duration) {
	if h.daemon == nil || h.asleep || h.exposed {
		return
	}
	h.world.note("%s: the daemon is frozen for %v", h.Name, length)
	h.daemon.freeze(length)
}

// Stall freezes the daemon for a time just before it brings about the effects-th effect from
// now; length 0 kills it instead.
func (h *Host) Stall(effects int, length time.Duration) {
	if d := h.daemon; d != nil {
		d.stall, d.stallFor = effects, length
	}
}

// Suspend stops the whole host for a time; its boot clock counts on.
func (h *Host) Suspend(length time.Duration) { h.sleep(length, false) }

// Pause stops the whole host as a hypervisor does, clocks and all.
func (h *Host) Pause(length time.Duration) { h.sleep(length, true) }

func (h *Host) sleep(length time.Duration, pause bool) {
	d := h.daemon
	// A daemon that is frozen or dead when the host wakes cannot shut the gate, whose
	// timeouts stood still: two faults at once, and no part of what is promised.
	if d == nil || !d.runs() || h.asleep {
		return
	}
	h.asleep, h.able, h.paused, h.since = true, notAble, pause, h.world.Now
	if pause {
		h.world.note("%s is paused for %v", h.Name, length)
	} else {
		h.world.note("%s is suspended for %v", h.Name, length)
		h.clock.suspend(h.world.Now)
	}
	h.changed()
	h.world.look()
	boots := h.boots
	h.world.After(length, func() {
		if h.boots == boots && h.asleep {
			h.Wake()
		}
	})
}

// wakeLimit is how long a daemon takes at the most to get the processor after its host
// was suspended.
const wakeLimit = 50 * time.Millisecond

// Wake ends a suspension. The kernel answers at once; the daemon runs a little later.
func (h *Host) Wake() {
	if !h.asleep {
		return
	}
	h.world.note("%s wakes", h.Name)
	if h.paused {
		h.clock.lost(h.world.Now - h.since)
		h.refused += h.world.Now - h.since // the second until it tries again stood still
		h.risk = h.world.Now + h.world.Shape.exposure()
	} else {
		h.clock.resume(h.world.Now)
	}
	h.asleep, h.paused, h.exposed = false, false, true
	h.excuse()
	h.changed()
	for _, fn := range h.later {
		h.after(0, fn)
	}
	h.later = nil
	h.daemon.frozen = true
	h.daemon.thawIn(h.world.upTo(wakeLimit))
}

// after runs fn for the machine unless it has lost power since; while it is suspended
// everything waits.
func (h *Host) after(wait time.Duration, fn func()) {
	boots := h.boots
	h.world.After(h.clock.length(wait), func() {
		switch {
		case h.boots != boots:
		case h.asleep:
			h.later = append(h.later, fn)
		default:
			fn()
		}
	})
}

// boot returns what the boot clock shows.
func (h *Host) boot() time.Time { return h.clock.boot(h.world.Now) }

// mono returns what the kernel's timers go by.
func (h *Host) mono() time.Duration { return h.clock.mono(h.world.Now) }

// answers reports whether the host answers for the claim: what a client sees.
func (h *Host) answers(claim int) bool {
	return h.on && !h.asleep && h.kernel[claim].answers(h.mono())
}

// runsGuard reports whether a guarded service of the claim runs.
func (h *Host) runsGuard(claim int) bool { return h.on && !h.asleep && h.guards[claim].runs }

// overdue reports whether the permission that the claim was last held by has ended.
func (h *Host) overdue(claim int) bool {
	until := h.kernel[claim].until
	return !until.IsZero() && !h.boot().Before(until)
}

func (h *Host) sighting(claim int) Sighting {
	now := h.world.Now
	s := Sighting{Host: h.Name, Fenced: h.daemon != nil && h.daemon.fenced[claim] == fencing.Done, Answers: h.answers(claim), Exposed: h.exposed || now < h.risk, Guard: h.runsGuard(claim)}
	if s.Guard {
		g := &h.guards[claim]
		s.Excused = g.excused || (h.able == notAble || g.failed) && h.overdue(claim) || h.risk > 0 && now < h.risk+h.world.Shape.GuardLimit
	}
	return s
}

// excuse marks the guards that should have been stopped while nobody on this host could: a
// frozen or dead daemon stops nothing, and the kernel has no gate for a process. That
// exposure is documented (the watchdog is for it), so such a guard does not count from
// the end of the permission until it is stopped; check sees that this is not put off.
func (h *Host) excuse() {
	for i := range h.guards {
		if g := &h.guards[i]; g.runs && h.overdue(i) {
			g.excused = true
		}
	}
}

// changed has the checker look at every claim.
func (h *Host) changed() {
	for i := range h.kernel {
		h.world.changed(i)
	}
}
