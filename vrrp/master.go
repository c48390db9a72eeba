package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// tickMaster does what is due in MASTER.
func (m *Machine) tickMaster(now time.Time) {
	if due(m.advertAt, now) {
		at := m.advertAt
		m.advertise(now)
		m.advertAt = nextPeriod(at, now, m.cfg.AdvertInterval)
	}
	if due(m.burstAt, now) {
		m.burstAt = time.Time{}
		m.announce(m.cfg.GARP.Repeat)
	}
	if due(m.lowerPrioAt, now) {
		m.lowerPrioAt = time.Time{}
		m.announce(m.cfg.GARP.LowerPrioRepeat)
	}
	if due(m.refreshAt, now) {
		m.refreshAt = nextPeriod(m.refreshAt, now, m.cfg.GARP.Refresh)
		m.announce(m.cfg.GARP.RefreshRepeat)
	}
}

// hearInMaster follows RFC 9568 section 6.4.3.
func (m *Machine) hearInMaster(now time.Time, ev Received) {
	p := ev.Packet
	m.note(now, ev)
	switch {
	case p.Priority == PriorityLeaving:
		m.advertise(now)
	case m.outranked(p, ev.Source):
		m.meetBetter(now, ev)
	default:
		m.meetLesser(now)
	}
}

// outranked reports whether an advert wins over us: by priority, then by address as an
// unsigned number (RFC 9568 section 6.4.3).
func (m *Machine) outranked(p Packet, source netip.Addr) bool {
	if p.Priority != m.priority {
		return p.Priority > m.priority
	}
	return source.Compare(m.cfg.Source) > 0
}

// meetBetter steps down for a better master, or with ByPermission only reports it.
func (m *Machine) meetBetter(now time.Time, ev Received) {
	p := ev.Packet
	if m.cfg.ByPermission {
		m.counters.Challenges++
		m.emit(Challenged(ev))
		return
	}
	why := fmt.Sprintf("%v has priority %d, ours is %d", ev.Source, p.Priority, m.priority)
	if p.Priority == m.priority {
		why = fmt.Sprintf("%v has the same priority %d and the higher address", ev.Source, p.Priority)
	}
	m.becomeBackup(now, why)
	m.follow(now, p)
}

// meetLesser asserts our state to a master of lower priority, and to switches and
// hosts that may have listened to it (RFC 9568 section 6.4.3; RFC 3768 drops such an
// advert silently, but keepalived answers in version 2 as well).
//
// Each such advert starts its own second burst in keepalived; here the latest one
// counts. That bounds the timers, and a burst still follows the last of them.
func (m *Machine) meetLesser(now time.Time) {
	m.advertise(now)
	m.announce(m.cfg.GARP.LowerPrioRepeat)
	m.lowerPrioAt = after(now, m.cfg.GARP.LowerPrioDelay, m.cfg.GARP.LowerPrioRepeat)
}

// advertise sends an advert and restarts the advertisement timer.
func (m *Machine) advertise(now time.Time) {
	m.send(m.priority)
	m.advertAt = now.Add(m.cfg.AdvertInterval)
}

// sayGoodbye sends the priority-0 advert that lets a backup take over after its skew
// time alone.
func (m *Machine) sayGoodbye() {
	m.send(PriorityLeaving)
	m.counters.GoodbyesSent++
}

func (m *Machine) send(priority uint8) {
	authType, authData := m.auth()
	m.counters.Sent++
	m.emit(Send{Packet: Packet{
		Version:        m.cfg.Version,
		VRID:           m.cfg.VRID,
		Priority:       priority,
		AdvertInterval: m.cfg.AdvertInterval,
		Addresses:      slices.Clone(m.cfg.Addresses),
		AuthType:       authType,
		AuthData:       authData,
		PlainChecksum:  m.cfg.PlainChecksum,
	}})
}

func (m *Machine) announce(count int) {
	if count > 0 {
		m.emit(Announce{Count: count})
	}
}
