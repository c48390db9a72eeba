package lvs

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"
)

// State is everything of IPVS that this package looks after.
type State struct {
	Table    Table
	Timeouts Timeouts
	Daemons  [2]*Daemon // by Role; nil: does not run
}

// Timeouts is how long IPVS keeps connections that are silent, in whole seconds; as
// something wanted, 0 is what the kernel has.
type Timeouts struct {
	TCP, TCPFin, UDP time.Duration
}

// or returns the timeouts, and of o those that are 0.
func (t Timeouts) or(o Timeouts) Timeouts {
	return Timeouts{cmp.Or(t.TCP, o.TCP), cmp.Or(t.TCPFin, o.TCPFin), cmp.Or(t.UDP, o.UDP)}
}

// where returns those timeouts that are not 0 in o.
func (t Timeouts) where(o Timeouts) Timeouts {
	if o.TCP == 0 {
		t.TCP = 0
	}
	if o.TCPFin == 0 {
		t.TCPFin = 0
	}
	if o.UDP == 0 {
		t.UDP = 0
	}
	return t
}

// String returns the timeouts for people.
func (t Timeouts) String() string {
	return fmt.Sprintf("tcp %s tcpfin %s udp %s", t.TCP, t.TCPFin, t.UDP)
}

// Role is what a sync daemon does.
type Role uint8

// The roles.
const (
	Master Role = iota // tells others of the connections here
	Backup             // hears of the connections of others
)

// String returns "master" or "backup".
func (r Role) String() string { return [...]string{"master", "backup"}[r] }

// Daemon is what a sync daemon is started with.
type Daemon struct {
	Interface string
	ID        uint8
	MaxLen    uint16 // of a message, in bytes; as something wanted, 0 is any
	Port      uint16
	TTL       uint8
	Group     netip.Addr
}

// String returns the daemon for people.
func (d *Daemon) String() string {
	return fmt.Sprintf("%s id %d to %s port %d", d.Interface, d.ID, d.Group, d.Port)
}

// same reports whether a daemon that runs needs no restart to be the wanted one. The kernel
// raises a MaxLen that is too small for it, and takes its own for 0.
func (d *Daemon) same(want *Daemon) bool {
	if d == nil || want == nil {
		return d == want
	}
	const least = 1024 // of a backup
	have := *d
	if want.MaxLen == 0 || want.MaxLen < least && have.MaxLen == least {
		have.MaxLen = want.MaxLen
	}
	return have == *want
}

// diffRest returns the steps for what is beside the table: daemons that are wanted or were
// started by us, and timeouts. A daemon that goes goes before one comes.
func diffRest(kernel, wanted State, ours [2]bool) []Step {
	var stops, starts []Step
	for _, role := range []Role{Master, Backup} {
		have, want := kernel.Daemons[role], wanted.Daemons[role]
		switch {
		case have.same(want):
		case want != nil:
			starts = append(starts, SetDaemon{role, want})
		case ours[role]:
			stops = append(stops, SetDaemon{role, nil})
		}
	}
	steps := append(stops, starts...)
	differs := func(have, want time.Duration) bool { return want != 0 && have != want }
	k, w := kernel.Timeouts, wanted.Timeouts
	if differs(k.TCP, w.TCP) || differs(k.TCPFin, w.TCPFin) || differs(k.UDP, w.UDP) {
		steps = append(steps, SetTimeouts{w})
	}
	return steps
}
