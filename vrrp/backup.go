package vrrp

import (
	"fmt"
	"time"
)

// tickBackup does what is due in BACKUP.
func (m *Machine) tickBackup(now time.Time) {
	if due(m.overdueAt, now) {
		m.tellOverdue()
	}
	if m.Wants() {
		if due(m.wantAgainAt, now) {
			m.wish(now)
		}
		return
	}
	if due(m.downAt(), now) {
		m.wish(now)
	}
}

// hearInBackup follows RFC 9568 and RFC 3768 section 6.4.2.
func (m *Machine) hearInBackup(now time.Time, ev Received) {
	p := ev.Packet
	m.note(now, ev)
	switch {
	case p.Priority == PriorityLeaving:
		m.masterGoes(now)
	case p.Priority >= m.priority:
		m.preemptFrom = time.Time{}
		m.follow(now, p)
	case !m.cfg.Preempt || m.preemptDelayed(now):
		m.follow(now, p)
	default:
		// A live master of lower priority: its advert is dropped, so that our timer runs
		// out and we take over. It is not silent, though.
		m.overdueAt = now.Add(overdueAfter(p.AdvertInterval))
		if m.Wants() && !m.wantAlive {
			m.wish(now)
		}
	}
}

// note keeps an advert as evidence.
func (m *Machine) note(now time.Time, ev Received) {
	m.heard = heard{
		addr:     ev.Source,
		priority: ev.Packet.Priority,
		interval: ev.Packet.AdvertInterval,
		at:       now,
	}
}

// follow restarts the master-down timer for the master that sent p; version 3 learns
// the master's interval (RFC 9568 section 6.4.2), version 2 has checked that it is ours.
func (m *Machine) follow(now time.Time, p Packet) {
	m.masterInterval = p.AdvertInterval
	m.downFrom, m.masterLeft = now, false
	m.overdueAt = now.Add(overdueAfter(p.AdvertInterval))
	m.unwant(fmt.Sprintf("master alive with priority %d", p.Priority))
}

// masterGoes is a priority-0 advert: only the skew time is left to wait (RFC 9568
// section 6.4.2). A machine that already wants has waited enough.
func (m *Machine) masterGoes(now time.Time) {
	m.masterLeft = true
	m.tellOverdue()
	if m.Wants() {
		m.wish(now)
		return
	}
	m.downFrom = now
}

// preemptDelayed reports whether a live master of lower priority is still to be
// respected. The delay counts from the first such advert. Until then each one restarts
// the master-down timer, and afterwards none does, so that preemption comes that much
// later and a master that dies is still replaced in time (measured on keepalived 2.2.7).
func (m *Machine) preemptDelayed(now time.Time) bool {
	if m.cfg.PreemptDelay == 0 {
		return false
	}
	if m.preemptFrom.IsZero() {
		m.preemptFrom = now
	}
	return now.Before(m.preemptFrom.Add(m.cfg.PreemptDelay))
}

// yieldToHeard makes up for a priority that fell: the adverts of a live master, dropped
// so far because ours was higher, count now.
func (m *Machine) yieldToHeard(now time.Time) {
	h := m.heard
	if h.priority < m.priority || !h.at.After(m.downFrom) || !m.alive(now) {
		return
	}
	m.masterInterval = h.interval
	m.downFrom, m.masterLeft = h.at, false
	m.unwant(fmt.Sprintf("our priority fell to %d", m.priority))
}

// wish says that we would be MASTER, and why, as things stand now.
func (m *Machine) wish(now time.Time) {
	switch {
	case m.alive(now):
		m.emitWant(now, ReasonPreempt, true)
	case m.masterLeft:
		m.emitWant(now, ReasonLeft, false)
	case m.want == ReasonOwner:
		m.emitWant(now, ReasonOwner, false)
	default:
		m.emitWant(now, ReasonTimeout, false)
	}
}

func (m *Machine) emitWant(now time.Time, why Reason, alive bool) {
	m.want, m.wantAlive = why, alive
	m.wantAgainAt = now.Add(m.cfg.AdvertInterval)
	m.emit(Want{Why: why, Alive: alive})
}

func (m *Machine) unwant(why string) {
	if m.Wants() {
		m.want = 0
		m.emit(Unwant{Why: why})
	}
}

// tellOverdue says once per silence that adverts are missing.
func (m *Machine) tellOverdue() {
	if !m.overdueAt.IsZero() {
		m.overdueAt = time.Time{}
		m.emit(Overdue{})
	}
}
