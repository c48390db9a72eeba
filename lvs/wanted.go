package lvs

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// want brings the wanted state up to date with the servers that changed, and emits the
// steps that make it the kernel's.
func (b *Balancer) want(now time.Time, changed []*server) {
	k := &b.kernel
	if k.all {
		changed, b.wanted.Table = b.servers, make(Table)
	}
	for _, s := range changed {
		b.wantServer(now, s)
	}
	b.wanted.Timeouts, b.wanted.Daemons = b.cfg.Timeouts.or(b.kernel.restore), b.wantDaemons()
	if !k.known {
		return // the answer to ReadKernel brings it here again
	}
	have, wanted := k.state.Table, b.wanted.Table
	if !k.all {
		have, wanted = make(Table), make(Table)
		for _, s := range changed {
			for _, key := range s.cfg.Keys {
				wanted[key] = b.wanted.Table[key]
				if e, there := k.state.Table[key]; there {
					have[key] = e
				}
			}
		}
	}
	b.bring(slices.Concat(Diff(have, wanted), diffRest(k.state, b.wanted, k.daemons)))
	if k.all {
		k.state.Table = make(Table)
	}
	k.all = false
	maps.Copy(k.state.Table, wanted) // entries are made anew, never changed
}

// wantServer makes the wanted entries of one server, and starts and ends slow starts.
func (b *Balancer) wantServer(now time.Time, s *server) {
	sorry := !s.quorum && s.cfg.Sorry != nil
	destinations := make([]Destination, 0, len(s.reals)+1)
	if sorry {
		destinations = append(destinations, Destination{Addr: s.cfg.Sorry.Addr, Forwarding: s.cfg.Sorry.Forwarding, Weight: 1})
	}
	for _, r := range s.reals {
		weight := r.grow(now, sorry)
		if delete(b.growing, r); !r.ramp.IsZero() {
			b.growing[r] = true
		}
		if !r.alive || sorry {
			weight = 0
		}
		drained := r.alive && r.over.Kind == Drain // its connections go on, whoever gets the new ones
		if r.over.Kind == Disable || (!r.alive || sorry) && !r.cfg.Inhibit && !drained {
			continue
		}
		destinations = append(destinations, Destination{r.cfg.Addr, r.cfg.Forwarding, weight, r.cfg.Upper, r.cfg.Lower})
	}
	if !sorry && s.cfg.Sorry != nil && s.cfg.Sorry.Inhibit {
		destinations = append(destinations, Destination{Addr: s.cfg.Sorry.Addr, Forwarding: s.cfg.Sorry.Forwarding})
	}
	for _, key := range s.cfg.Keys {
		b.wanted.Table[key] = Entry{s.cfg.Service, s.place(destinations, key)}
	}
}

// place gives destinations the ports that they have in a service. Two that become the
// same are one: the first.
func (s *server) place(destinations []Destination, key ServiceKey) []Destination {
	out := make([]Destination, 0, len(destinations))
	seen := make(map[netip.AddrPort]bool, len(destinations))
	for _, d := range destinations {
		d.Addr = s.at(d.Addr, d.Forwarding.Method, key)
		if !seen[d.Addr] {
			seen[d.Addr] = true
			out = append(out, d)
		}
	}
	return out
}

// at returns where a destination is in a service: with which port. To the kernel a port 0 is that of
// the packet; keepalived writes it in a group.
func (s *server) at(addr netip.AddrPort, m Method, key ServiceKey) netip.AddrPort {
	port := addr.Port()
	switch {
	case m == NAT && (port != 0 || s.cfg.Group):
	case key.FWMark != 0 && m != NAT:
		port = 0 // nothing can change the port, and a mark has none
	default:
		port = key.Addr.Port()
	}
	return netip.AddrPortFrom(addr.Addr(), port)
}

// wantDaemons returns the sync daemons that are to run.
func (b *Balancer) wantDaemons() [2]*Daemon {
	var out [2]*Daemon
	s := b.cfg.Sync
	if s == nil {
		return out
	}
	master := b.masters[s.Instance]
	if s.Instance == "" || master {
		out[Master] = &s.Daemon
	}
	if s.Instance == "" || !master {
		out[Backup] = &s.Daemon
	}
	return out
}
