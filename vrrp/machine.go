package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// Machine is the state machine of one virtual router (RFC 9568 and RFC 3768 section
// 6.4) on one node. It decides when this node would be MASTER and says when it is;
// whoever owns it composes it with permission, addresses and sockets.
//
// Unlike the RFCs' machine it never goes from BACKUP to MASTER by itself: it emits
// Want, and the answer is Grant once the addresses are on. A Machine is not safe for
// concurrent use.
type Machine struct {
	cfg    Config
	sorted []netip.Addr // cfg.Addresses
	out    []Action     // of the running Step

	state    State
	since    time.Time
	priority uint8  // effective
	fault    string // why we cannot serve; empty: we can
	heard    heard
	told     map[netip.Addr]Cause // by source: the cause last emitted as Discarded
	counters Counters

	// masterInterval is the master's advertisement interval: ours, or in version 3 the
	// one learned from the master we follow (Active_Adver_Interval of RFC 9568).
	masterInterval time.Duration

	// In BACKUP.
	downFrom    time.Time // what the master-down timer counts from
	masterLeft  bool      // by a priority-0 advert: wait the skew time only
	overdueAt   time.Time // when the next advert is missed; zero: told
	preemptFrom time.Time // when the first advert of lower priority was heard; zero: none
	want        Reason    // zero: no wish
	wantAlive   bool      // the Alive last emitted
	wantAgainAt time.Time

	// In MASTER; zero: not pending.
	advertAt    time.Time
	burstAt     time.Time
	lowerPrioAt time.Time
	refreshAt   time.Time
}

// heard is the last accepted advert of another node.
type heard struct {
	addr     netip.Addr
	priority uint8
	interval time.Duration
	at       time.Time
}

// New checks cfg and returns a machine in INIT; Start starts it.
func New(cfg Config) (*Machine, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("vrrp instance %s: %w", cfg.Name, err)
	}
	cfg = cfg.settled()
	return &Machine{
		cfg:            cfg,
		sorted:         sortedAddrs(cfg.Addresses),
		priority:       cfg.Priority,
		told:           make(map[netip.Addr]Cause),
		masterInterval: cfg.AdvertInterval,
	}, nil
}

// Tune takes over what a reload may change while the machine runs: all of cfg in which it
// may differ from the machine's own by Config.Fixed. The present priority stays: SetPriority
// changes it.
func (m *Machine) Tune(now time.Time, cfg Config) {
	before := m.cfg.GARP
	m.cfg = cfg.settled()
	if m.state == StateMaster && (before.Refresh != cfg.GARP.Refresh || before.RefreshRepeat != cfg.GARP.RefreshRepeat) {
		m.refreshAt = after(now, cfg.GARP.Refresh, cfg.GARP.RefreshRepeat)
	}
}

// State returns the state.
func (m *Machine) State() State { return m.state }

// Since returns when the state was entered; the zero time in a machine never started.
func (m *Machine) Since() time.Time { return m.since }

// Priority returns the effective priority.
func (m *Machine) Priority() uint8 { return m.priority }

// Wants reports whether the machine is BACKUP and has asked to be MASTER.
func (m *Machine) Wants() bool { return m.want != 0 }

// MasterAddr returns where the last accepted advert came from; the zero Addr: none came.
func (m *Machine) MasterAddr() netip.Addr { return m.heard.addr }

// MasterPriority returns the priority in the last accepted advert.
func (m *Machine) MasterPriority() uint8 { return m.heard.priority }

// MasterHeard returns when the last accepted advert came; the zero time: none came.
func (m *Machine) MasterHeard() time.Time { return m.heard.at }

// Counters returns what has been counted.
func (m *Machine) Counters() Counters { return m.counters }

// Step takes one event and returns what to do about it, in order. now is an instant
// of the boot clock and never goes back. Step keeps nothing of what it returns.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	m.out = nil
	switch m.state {
	case StateInit:
		m.stepInit(now, ev)
	case StateBackup:
		m.stepBackup(now, ev)
	case StateMaster:
		m.stepMaster(now, ev)
	case StateFault:
		m.stepFault(now, ev)
	}
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

func (m *Machine) stepInit(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case Start:
		if ev.Goodbye {
			m.sayGoodbye()
		}
		m.listen(now, "started")
	case SetPriority:
		m.setPriority(ev.Priority)
	case SetFault:
		m.setFault(ev)
	case Tick, Received, Preempt, Grant, Yield, Stop: // nothing runs here
	}
}

func (m *Machine) stepBackup(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case Tick:
		m.tickBackup(now)
	case Received:
		if m.accepts(ev) {
			m.hearInBackup(now, ev)
		}
	case SetPriority:
		m.setPriority(ev.Priority)
		m.yieldToHeard(now)
	case SetFault:
		m.setFault(ev)
		if ev.Fault {
			m.becomeFault(now)
		}
	case Preempt:
		if m.Wants() && m.wantAlive {
			m.send(m.priority)
		}
	case Grant:
		m.becomeMaster(now)
	case Stop:
		m.becomeInit(now)
	case Start, Yield: // already so
	}
}

func (m *Machine) stepMaster(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case Tick:
		m.tickMaster(now)
	case Received:
		if m.accepts(ev) {
			m.hearInMaster(now, ev)
		}
	case SetPriority:
		m.setPriority(ev.Priority) // the next regular advert tells it, as in keepalived
	case SetFault:
		m.setFault(ev)
		if ev.Fault {
			m.sayGoodbye()
			m.becomeFault(now)
		}
	case Yield:
		if !ev.Quiet {
			m.sayGoodbye()
		}
		m.becomeBackup(now, ev.Why)
	case Stop:
		m.sayGoodbye()
		m.becomeInit(now)
	case Start, Preempt, Grant: // already so
	}
}

func (m *Machine) stepFault(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case Received:
		if m.accepts(ev) {
			m.note(now, ev) // evidence for the composer, no more
		}
	case SetPriority:
		m.setPriority(ev.Priority)
	case SetFault:
		m.setFault(ev)
		if !ev.Fault {
			m.listen(now, "fault is over")
		}
	case Stop:
		m.becomeInit(now)
	case Start, Tick, Preempt, Grant, Yield: // a node in FAULT takes nothing
	}
}

// enter is the one place where the state changes; only the becomeX call it.
func (m *Machine) enter(now time.Time, to State, why string) {
	from := m.state
	if from == StateMaster {
		m.counters.LeftMaster++
	}
	m.state, m.since = to, now
	m.want = 0
	m.emit(Changed{From: from, To: to, Why: why})
}

func (m *Machine) becomeInit(now time.Time) {
	m.enter(now, StateInit, "stopped")
	m.heard = heard{} // what was heard before a pause of unknown length says nothing
}

func (m *Machine) becomeFault(now time.Time) {
	m.enter(now, StateFault, m.fault)
}

// becomeBackup starts to listen with a full master-down timer (RFC 9568 section 6.4.1).
func (m *Machine) becomeBackup(now time.Time, why string) {
	m.enter(now, StateBackup, why)
	m.masterInterval = m.cfg.AdvertInterval
	m.downFrom, m.masterLeft = now, false
	m.overdueAt = now.Add(overdueAfter(m.masterInterval))
	m.preemptFrom = time.Time{}
}

// becomeMaster advertises and announces at once (RFC 9568 section 6.4.2).
func (m *Machine) becomeMaster(now time.Time) {
	why := "granted"
	if m.Wants() {
		why = m.want.String()
	}
	m.enter(now, StateMaster, why)
	m.counters.BecameMaster++
	m.masterInterval = m.cfg.AdvertInterval
	m.advertise(now)
	m.announce(m.cfg.GARP.Repeat)
	m.burstAt = after(now, m.cfg.GARP.Delay, m.cfg.GARP.Repeat)
	m.lowerPrioAt = time.Time{}
	m.refreshAt = after(now, m.cfg.GARP.Refresh, m.cfg.GARP.RefreshRepeat)
}

// listen enters the state that a node without a past belongs in.
func (m *Machine) listen(now time.Time, why string) {
	if m.fault != "" {
		m.becomeFault(now)
		return
	}
	first := m.state == StateInit
	m.becomeBackup(now, why)
	if !m.alive(now) {
		m.tellOverdue()
	}
	// RFC 9568 section 6.4.1 makes an address owner Active at start-up. keepalived 2.2.7
	// does so only if its state is MASTER too, and never on leaving FAULT: then it waits
	// the timer like everyone (measured), and its configurations are written for that.
	if first && m.cfg.InitialMaster && m.cfg.Priority == PriorityOwner {
		m.emitWant(now, ReasonOwner, false)
	}
}

func (m *Machine) setFault(ev SetFault) {
	switch {
	case !ev.Fault:
		m.fault = ""
	case ev.Why == "":
		m.fault = "fault"
	default:
		m.fault = ev.Why
	}
}

func (m *Machine) setPriority(p uint8) {
	if m.cfg.Priority != PriorityOwner {
		m.priority = min(max(p, 1), PriorityOwner-1)
	}
}
