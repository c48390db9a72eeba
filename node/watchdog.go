package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// WatchdogMode says what this node does about a hardware watchdog. The zero mode has none.
type WatchdogMode uint8

// The modes of a watchdog.
const (
	WatchdogOff       WatchdogMode = iota
	WatchdogPreferred              // one that is not there is told, and done without
	WatchdogRequired               // nothing is held without one that resets in time
)

// String returns the mode as the configuration spells it.
func (m WatchdogMode) String() string {
	names := [...]string{"off", "preferred", "required"}
	if int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("WatchdogMode(%d)", uint8(m))
}

// A watchdog resets the machine T after it was petted last. It has to do so before another node
// starts a claim's guarded services, and not before this node, if it can still do
// anything, has shown its own to be stopped. With the letters of docs/safety.md, and G for the
// longest time that the services take to stop:
//
//	sent       permission ends       stopped      others start theirs
//	 |----- R ------|------- G + X ------|             |
//	 |---------------- L ----------------|------ G ----|
//
// So after a renewal sent at s the machine may live until s + R + G + X: nobody pets when
// it could live longer. To have P left for the answer of the witness, and no renewal missed,
//
//	T <= R + X + G - P
//
// Without guarded services nothing runs that the gate does not silence; then a watchdog only
// brings back a machine that hangs, and waits until nothing can be held any more.

// watchdogCalm is the timeout where nothing asks for a shorter one: a machine that is only
// busy is not to be reset.
const watchdogCalm = 10 * time.Second

// WatchdogTimeout returns how long a watchdog should count for this configuration, in whole
// seconds, and how long it may count at the most; most is 0 where nothing bounds it.
func (cfg Config) WatchdogTimeout() (want, most time.Duration) {
	want = watchdogCalm
	if cfg.Mode != arbiter.ModeLease && cfg.Mode != arbiter.ModeQuorum {
		return want, 0
	}
	for _, claim := range cfg.Claims {
		if !claim.Guarded {
			want = min(want, (cfg.Timing.Hold+cfg.Timing.Late).Truncate(time.Second)+2*time.Second)
			continue
		}
		if fits := watchdogLimit(cfg.Timing, claim.GuardLimit); most == 0 || fits < most {
			most = fits
		}
	}
	if most > 0 {
		want = max(min(want, most.Truncate(time.Second)), time.Second)
	}
	return want, most
}

// watchdogLimit is R + X + G - P: above 0, for R is longer than P.
func watchdogLimit(t witness.Timing, guards time.Duration) time.Duration {
	return t.Hold + t.Late + guards - t.Renew
}

const (
	// watchdogRetry is how often one that is not there is looked for.
	watchdogRetry = 10 * time.Second
	// watchdogMargin is how much earlier than at the last instant it is petted.
	watchdogMargin = 100 * time.Millisecond
)

// watchdog is this node's view of its watchdog.
type watchdog struct {
	want    time.Duration // the timeout that it was asked for; 0: not asked for yet
	most    time.Duration // the longest that it may have; 0: any
	timeout time.Duration // the one that it has; 0: there is none
	early   time.Duration // its pretimeout
	trouble string        // why there is none, or why it does not do
	told    string        // the trouble that was last told
	petted  time.Time
	retry   time.Time
}

// excess is how much later than it should it resets the machine.
func (w *watchdog) excess() time.Duration {
	if w.most == 0 {
		return 0
	}
	return max(0, w.timeout-w.most)
}

// settleWatchdog opens the watchdog, and pets it while nothing here may outlive its
// permission.
func (n *Node) settleWatchdog(now time.Time) {
	w := &n.watchdog
	if n.cfg.Watchdog == WatchdogOff || n.stopped {
		return
	}
	want, most := n.watchdogTimeout()
	if want != w.want || most != w.most || w.timeout == 0 && !now.Before(w.retry) {
		w.want, w.most, w.retry = want, most, now.Add(watchdogRetry)
		n.emit(OpenWatchdog{Timeout: want})
		return
	}
	if w.timeout == 0 || now.Before(n.watchdogDue()) {
		return
	}
	last := n.watchdogLast()
	if !last.IsZero() && now.After(last) {
		return // it is left to bark, unless everything is shown to be stopped first
	}
	w.petted = now
	pet := PetWatchdog{}
	if !last.IsZero() {
		pet.By = last.Add(w.timeout)
	}
	n.emit(pet)
}

// watchdogTimeout is Config.WatchdogTimeout of the claims there are, and are to be.
func (n *Node) watchdogTimeout() (want, most time.Duration) {
	cfg := n.cfg
	cfg.Claims = slices.Clip(n.pending)
	for _, name := range n.claimNames() {
		cfg.Claims = append(cfg.Claims, n.claims[name].cfg)
	}
	return cfg.WatchdogTimeout()
}

// watchdogDue returns when it is to be petted next; zero: not before something changes.
func (n *Node) watchdogDue() time.Time {
	w := &n.watchdog
	due := w.petted.Add((w.timeout - w.early) / 4) // at which the kernel may panic
	last := n.watchdogLast()
	if last.IsZero() {
		return due
	}
	// A last time just before it may not be petted any more: then it resets as late as it may.
	if late := last.Add(-watchdogMargin); late.After(w.petted) && late.Before(due) {
		due = late
	}
	return due
}

// watchdogLast returns the last instant at which it may be petted; zero: any.
func (n *Node) watchdogLast() time.Time {
	var last earliest
	for _, c := range n.claims {
		if by := n.mayLive(c); !by.IsZero() {
			last.add(by.Add(n.watchdog.excess() - n.watchdog.timeout))
		}
	}
	return last.at
}

// mayLive returns until when this machine may live for the claim's sake; zero: for ever.
func (n *Node) mayLive(c *claim) time.Time {
	running := c.cfg.Guarded && c.guards.state != guardsOff
	held := c.phase == Adding || c.phase == Held
	kept, left := n.cfg.Kept[c.cfg.Name]
	switch {
	case left && n.started.IsZero() && c.cfg.Guarded && n.permits():
		return kept.Until().Add(c.cfg.GuardLimit + n.cfg.Timing.Late) // they run on, and are not adopted yet
	case running && n.permits():
		return c.armed.Add(c.cfg.GuardLimit + n.cfg.Timing.Late)
	case running && !held:
		// No other node waits for that, but services that do not stop stop with the machine.
		return c.since.Add(c.cfg.GuardLimit + n.watchdog.timeout/2)
	case held && n.permits():
		return c.armed.Add(n.watchdog.timeout) // what shuts it up is the gate
	}
	return time.Time{}
}

// watchdogDeadline adds when it has to be seen to.
func (n *Node) watchdogDeadline(now time.Time, d *earliest) {
	w := &n.watchdog
	switch {
	case n.cfg.Watchdog == WatchdogOff:
	case w.timeout == 0:
		d.add(w.retry)
	default:
		if last := n.watchdogLast(); last.IsZero() || !now.After(last) {
			d.add(n.watchdogDue())
		}
	}
}

// watchdogDone takes in how opening or petting it went.
func (n *Node) watchdogDone(now time.Time, ev WatchdogDone) {
	w := &n.watchdog
	w.timeout, w.early, w.trouble = ev.Timeout, ev.Pretimeout, ""
	if !ev.Petted && ev.Timeout > 0 {
		w.petted = now
	}
	switch {
	case ev.Err != nil:
		w.trouble = ev.Err.Error()
	case w.excess() > 0:
		w.trouble = fmt.Sprintf("it counts %v, and %v is the most that the timing and the guards' stop_timeout allow: "+
			"another node could start the guarded services before this machine is reset", w.timeout, w.most.Truncate(10*time.Millisecond))
	}
	switch {
	case w.trouble == w.told && w.trouble != "":
	case w.trouble != "" && n.cfg.Watchdog == WatchdogRequired:
		n.tell(Warning, "", "nothing is held here: a watchdog is required", w.trouble)
	case w.trouble != "":
		n.tell(Warning, "", "no watchdog resets this machine in time, should all else fail", w.trouble)
	case !ev.Petted:
		how := fmt.Sprintf("%v after the last time", w.timeout)
		if w.early > 0 {
			how += fmt.Sprintf("; %v before, it tells the kernel", w.early)
		}
		n.tell(Info, "", "the watchdog resets this machine when it is not petted", how)
	}
	w.told = w.trouble
}

// watchdogBars says why a required watchdog keeps this node from holding anything.
func (n *Node) watchdogBars() string {
	switch w := &n.watchdog; {
	case n.cfg.Watchdog != WatchdogRequired:
		return ""
	case w.trouble != "":
		return "a watchdog is required: " + w.trouble
	case w.timeout == 0:
		return "a watchdog is required, and not open yet"
	}
	return ""
}

// Clear reports whether nothing of any claim is left on this host: no address, and no guarded
// service that runs only where its claim is held. Only then the watchdog may be stopped.
func (n *Node) Clear() bool {
	if n.started.IsZero() && len(n.cfg.Kept) > 0 {
		return false // a former start has left something in place
	}
	for _, c := range n.claims {
		if c.phase == Adding || c.phase == Held || c.phase == Leaving || c.guards.state != guardsOff {
			return false
		}
	}
	return true
}

// WatchdogSnapshot is how the node's watchdog stands.
type WatchdogSnapshot struct {
	Mode      string `json:"mode"`       // preferred or required
	TimeoutMS int64  `json:"timeout_ms"` // from the last petting to the reset; 0: there is none
	PettedMS  int64  `json:"petted_ms"`  // ago
	Trouble   string `json:"trouble,omitempty"`
}

func (n *Node) watchdogSnapshot(now time.Time) *WatchdogSnapshot {
	if n.cfg.Watchdog == WatchdogOff {
		return nil
	}
	w := &n.watchdog
	return &WatchdogSnapshot{
		Mode: n.cfg.Watchdog.String(), TimeoutMS: w.timeout.Milliseconds(), PettedMS: age(now, w.petted), Trouble: w.trouble,
	}
}
