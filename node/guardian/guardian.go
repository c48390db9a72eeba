package guardian

import (
	"cmp"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// BeatEvery is how often a worker's loop says that it runs.
const BeatEvery = 200 * time.Millisecond

// How long a worker may be silent. Only ticks that the guardian itself has had count: of
// a time in which the whole machine stood still, or all of its processes, one tick. So a
// busy or suspended machine makes no worker look hung.
const (
	tickEvery  = 100 * time.Millisecond
	defaultMax = 2 * time.Second  // without a beat: more than a slow answer of the kernel, less than a hold at advert_int 1
	startMax   = 60 * time.Second // until the first: cleaning up stops guarded services
)

// Back-off: a worker that dies once is replaced at once. One whose successors die too has
// them wait: after they have cleaned up, or before they start if they never get there.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	healthy    = 30 * time.Second // who has lived for that long starts a new count
)

// leaveMax is how long a worker beside may take to end when this program is started anew: what the
// others have left in place is held by nobody until then.
const leaveMax = 300 * time.Millisecond

// TakeOver is the signal that asks a worker to end with Again; 40 is beyond those that
// keepalived, systemd and the C library give a meaning to.
const TakeOver = syscall.Signal(40)

// Again is what Run returns when a worker has said that this program is to be started anew.
// The caller executes the program's file, which may be a newer one by now, in this process: that
// stays the one that the service manager knows, and its workers go on from where these
// left everything.
const Again = -1

// Worker is a process to be kept running: this program, with other arguments.
type Worker struct {
	Name string // for the log
	Args []string
	// Beside says that this worker's troubles are its own: it is replaced however often it ends, and
	// ends nothing else. It may rest, see [Link.Rest]. It is told to stop when the others have, and
	// hears of TakeOver when they have left: then it has leaveMax to end.
	Beside bool
}

// Config says what to guard.
type Config struct {
	Workers []Worker
	Program string // of the workers; empty: this one, even if its file has been replaced

	// Limit is how long a worker may be silent, in steps of 100 ms; default 2 s.
	Limit time.Duration

	// Signals brings those that this process gets. SIGTERM and SIGINT stop the workers in order, a
	// second one kills them; every other is passed on.
	Signals <-chan os.Signal

	// Notify tells the service manager a state; nil: there is none. Watchdog is how often
	// it wants to be told that all is well, 0: never.
	Notify   func(state string)
	Watchdog time.Duration

	Logger *slog.Logger
}

// guardian is one Run.
type guardian struct {
	Config

	workers  []*worker
	into     chan heard
	stopping bool
	cleaning bool // stopping: a worker that died was started once more, to clean up
	code     int
	pet      int // ticks since the service manager was last told
}

// Run runs the workers until they have ended, and returns the exit code of the first that
// did so by its own decision. It must not be called from a goroutine that is locked to a thread.
func Run(cfg Config) (code int) {
	// See worker.start.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cfg.Program = cmp.Or(cfg.Program, "/proc/self/exe")
	cfg.Limit = cmp.Or(cfg.Limit, defaultMax)
	if cfg.Notify == nil {
		cfg.Notify = func(string) {}
	}
	g := &guardian{Config: cfg, into: make(chan heard)}
	for _, w := range cfg.Workers {
		g.workers = append(g.workers, &worker{Worker: w})
	}
	for _, w := range g.workers {
		g.start(w, 0)
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for !g.over() {
		select {
		case h := <-g.into:
			g.hear(h)
		case s := <-cfg.Signals:
			g.signal(s)
		case <-tick.C:
			g.tick()
		}
	}
	return g.code
}

// over reports whether all has ended that was to end.
func (g *guardian) over() bool {
	for _, w := range g.workers {
		if w.cmd != nil || w.wait > 0 {
			return false
		}
	}
	return true
}

// start starts a worker's next process; the one before is dead and reaped.
func (g *guardian) start(w *worker, pause time.Duration) {
	w.wait = 0
	if err := w.start(g.Program, pause, g.into); err != nil {
		g.Logger.Error("a worker cannot be started", "worker", w.Name, "err", err)
		if g.stopping {
			g.code = 1
			return
		}
		w.wait = ticks(lastPause)
	}
}

// hear takes in a word of a worker.
func (g *guardian) hear(h heard) {
	w := h.from
	w.missed = 0
	switch h.word {
	case "":
		g.ended(w)
		return
	case wordHere:
		w.here = true
	case wordBeat:
		w.up, w.ever = true, true
	case wordFinal:
		w.final = true
	case wordAgain:
		w.again = true
	case wordRest:
		w.rests = true
	case "READY=1":
		w.ready = true
		if !g.allReady() {
			return
		}
		g.Notify(h.word)
	default:
		if strings.Contains(h.word, "=") {
			g.Notify(h.word)
		}
	}
	if g.stopping {
		g.halt(w)
	}
}

func (g *guardian) allReady() bool {
	for _, w := range g.workers {
		if !w.ready && !w.Beside {
			return false
		}
	}
	return true
}

// signal passes a signal on, or begins to stop.
func (g *guardian) signal(s os.Signal) {
	if s != syscall.SIGTERM && s != syscall.SIGINT {
		for _, w := range g.workers {
			g.pass(w, s)
		}
		return
	}
	if !g.stopping {
		g.Logger.Info("signal: stopping in order; a second one ends at once", "signal", s.String())
		g.stop()
		return
	}
	g.Logger.Error("second signal: ended without releasing anything", "signal", s.String())
	g.cleaning, g.code = true, 1
	for _, w := range g.workers {
		w.wait = 0
		w.kill(false)
	}
}

// pass passes a signal on. A worker that rests is started by the one that means that the
// configuration has changed.
func (g *guardian) pass(w *worker, s os.Signal) {
	switch {
	case s == TakeOver && w.Beside:
		return
	case s == syscall.SIGHUP && w.rests && w.cmd == nil && !g.stopping:
		g.start(w, 0)
	case s == syscall.SIGHUP:
		w.changed = true
	}
	w.signal(s)
}

// stop tells all workers to stop. One that waits to be started is started: what its
// predecessor left has to be cleaned up.
func (g *guardian) stop() {
	g.stopping = true
	for _, w := range g.workers {
		w.wait = min(w.wait, 1)
		if w.Beside {
			w.wait = 0 // what it left stays
		}
		g.halt(w)
	}
}

// halt tells a worker to stop. One beside goes on until the others have let go: what it
// does may be of use until then.
func (g *guardian) halt(w *worker) {
	switch {
	case !w.Beside:
		w.stop()
	case slices.ContainsFunc(g.workers, func(o *worker) bool { return !o.Beside && (o.cmd != nil || o.wait > 0) }):
	case g.code == Again:
		w.leave()
	default:
		w.stop()
	}
}

// ended decides what follows the end of a worker's process.
func (g *guardian) ended(w *worker) {
	how, code := w.cmd.ProcessState.String(), w.code()
	w.cmd = nil
	switch {
	case w.Beside:
		g.endedBeside(w, how)
	case g.stopping && !w.final && !g.cleaning:
		g.Logger.Error("a worker died while it stopped: one more cleans up behind it", "worker", w.Name, "how", how)
		g.cleaning, g.code = true, max(g.code, 1)
		g.start(w, 0)
	case g.stopping:
		g.code = max(g.code, code)
	case w.again:
		g.code = Again
		g.stop()
	case w.final || !w.ever:
		// To start it again would not help: it says so itself, or it never got anywhere.
		g.code = code
		g.stop()
	default:
		g.replace(w, how)
	}
	if g.stopping {
		for _, o := range g.workers {
			g.halt(o)
		}
	}
}

// endedBeside decides what follows the end of a worker beside.
func (g *guardian) endedBeside(w *worker, how string) {
	switch {
	case g.stopping && !w.final && !w.rests && g.code != Again:
		g.Logger.Error("a worker died while it stopped; what it left stays", "worker", w.Name, "how", how)
		g.code = max(g.code, 1)
	case g.stopping:
	case w.rests && w.changed:
		g.start(w, 0) // the signal may have come too late for it
	case w.rests:
		w.crashes = 0
	default:
		g.replace(w, how)
	}
}

// replace starts a worker anew, at once or after a back-off.
func (g *guardian) replace(w *worker, how string) {
	if w.lived >= ticks(healthy) {
		w.crashes = 0
	}
	pause := time.Duration(0)
	if w.crashes > 0 {
		pause = min(firstPause<<(min(w.crashes, 10)-1), lastPause)
	}
	w.crashes++
	g.Logger.Error("a worker has ended; the next one cleans up behind it", "worker", w.Name, "how", how, "pause", pause)
	if !w.up && pause > 0 {
		w.wait = ticks(pause) // it does not even get through its cleaning up
		return
	}
	g.start(w, pause)
}

// tick counts the time that the workers have had, and this process with them.
func (g *guardian) tick() {
	well := true
	for _, w := range g.workers {
		if w.cmd == nil {
			if w.wait == 1 {
				g.start(w, 0)
			} else if w.wait > 0 {
				w.wait--
			}
			continue
		}
		w.lived++
		w.missed++
		limit := ticks(g.Limit)
		if !w.up {
			limit = ticks(startMax)
		}
		if w.leaving > 0 {
			if w.leaving--; w.leaving == 0 {
				w.kill(false)
			}
		}
		if w.missed >= limit {
			well = well && w.Beside
			if !w.killed {
				g.Logger.Error("a worker hangs: killing it", "worker", w.Name, "silent", tickEvery*time.Duration(w.missed))
			}
			w.kill(true)
		}
	}
	g.pet++
	if g.Watchdog > 0 && well && g.pet >= max(1, ticks(g.Watchdog)) {
		g.pet = 0
		g.Notify("WATCHDOG=1")
	}
}

// ticks returns how many ticks a time is.
func ticks(d time.Duration) int { return int(d / tickEvery) }
