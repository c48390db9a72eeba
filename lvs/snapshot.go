package lvs

import (
	"net/netip"
	"time"
)

// Snapshot is what a balancer knows and wants at one instant, for people and scripts. Its
// JSON form is stable: fields are added, not changed.
type Snapshot struct {
	Servers []ServerStatus `json:"servers"`
	// Foreign are services of the kernel that are not in the configuration.
	Foreign []string `json:"foreign,omitempty"`
	// Known is false while the kernel's table is not known: then what is shown is wanted.
	Known   bool   `json:"known"`
	Repairs int    `json:"repairs"`           // how often others had changed what is ours
	Trouble string `json:"trouble,omitempty"` // why the kernel's table cannot be read or changed
	Master  bool   `json:"sync_master,omitempty"`
	Backup  bool   `json:"sync_backup,omitempty"` // which sync daemons are wanted
}

// ServerStatus is the status of a virtual server.
type ServerStatus struct {
	Name      string       `json:"name"`
	Services  []string     `json:"services"`
	Scheduler string       `json:"scheduler"`
	Quorum    bool         `json:"quorum"`
	SinceMS   int64        `json:"since_ms"` // how long Quorum is as it is
	Weight    int          `json:"weight"`   // of live servers
	Needed    int          `json:"needed"`   // weight for quorum, without hysteresis
	Sorry     string       `json:"sorry,omitempty"`
	SorryUsed bool         `json:"sorry_used,omitempty"`
	Suspended bool         `json:"suspended,omitempty"` // checks rest: no address is here
	Reals     []RealStatus `json:"reals"`
}

// RealStatus is the status of a real server.
type RealStatus struct {
	Addr     netip.AddrPort `json:"addr"`
	Up       bool           `json:"up"`
	SinceMS  int64          `json:"since_ms"` // how long Up is as it is
	Why      string         `json:"why,omitempty"`
	Weight   int            `json:"weight"`             // in the table; 0 also when it is not there
	Target   int            `json:"target"`             // weight when up and nothing grows
	Override string         `json:"override,omitempty"` // an operator's word
	Growing  bool           `json:"growing,omitempty"`  // slow start
	InTable  bool           `json:"in_table"`
	// Connections are those of all services of the virtual server; nil: not known.
	Connections *Connections  `json:"connections,omitempty"`
	Checks      []CheckStatus `json:"checks,omitempty"`
}

// CheckStatus is the status of one check.
type CheckStatus struct {
	ID      CheckID `json:"id"`
	Known   bool    `json:"known"` // there was a result
	Up      bool    `json:"up"`
	Why     string  `json:"why,omitempty"`
	SinceMS int64   `json:"since_ms"` // how long Up is as it is; -1: not Known
	AgeMS   int64   `json:"age_ms"`   // of the last result; -1: not Known
}

// Connections is how many connections a destination has in the kernel.
type Connections struct {
	Active   uint32 `json:"active"`   // established
	Inactive uint32 `json:"inactive"` // of any other state
}

// Count returns the connections of a destination of a service; false: they are not known.
type Count func(key ServiceKey, addr netip.AddrPort) (Connections, bool)

// Snapshot returns what the balancer knows and wants, with the connections that count knows,
// if it is not nil. It shares nothing with the balancer.
func (b *Balancer) Snapshot(now time.Time, count Count) Snapshot {
	out := Snapshot{
		Known: b.kernel.known, Repairs: b.kernel.repairs, Trouble: b.kernel.readErr,
		Master: b.wanted.Daemons[Master] != nil, Backup: b.wanted.Daemons[Backup] != nil,
	}
	if out.Trouble == "" {
		out.Trouble = b.kernel.applyErr
	}
	for _, k := range b.kernel.foreign {
		out.Foreign = append(out.Foreign, k.String())
	}
	for _, s := range b.servers {
		out.Servers = append(out.Servers, b.serverStatus(now, s, count))
	}
	return out
}

func (b *Balancer) serverStatus(now time.Time, s *server, count Count) ServerStatus {
	st := ServerStatus{
		Name: s.cfg.Name, Scheduler: s.cfg.Service.Scheduler, Quorum: s.quorum, SinceMS: age(now, s.since),
		Weight: b.weigh(s), Needed: s.cfg.Quorum, Suspended: b.suspended(s),
	}
	for _, k := range s.cfg.Keys {
		st.Services = append(st.Services, k.String())
	}
	if s.cfg.Sorry != nil {
		st.Sorry, st.SorryUsed = s.cfg.Sorry.Addr.String(), !s.quorum
	}
	for _, r := range s.reals {
		st.Reals = append(st.Reals, b.realStatus(now, r, count))
	}
	return st
}

func (b *Balancer) realStatus(now time.Time, r *real, count Count) RealStatus {
	st := RealStatus{
		Addr: r.cfg.Addr, Up: r.alive, SinceMS: age(now, r.since), Why: r.why, Target: r.target(), Growing: !r.ramp.IsZero(),
	}
	if r.over.Kind != NoOverride {
		st.Override = r.over.Kind.String()
	}
	for _, key := range r.server.cfg.Keys {
		addr := r.server.at(r.cfg.Addr, r.cfg.Forwarding.Method, key)
		entry := b.wanted.Table[key]
		if i := entry.find(addr); i >= 0 {
			st.InTable, st.Weight = true, entry.Destinations[i].Weight // the same in all services
		}
		if count == nil {
			continue
		}
		if c, known := count(key, addr); known {
			if st.Connections == nil {
				st.Connections = &Connections{}
			}
			st.Connections.Active += c.Active
			st.Connections.Inactive += c.Inactive
		}
	}
	for _, use := range r.cfg.Checks {
		c := b.checks[use.ID]
		st.Checks = append(st.Checks, CheckStatus{use.ID, c.known, c.up, c.why, age(now, c.since), age(now, c.at)})
	}
	return st
}

// age returns how long ago an instant was, in milliseconds; -1: there was none.
func age(now, at time.Time) int64 {
	if at.IsZero() {
		return -1
	}
	return now.Sub(at).Milliseconds()
}
