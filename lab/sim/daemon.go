package sim

import (
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/node"
)

// daemon is the process around a node: the loop of package node/daemon, which does one
// thing after the other, and so can be stopped between any two.
type daemon struct {
	host   *Host
	node   *node.Node
	frozen bool
	thaws  int // numbers the thaws, so that an early one voids a later one

	events  []node.Event  // results of what was done, before anything else is heard
	actions []node.Action // not yet carried out
	busy    bool
	inbox   []message // what came while frozen
	wake    time.Duration
	ticks   int // numbers the timers, so that a later one voids an earlier one

	// stall, if above 0, is how many effects more are brought about before the process
	// stops: for stallFor, or for good if that is 0.
	stall    int
	stallFor time.Duration
	// reloads, if above 0, is how many effects more are brought about before the
	// configuration changes.
	reloads int

	ungated  []bool           // by claim: its gate could not be armed
	holds    []bool           // by claim: its addresses were put on
	fenced   []fencing.Result // by claim: how far a fencing is that is not cleared; empty: there is none
	strange  bool             // another etcd cluster answers than the one that is trusted
	handing  []bool           // by claim: a handover was agreed to, or the operator asked for one
	changing []bool           // by claim: its configuration has changed
	token    []arbiter.Token  // by claim: the one last stored or being stored
	told     []arbiter.Token  // by claim: the highest token of another's holding that it was told of
	mesh     membership
	watch    watch

	takes   []take        // sent to the witness, and not known to be settled
	smooth  time.Duration // until then a healthy network delays no other swap
	stored  time.Time     // when the last thing that is being stored will be
	version int64         // of its own record there, as it last saw it
}

// traffic is what kind of message waits in an inbox: a Kind, or one of the daemon's own.
type traffic uint8

const internal = traffic(kinds)

type message struct {
	kind traffic
	at   time.Duration
	fn   func()
}

const (
	// inboxLimit is how many messages of a kind a socket holds; what comes then is lost.
	inboxLimit = 100
	// staleAfter is how long a message may have waited in a mesh socket.
	staleAfter = time.Second
	// respawn is the longest time until a daemon that was killed is replaced.
	respawn = 3 * time.Second
	// tryAgain is how long the daemon waits before it does what the kernel refused, at most.
	tryAgain = time.Second
	// pollEvery is how often a host looks for members that fell silent, and the checker for
	// what should be gone.
	pollEvery = 250 * time.Millisecond
)

// begin cleans up what a former daemon left and starts a new one: as the daemon does
// before anything else, and as the service manager does when it is gone.
func (h *Host) begin() {
	h.lives++
	life := h.lives
	if h.trouble.kernelFails {
		h.kept = nil
		h.after(time.Second, func() { h.beginAgain(life) })
		return
	}
	for i := range h.kernel {
		if h.keeps(i) {
			continue
		}
		if h.kernel[i].there(h.mono()) {
			h.former[h.world.Shape.Claims[i].Name] = node.Former{Token: h.disk.tokens[i], Settled: h.settled[i]}
		}
		h.kernel[i].remove()
	}
	running := 0
	gone := func() {
		if running--; running == 0 && h.lives == life && h.daemon == nil {
			h.launch()
		}
	}
	running++
	for i := range h.guards {
		if h.guards[i].runs && !h.keeps(i) {
			running++
			h.guards[i].life++
			h.endGuard(i, h.world.upTo(guardKill), gone)
		}
	}
	gone()
}

func (h *Host) beginAgain(life int) {
	if h.lives == life && h.daemon == nil {
		h.begin()
	}
}

// launch starts a daemon on a host that is clean.
func (h *Host) launch() {
	w, claims := h.world, len(h.kernel)
	// Wall time may have gone back since the last start; with the disk an incarnation does not.
	h.disk.incarnation = max(h.disk.incarnation+1<<32, uint64(wallStart+w.Now+h.trouble.skew))
	cfg := w.Shape.nodeConfig(h)
	cfg.Incarnation, cfg.Left, cfg.Standby, cfg.Trusted = h.disk.incarnation, h.disk.left, h.disk.standby, h.disk.witness
	cfg.Claims, cfg.Former, cfg.Kept = h.claimConfigs(), h.former, h.kept
	h.former, h.kept = map[string]node.Former{}, nil
	cfg.Fenced = h.openFencings()
	n, err := node.New(cfg)
	if err != nil {
		panic("sim: " + err.Error())
	}
	h.daemon = &daemon{
		host: h, node: n, ungated: make([]bool, claims), holds: make([]bool, claims), handing: make([]bool, claims),
		fenced:   make([]fencing.Result, claims),
		changing: make([]bool, claims),
		token:    make([]arbiter.Token, claims), told: append([]arbiter.Token(nil), h.disk.tokens...),
	}
	for name, k := range cfg.Kept {
		claim := w.Shape.claim(name)
		h.daemon.holds[claim], h.daemon.token[claim] = true, k.Token
	}
	h.able, h.standby = w.Now, h.disk.standby
	w.note("%s: the daemon starts, incarnation %d, tokens %v", h.Name, cfg.Incarnation, h.disk.tokens)
	w.look()
	d := h.daemon
	for i, r := range h.disk.fenced {
		if r.ID != "" {
			d.fenced[i] = fencing.Done // what was left has been cleaned up
		}
	}
	d.step(node.Link{Interface: linkName, Up: !h.linkDown})
	d.step(node.Script{Name: scriptName, Up: !h.scriptDown})
	d.step(node.Start{})
	for name := range cfg.Kept {
		if h.without[w.Shape.claim(name)] {
			h.reload() // it had been read before
			break
		}
	}
	d.poll()
	if w.Shape.Mode == arbiter.ModeLease {
		d.resync()
	}
}

// openFencings returns what the disk has of fencings that were not cleared.
func (h *Host) openFencings() []fencing.Record {
	var open []fencing.Record
	for _, r := range h.disk.fenced {
		if h.disk.boots != h.boots {
			r.Began = time.Time{} // an instant of another boot
		}
		if r.ID != "" {
			open = append(open, r)
		}
	}
	return open
}

func (h *Host) claimConfigs() []node.ClaimConfig {
	var all []node.ClaimConfig
	for i := range h.kernel {
		if !h.without[i] || h.keeps(i) {
			all = append(all, h.world.Shape.claimConfig(i, h.number, h.addr, h.disk.tokens[i], h.revision[i]))
		}
	}
	return all
}

// end is the end of the process, however it comes. A guardian or the service manager
// starts a new one unless the operator stopped it.
func (h *Host) end() {
	h.daemon, h.able = nil, notAble
	h.lives++
	if h.downed {
		return
	}
	life := h.lives
	h.after(h.world.upTo(respawn), func() { h.beginAgain(life) })
}

// runs reports whether the process can act.
func (d *daemon) runs() bool { return d.host.daemon == d && !d.frozen && !d.host.asleep }

// after runs fn in this process: when it is due, or once the process is thawed.
func (d *daemon) after(wait time.Duration, fn func()) {
	d.host.after(wait, func() { d.receive(internal, fn) })
}

// receive brings something to the process. While it is frozen that waits, as far as
// there is room; what comes for one that has ended is lost.
func (d *daemon) receive(kind traffic, fn func()) {
	switch {
	case d.host.daemon != d || d.host.asleep && kind != internal: // nobody is there to take it
	case !d.frozen && !d.host.asleep:
		fn()
	default:
		waiting := 0
		for i := range d.inbox {
			if d.inbox[i].kind == kind {
				waiting++
			}
		}
		if kind == internal || waiting < inboxLimit {
			d.inbox = append(d.inbox, message{kind, d.host.world.Now, fn})
		}
	}
}

// step drives the node with an event and carries out what it wants. A process that stops
// on the way goes on from there when it is thawed.
func (d *daemon) step(ev node.Event) {
	d.detail("<-", ev)
	d.learn(ev)
	d.events = append(d.events, ev)
	d.run()
}

// detail notes what goes into the node and comes out of it, when that is wanted.
func (d *daemon) detail(way string, what any) {
	if w := d.host.world; w.Trace && w.Detail > 0 && w.Now >= w.Detail {
		w.note("    %s %s %T%+v", d.host.Name, way, what, what)
	}
}

func (d *daemon) run() {
	if d.busy {
		return
	}
	d.busy = true
	for d.runs() && (len(d.actions) > 0 || len(d.events) > 0) {
		if len(d.actions) > 0 {
			a := d.actions[0]
			if d.stalls(a) {
				break
			}
			d.rereads(a)
			d.actions = d.actions[1:]
			d.detail("->", a)
			if result := d.do(a); result != nil {
				d.events = append(d.events, result)
			}
			continue
		}
		ev := d.events[0]
		d.events = d.events[1:]
		d.wakeUp()
		d.actions = d.node.Step(d.host.boot(), ev)
	}
	d.busy = false
	if d.runs() {
		d.schedule(d.node.Deadline(d.host.boot()))
	}
}

// wakeUp arms the gate anew by the boot clock after a suspension, before anything else happens,
// as the daemon does.
func (d *daemon) wakeUp() {
	h := d.host
	if !h.exposed {
		return
	}
	for i := range h.kernel {
		h.kernel[i].rearm(h.mono(), h.boot())
	}
	h.exposed = false
	h.changed()
}

// stalls stops the process before an effect if it is time for that.
func (d *daemon) stalls(a node.Action) bool {
	if d.stall == 0 || d.host.exposed || !isEffect(a) {
		return false
	}
	if d.stall--; d.stall > 0 {
		return false
	}
	d.host.world.note("%s: stopped before %T", d.host.Name, a)
	if d.stallFor == 0 {
		d.host.Kill()
	} else {
		d.host.Freeze(d.stallFor)
	}
	return true
}

// rereads changes the configuration before an effect if it is time for that.
func (d *daemon) rereads(a node.Action) {
	if d.reloads > 0 && isEffect(a) {
		if d.reloads--; d.reloads == 0 {
			d.host.edit()
		}
	}
}

// isEffect reports whether an action matters enough to be stopped before it.
func isEffect(a node.Action) bool {
	switch a.(type) {
	case node.StoreToken, node.ArmGate, node.ShutGate, node.AddAddresses, node.RemoveAddresses, node.StartGuards,
		node.StopGuards, node.AskWitness, node.SendAdvert, node.Reply, node.StoreLeft:
		return true
	default:
		return false
	}
}

// schedule makes the next tick happen at the deadline, or a little late.
func (d *daemon) schedule(at time.Time) {
	if at.IsZero() {
		return
	}
	w := d.host.world
	due := max(d.host.clock.at(at), w.Now)
	if d.wake == due && due > w.Now {
		return
	}
	d.wake = due
	d.ticks++
	tick := d.ticks
	w.After(due-w.Now+d.lateness(), func() {
		if d.ticks == tick && d.host.daemon == d {
			d.wake = 0
			d.receive(internal, func() { d.step(node.Tick{}) })
		}
	})
}

// lateness is how late a timer goes off: hardly, but now and then nearly as much as
// the timing allows for (X).
func (d *daemon) lateness() time.Duration {
	w := d.host.world
	if n := w.Rand.IntN(64); n == 0 || d.host.trouble.lateTimers && n < 16 {
		return w.upTo(w.Shape.Timing.Late * 9 / 10)
	}
	return w.upTo(time.Millisecond)
}

// freeze stops the process.
func (d *daemon) freeze(length time.Duration) {
	d.frozen, d.host.able = true, notAble
	d.host.world.look()
	d.thawIn(length)
}

func (d *daemon) thawIn(length time.Duration) {
	d.thaws++
	thaw := d.thaws
	d.host.world.After(length, func() {
		if d.thaws == thaw {
			d.thaw()
		}
	})
}

// thaw lets the process go on: first with what it was about to do; then, in an order that
// nobody can rely on, with the time that has passed and with what has come meanwhile.
func (d *daemon) thaw() {
	h := d.host
	if h.daemon != d || !d.frozen || h.asleep {
		return
	}
	h.world.note("%s: the daemon goes on", h.Name)
	h.excuse()
	d.frozen, h.able = false, h.world.Now
	h.world.look()
	inbox := d.inbox
	d.inbox = nil
	d.run()
	if h.world.chance(2) {
		d.receive(internal, func() { d.step(node.Tick{}) })
	}
	for _, m := range inbox {
		if m.kind != traffic(Mesh) || h.world.Now-m.at <= staleAfter {
			d.receive(m.kind, m.fn)
		}
	}
	d.receive(internal, func() { d.step(node.Tick{}) })
}

// poll does four times a second what needs no exact time.
func (d *daemon) poll() {
	if d.runs() {
		d.missMembers()
		d.host.overstays()
		if d.strange && d.host.world.tended {
			d.host.world.words++
			d.step(node.TrustWitness{ID: d.host.world.words})
		}
	}
	if d.host.daemon == d {
		d.host.after(pollEvery, func() {
			if d.host.daemon == d {
				d.poll()
			}
		})
	}
}

// overstays has the checker look for what is still there although the permission for it
// has ended and the daemon could act.
func (h *Host) overstays() {
	t := h.world.Shape.Timing
	if !h.world.Shape.permits() {
		return
	}
	for i := range h.kernel {
		k, g := &h.kernel[i], &h.guards[i]
		if !h.overdue(i) || !k.on && !g.runs {
			continue
		}
		over := h.world.Now - max(h.able, h.clock.at(k.until), h.refused+tryAgain)
		name := h.world.Shape.Claims[i].Name
		if k.there(h.mono()) {
			h.world.Check.Kept(h.world.Now, name, h.Name, "address", over, t.Late)
		}
		if g.runs && !g.failed {
			h.world.Check.Kept(h.world.Now, name, h.Name, "guard", over, t.Late+h.world.Shape.GuardLimit)
		}
	}
	h.world.report()
}
