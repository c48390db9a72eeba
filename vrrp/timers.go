package vrrp

import "time"

// This file has every formula about time. All intervals are exact durations: the
// RFCs count version 3 in centiseconds, which only the wire needs.

// skewTime is how much longer a machine of lower priority waits, so that of several
// backups the best one speaks first (RFC 3768 section 6.1: in seconds, whatever the
// interval is; RFC 9568 section 6.1: in parts of the master's interval).
func skewTime(v Version, priority uint8, masterInterval time.Duration) time.Duration {
	unit := masterInterval
	if v == V2 {
		unit = time.Second
	}
	return unit * time.Duration(256-int(priority)) / 256
}

// MasterDownInterval returns how long a master that advertises at this interval may be silent (RFC
// 3768 and RFC 9568 section 6.1, where downAdverts is 3) before a backup of this priority
// wants to be MASTER.
func MasterDownInterval(v Version, priority uint8, masterInterval time.Duration, downAdverts int) time.Duration {
	return time.Duration(downAdverts)*masterInterval + skewTime(v, priority, masterInterval)
}

// overdueAfter is how long after an advert the next one counts as missed. One interval
// and a half leaves room for a late one and still ends well before the master-down timer.
func overdueAfter(interval time.Duration) time.Duration {
	return interval + interval/2
}

// nextPeriod returns the next instant of a periodic timer that was due at due: on its
// grid, but never in the past, so that a machine that was frozen does not catch up
// with a burst.
func nextPeriod(due, now time.Time, period time.Duration) time.Time {
	next := due.Add(period)
	if next.After(now) {
		return next
	}
	return now.Add(period)
}

// earliest returns the earliest of the instants that are set, or the zero time.
func earliest(at ...time.Time) time.Time {
	var first time.Time
	for _, t := range at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// due reports whether a timer is set and has expired.
func due(at, now time.Time) bool {
	return !at.IsZero() && !now.Before(at)
}

// after returns the instant d from now, or no instant if there is nothing to do then.
func after(now time.Time, d time.Duration, count int) time.Time {
	if d <= 0 || count <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// MasterDownInterval returns how long this machine, in BACKUP, waits for the master's
// next advert before it wants to be MASTER.
func (m *Machine) MasterDownInterval() time.Duration {
	return MasterDownInterval(m.cfg.Version, m.priority, m.masterInterval, m.cfg.DownAdverts)
}

// downAt returns when the master-down timer expires. It follows from the last advert
// that reset it, so that a change of priority moves it, as it does in keepalived.
func (m *Machine) downAt() time.Time {
	if m.masterLeft {
		return m.downFrom.Add(skewTime(m.cfg.Version, m.priority, m.masterInterval))
	}
	return m.downFrom.Add(m.MasterDownInterval())
}

// alive reports whether the master last heard, if it has not said goodbye, still
// counts as alive: heard within its own master-down interval.
func (m *Machine) alive(now time.Time) bool {
	if m.heard.at.IsZero() || m.heard.priority == PriorityLeaving {
		return false
	}
	return now.Sub(m.heard.at) < MasterDownInterval(m.cfg.Version, m.priority, m.heard.interval, m.cfg.DownAdverts)
}

// Deadline returns when the machine wants its next Tick; the zero time: never. After
// a Tick it lies after that Tick.
func (m *Machine) Deadline() time.Time {
	switch m.state {
	case StateBackup:
		if m.Wants() {
			return earliest(m.overdueAt, m.wantAgainAt)
		}
		return earliest(m.overdueAt, m.downAt())
	case StateMaster:
		return earliest(m.advertAt, m.burstAt, m.lowerPrioAt, m.refreshAt)
	case StateInit, StateFault:
	}
	return time.Time{}
}
