package lvs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// world is a kernel and a clock around a balancer, as the shell would be.
type world struct {
	b        *Balancer
	now      time.Time
	kernel   State
	ask      uint64 // of the ReadKernel that waits; 0: none
	meddled  bool   // somebody else changed the table, so steps may fail
	lazy     bool   // the kernel answers only on "kernel"
	fail     string // what the next Apply says
	running  map[CheckID]bool
	stored   []StoredOverride
	trace    []string
	problems []string
}

var bootTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(cfg Config) (*world, error) {
	b, err := New(cfg)
	kernel := State{Table: make(Table), Timeouts: Timeouts{15 * time.Minute, 2 * time.Minute, 5 * time.Minute}}
	return &world{b: b, now: bootTime, kernel: kernel, running: make(map[CheckID]bool)}, err
}

// send steps the balancer, carries its actions out, and goes on until nothing is left to do.
func (w *world) send(ev Event) {
	w.effects(w.b.Step(w.now, ev))
	for w.ask != 0 && !w.lazy {
		w.answer()
	}
}

// answer answers the ReadKernel that waits.
func (w *world) answer() {
	id := w.ask
	w.ask = 0
	state := w.kernel
	state.Table = w.kernel.Table.Clone()
	w.effects(w.b.Step(w.now, Kernel{ID: id, State: state}))
}

func (w *world) effects(actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case ReadKernel:
			w.ask = a.ID
			continue
		case Apply:
			for _, s := range a.Steps {
				w.say("apply %s", s)
			}
			w.carryOut(a.Steps)
			continue
		case StartCheck:
			if w.running[a.Check] {
				w.problems = append(w.problems, "check started twice: "+string(a.Check))
			}
			w.running[a.Check] = true
			w.say("start check %s", a.Check)
		case StopCheck:
			delete(w.running, a.Check)
			w.say("stop check %s", a.Check)
		case Notify:
			if a.Real.IsValid() {
				w.say("%s %s of %s", a.What, a.Real, a.Server)
			} else {
				w.say("%s %s", a.What, a.Server)
			}
		case StoreOverrides:
			w.stored = a.All
			w.say("store %d overrides", len(a.All))
		case Respond:
			w.say("respond %s%s", a.Text, strings.TrimSuffix(": error: "+a.Err, ": error: "))
		case Tell:
			w.say("tell %s %s (%s)", a.Name, a.Text, a.Why)
		case Stopped:
			w.say("stopped")
		}
	}
}

// carryOut does what a kernel does with steps, and tells the balancer.
func (w *world) carryOut(steps []Step) {
	if w.fail != "" {
		err := w.fail
		w.fail = ""
		w.effects(w.b.Step(w.now, Applied{Err: err}))
		return
	}
	var failed []string
	broken := make(map[ServiceKey]bool) // services of which a step failed: the rest of their steps too
	for _, s := range steps {
		if key, of := ServiceOf(s); of && broken[key] {
			continue
		} else if err := w.kernel.Table.apply(s); err != nil {
			failed = append(failed, s.String()+": "+err.Error())
			broken[key] = true
		}
		switch s := s.(type) {
		case SetDaemon:
			w.kernel.Daemons[s.Role] = s.Daemon
		case SetTimeouts:
			w.kernel.Timeouts = s.Timeouts.or(w.kernel.Timeouts)
		case AddService, EditService, DeleteService, AddDestination, EditDestination, DeleteDestination, Flush:
		}
	}
	if len(failed) > 0 && !w.meddled {
		w.problems = append(w.problems, failed...)
	}
	w.effects(w.b.Step(w.now, Applied{Err: strings.Join(failed, "; ")}))
}

// run lets time pass, with a Tick at each deadline.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for n := 0; ; n++ {
		due := w.b.Deadline()
		if due.IsZero() || due.After(end) {
			break
		}
		if n > 10000 {
			w.problems = append(w.problems, "the deadline does not move")
			break
		}
		w.now = due
		w.send(Tick{})
	}
	w.now = end
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%7.3f %s", w.now.Sub(bootTime).Seconds(), strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")))
}

var errUsage = errors.New("unknown command")

// command carries out one line of a script.
func (w *world) command(f []string) error {
	rest := strings.Join(f[1:], " ")
	switch f[0] {
	case "start":
		w.send(Start{})
	case "stop":
		w.send(Stop{})
	case "run":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err
		}
		w.run(d)
	case "up", "down":
		w.send(Checked{[]Result{{Check: CheckID(f[1]), Up: f[0] == "up", Why: strings.Join(f[2:], " ")}}})
	case "weight", "add":
		n, err := strconv.Atoi(f[2])
		if err != nil {
			return err
		}
		kind := map[string]AdjustKind{"weight": Set, "add": Add}[f[0]]
		w.send(Checked{[]Result{{Check: CheckID(f[1]), Up: true, Adjust: Adjust{kind, n}}}})
	case "lazy":
		w.lazy = true
	case "kernel":
		w.answer()
	case "fail":
		w.fail = rest
	case "master", "backup":
		w.send(Instance{f[1], f[0] == "master"})
	case "here", "gone":
		w.send(Address{netip.MustParseAddr(f[1]), f[0] == "here"})
	case "operator":
		return w.operator(f[1:])
	case "meddle":
		return w.meddle(f[1:])
	case "table":
		for line := range strings.Lines(w.kernel.Table.String()) {
			w.trace = append(w.trace, "        = "+strings.TrimRight(line, "\n"))
		}
	case "show":
		w.show()
	default:
		return errUsage
	}
	return nil
}

// operator: SERVER|- REAL drain|disable|enable|weight N.
func (w *world) operator(f []string) error {
	kinds := []string{"enable", "drain", "weight", "disable"}
	ev := Operate{ID: 1, Server: strings.TrimPrefix(f[0], "-"), Real: netip.MustParseAddrPort(f[1])}
	ev.Override.Kind = OverrideKind(slices.Index(kinds, f[2]))
	if len(f) > 3 {
		n, err := strconv.Atoi(f[3])
		if err != nil {
			return err
		}
		ev.Override.Weight = n
	}
	w.send(ev)
	return nil
}

// meddle: somebody else changes the kernel's table: flush; weight KEY-ADDR REAL N; service ADDR; daemon INTERFACE.
func (w *world) meddle(f []string) error {
	switch f[0] {
	case "flush":
		clear(w.kernel.Table)
	case "daemon":
		w.kernel.Daemons[Master] = &Daemon{Interface: f[1]}
	case "service":
		w.kernel.Table[AddressKey(TCP, netip.MustParseAddrPort(f[1]))] = Entry{Service: Service{Scheduler: "rr"}}
	case "weight":
		e := w.kernel.Table[AddressKey(TCP, netip.MustParseAddrPort(f[1]))]
		n, err := strconv.Atoi(f[3])
		if err != nil {
			return err
		}
		e.Destinations[e.find(netip.MustParseAddrPort(f[2]))].Weight = n
	default:
		return errUsage
	}
	return nil
}

// show writes the status down.
func (w *world) show() {
	snap := w.b.Snapshot(w.now, func(key ServiceKey, addr netip.AddrPort) (Connections, bool) {
		return Connections{Active: 2, Inactive: 1}, w.kernel.Table[key].find(addr) >= 0
	})
	line := func(format string, args ...any) { w.trace = append(w.trace, "        = "+fmt.Sprintf(format, args...)) }
	for _, s := range snap.Servers {
		line("%s quorum=%t weight=%d/%d sorry=%t suspended=%t", s.Name, s.Quorum, s.Weight, s.Needed, s.SorryUsed, s.Suspended)
		for _, r := range s.Reals {
			line("  %s up=%t for %d ms weight=%d/%d table=%t growing=%t connections=%v %s %s", r.Addr, r.Up, r.SinceMS, r.Weight, r.Target, r.InTable, r.Growing, r.Connections, r.Override, r.Why)
			for _, c := range r.Checks {
				line("    %s known=%t up=%t for %d ms, %d ms ago", c.ID, c.Known, c.Up, c.SinceMS, c.AgeMS)
			}
		}
	}
	line("known=%t repairs=%d foreign=%v trouble=%q", snap.Known, snap.Repairs, snap.Foreign, snap.Trouble)
}

// carriedOut returns the table that the steps make of t, as the kernel would. A step that the
// kernel would refuse is an error that names it; then the table is what the steps before
// it made. Steps that are about no table change nothing.
func (t Table) carriedOut(steps []Step) (Table, error) {
	out := t.Clone()
	for _, s := range steps {
		if err := out.apply(s); err != nil {
			return out, fmt.Errorf("%s: %w", s, err)
		}
	}
	return out, nil
}

// The kernel's answers to steps that do not fit.
var (
	errExists  = errors.New("is there already")
	errMissing = errors.New("is not there")
)

func (t Table) apply(s Step) error {
	switch s := s.(type) {
	case AddService:
		if _, there := t[s.Key]; there {
			return errExists
		}
		t[s.Key] = Entry{Service: s.Service}
	case EditService:
		e, there := t[s.Key]
		if !there {
			return errMissing
		}
		e.Service = s.Service
		t[s.Key] = e
	case DeleteService:
		if _, there := t[s.Key]; !there {
			return errMissing
		}
		delete(t, s.Key)
	case AddDestination:
		return t.applyDestination(s.Key, s.Destination.Addr, func(e *Entry, i int) error {
			if i >= 0 {
				return errExists
			}
			e.Destinations = append(e.Destinations, s.Destination)
			return nil
		})
	case EditDestination:
		return t.applyDestination(s.Key, s.Destination.Addr, func(e *Entry, i int) error {
			if i < 0 {
				return errMissing
			}
			e.Destinations[i] = s.Destination
			return nil
		})
	case DeleteDestination:
		return t.applyDestination(s.Key, s.Addr, func(e *Entry, i int) error {
			if i < 0 {
				return errMissing
			}
			e.Destinations = slices.Delete(e.Destinations, i, i+1)
			return nil
		})
	case Flush:
		clear(t)
	case SetTimeouts, SetDaemon:
	}
	return nil
}

// applyDestination calls f with a service and the index of a destination, or -1.
func (t Table) applyDestination(key ServiceKey, addr netip.AddrPort, f func(e *Entry, i int) error) error {
	e, there := t[key]
	if !there {
		return errMissing
	}
	if err := f(&e, e.find(addr)); err != nil {
		return err
	}
	t[key] = e
	return nil
}

// Clone returns a table that shares nothing with t.
func (t Table) Clone() Table {
	out := make(Table, len(t))
	for k, e := range t {
		out[k] = Entry{e.Service, slices.Clone(e.Destinations)}
	}
	return out
}
