package lvs

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	// AuditEvery is how often the kernel's table is read and put right.
	AuditEvery = 10 * time.Second
	// RetryAfter is how long after a failure it is read again.
	RetryAfter = time.Second
	// rampSteps is in how many steps a weight grows.
	rampSteps = 10
)

// Balancer decides what IPVS balances. It is driven by Step alone and is not safe for
// concurrent use.
type Balancer struct {
	cfg     Config
	started bool
	stopped bool

	servers   []*server // in the order of the configuration
	users     map[CheckID][]*real
	checks    map[CheckID]*check
	here      map[netip.Addr]bool
	masters   map[string]bool
	overrides map[overrideKey]Override

	wanted State
	kernel kernel
	dirty  map[*server]bool // what has to be settled in this Step
	// growing are the real servers whose weight grows.
	growing map[*real]bool

	held []Action // notifications that wait for the table
	out  []Action // of the Step under way
}

type overrideKey struct {
	server string
	real   netip.AddrPort
}

// check is what is known of a check.
type check struct {
	running bool
	known   bool // there was a result
	up      bool
	adjust  Adjust
	why     string
	since   time.Time // of the state
	at      time.Time // of the last result
}

// New returns a balancer that has seen nothing. It returns an error for a configuration
// that no kernel could have.
func New(cfg Config) (*Balancer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Balancer{
		checks:    make(map[CheckID]*check),
		here:      make(map[netip.Addr]bool),
		masters:   make(map[string]bool),
		overrides: make(map[overrideKey]Override),
		dirty:     make(map[*server]bool),
		wanted:    State{Table: make(Table)},
		kernel:    kernel{state: State{Table: make(Table)}, ours: make(map[ServiceKey]bool)},
	}
	for _, o := range cfg.Overrides {
		b.overrides[overrideKey{o.Server, o.Real}] = o.Override
	}
	b.configure(cfg)
	return b, nil
}

// configure takes a configuration in; a server that was there before keeps its state.
func (b *Balancer) configure(cfg Config) {
	before := make(map[string]*server)
	for _, s := range b.servers {
		before[s.cfg.Name] = s
	}
	b.cfg, b.servers, b.users = cfg, nil, make(map[CheckID][]*real)
	b.growing = make(map[*real]bool)
	for _, v := range cfg.Servers {
		s := newServer(v, before[v.Name])
		for _, r := range s.reals {
			for _, c := range r.cfg.Checks {
				b.users[c.ID] = append(b.users[c.ID], r)
				if b.checks[c.ID] == nil {
					b.checks[c.ID] = &check{}
				}
			}
		}
		for _, k := range v.Keys {
			b.kernel.ours[k] = true
		}
		b.servers = append(b.servers, s)
		b.dirty[s] = true
	}
}

// Step takes in one event and returns what has to be done, in order. now is on the boot
// clock and never goes back.
func (b *Balancer) Step(now time.Time, ev Event) []Action {
	b.out = nil
	if b.stopped {
		return nil
	}
	b.apply(now, ev)
	if b.started && !b.stopped {
		b.settle(now)
	}
	clear(b.dirty)
	return b.out
}

// Deadline returns when the next Tick is due; zero: none is.
func (b *Balancer) Deadline() time.Time {
	if !b.started || b.stopped {
		return time.Time{}
	}
	due := b.kernel.readAt
	for r := range b.growing {
		if at := r.rampDue(); at.Before(due) {
			due = at
		}
	}
	return due
}

// apply takes an event in and marks the servers that it may change.
func (b *Balancer) apply(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case Start:
		b.start(now)
	case Tick:
		b.tick(now)
	case Stop:
		b.stop()
	case Reconfigure:
		b.reconfigure(now, ev.Config)
	case Checked:
		for _, r := range ev.Results {
			b.checked(now, r)
		}
	case Kernel:
		b.kernelRead(now, ev)
	case KernelFailed:
		if ev.ID == b.kernel.asked {
			b.kernelFailed(now, &b.kernel.readErr, "the table of IPVS cannot be read", ev.Err)
		}
	case Applied:
		b.applied(now, ev.Err)
	case Address:
		b.here[ev.Addr] = ev.Here
		b.runChecks()
	case Instance:
		b.masters[ev.Name] = ev.Master
	case Operate:
		b.operate(now, ev)
	}
}

func (b *Balancer) start(now time.Time) {
	b.started = true
	b.forgetOverrides()
	for _, s := range b.servers {
		b.dirty[s] = true
		for _, r := range s.reals {
			b.judge(now, r)
		}
	}
	b.runChecks()
	b.read(now)
}

func (b *Balancer) tick(now time.Time) {
	if due := b.kernel.readAt; !due.IsZero() && !now.Before(due) {
		b.read(now)
	}
	for r := range b.growing {
		if !now.Before(r.rampDue()) {
			b.dirty[r.server] = true
		}
	}
}

// reconfigure takes another configuration in while running.
func (b *Balancer) reconfigure(now time.Time, cfg Config) {
	if err := cfg.validate(); err != nil {
		b.tell(true, "", "the new configuration is not used", err.Error())
		return
	}
	b.configure(cfg)
	if !b.started {
		return
	}
	b.forgetOverrides()
	for _, s := range b.servers {
		for _, r := range s.reals {
			b.judge(now, r)
		}
	}
	b.runChecks()
	for id := range b.checks {
		if len(b.users[id]) == 0 {
			delete(b.checks, id) // runChecks has stopped it
		}
	}
	b.kernel.all = true
}

// checked takes one result in.
func (b *Balancer) checked(now time.Time, r Result) {
	c := b.checks[r.Check]
	if c == nil || !c.running {
		return
	}
	was := *c
	c.at, c.why = now, r.Why
	if !c.known || c.up != r.Up {
		c.since = now
	}
	c.known, c.up = true, r.Up
	if r.Adjust.Kind != Keep {
		c.adjust = r.Adjust
	}
	if was.known && was.up == c.up && was.adjust == c.adjust {
		return
	}
	for _, u := range b.users[r.Check] {
		b.judge(now, u)
	}
}

// runChecks starts and stops checks, so that those run whose result counts: of servers
// that are not suspended.
func (b *Balancer) runChecks() {
	if !b.started {
		return
	}
	want := make(map[CheckID]bool)
	for _, s := range b.servers {
		if b.suspended(s) {
			continue
		}
		for _, r := range s.reals {
			for _, c := range r.cfg.Checks {
				want[c.ID] = true
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.checks)) {
		if c := b.checks[id]; c.running && !want[id] {
			c.running = false
			b.emit(StopCheck{id})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if c := b.checks[id]; !c.running {
			c.running = true
			b.emit(StartCheck{id})
		}
	}
}

// suspended reports whether the checks of a server rest: none of its addresses is here.
func (b *Balancer) suspended(s *server) bool {
	if !s.cfg.Follows {
		return false
	}
	for _, k := range s.cfg.Keys {
		if k.FWMark != 0 || b.here[k.Addr.Addr()] {
			return false
		}
	}
	return true
}

// settle brings the servers that may have changed up to date: quorum first, then the
// table, then what scripts are told.
func (b *Balancer) settle(now time.Time) {
	var notices []Action
	var changed []*server
	for _, s := range b.servers {
		if !b.dirty[s] {
			continue
		}
		changed = append(changed, s)
		notices = append(notices, s.notices...)
		s.notices = nil
		if n, turned := b.quorum(now, s); turned && (s.told || s.quorum) {
			notices = append(notices, n)
		}
		s.told = true
	}
	b.want(now, changed)
	b.held = append(b.held, notices...)
	if b.kernel.answered {
		// At the start scripts wait until the table is made, or cannot be.
		b.out = append(b.out, b.held...)
		b.held = nil
	}
}

// quorum decides whether a server has quorum. It returns the notification when that
// has turned.
func (b *Balancer) quorum(now time.Time, s *server) (Notify, bool) {
	weight, most := b.weigh(s), 0
	for _, r := range s.reals {
		most += r.cfg.Weight
	}
	was := s.quorum
	if s.quorum {
		s.quorum = weight >= s.cfg.Quorum-s.cfg.Hysteresis && (weight > 0 || s.cfg.Quorum == 0)
	} else {
		// What all together do not weigh could never be gained.
		s.quorum = weight >= min(s.cfg.Quorum+s.cfg.Hysteresis, max(most, s.cfg.Quorum))
	}
	if s.quorum == was && s.told {
		return Notify{}, false
	}
	s.since = now
	n := Notify{What: QuorumDown, Server: s.cfg.Name}
	text := "quorum lost"
	switch {
	case s.quorum:
		n.What, text = QuorumUp, "quorum gained"
	case !s.told:
		text = "no quorum yet"
	}
	b.tell(!s.quorum, s.cfg.Name, text, fmt.Sprintf("weight %d, quorum %d, hysteresis %d", weight, s.cfg.Quorum, s.cfg.Hysteresis))
	return n, true
}

// stop undoes what was done, as far as the configuration wants it undone.
func (b *Balancer) stop() {
	for _, id := range slices.Sorted(maps.Keys(b.checks)) {
		if b.checks[id].running {
			b.emit(StopCheck{id})
		}
	}
	if b.started {
		if steps := b.lastSteps(); len(steps) > 0 {
			b.emit(Apply{steps})
		}
		b.omega()
	}
	b.stopped = true
	b.emit(Stopped{})
}

// omega tells scripts at the end that everything is down.
func (b *Balancer) omega() {
	for _, s := range b.servers {
		if !s.cfg.Omega {
			continue
		}
		for _, r := range s.reals {
			if r.alive {
				b.emit(Notify{What: RealDown, Server: s.cfg.Name, Real: r.cfg.Addr})
			}
		}
		if s.quorum {
			b.emit(Notify{What: QuorumDown, Server: s.cfg.Name})
		}
	}
}

func (b *Balancer) emit(a Action) { b.out = append(b.out, a) }

func (b *Balancer) tell(warning bool, name, text, why string) {
	b.emit(Tell{Warning: warning, Name: name, Text: text, Why: why})
}
