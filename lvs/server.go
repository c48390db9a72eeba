package lvs

import (
	"net/netip"
	"time"
)

// server is a virtual server while it runs.
type server struct {
	cfg     VirtualServer
	reals   []*real
	quorum  bool
	told    bool      // quorum was looked at once
	since   time.Time // of quorum
	notices []Action  // of its real servers, on their way out
}

// real is a real server while it runs.
type real struct {
	cfg    RealServer
	server *server
	judged bool // alive says something
	alive  bool
	told   bool      // that it is down
	since  time.Time // of alive
	why    string    // it is down
	weight int       // by configuration and checks
	// ramp is since when its weight grows; zero: it has grown.
	ramp    time.Time
	serving bool // it got connections the last time that the table was made
	placed  bool // the table was made before, so one that begins to serve starts slowly
	reached int  // how many steps of the ramp the table has
	over    Override
}

// newServer makes a server of its configuration, with the state of the one before, if any.
func newServer(v VirtualServer, before *server) *server {
	s := &server{cfg: v}
	known := make(map[netip.AddrPort]*real)
	if before != nil {
		s.quorum, s.told, s.since = before.quorum, before.told, before.since
		for _, r := range before.reals {
			known[r.cfg.Addr] = r
		}
	}
	for _, cfg := range v.Reals {
		r := &real{placed: before != nil}
		if old := known[cfg.Addr]; old != nil {
			*r = *old
		}
		r.cfg, r.server = cfg, s
		s.reals = append(s.reals, r)
	}
	return s
}

// judge brings one real server up to date with its checks and the operator's word.
func (b *Balancer) judge(now time.Time, r *real) {
	alive, pending, why := true, false, ""
	weight := r.cfg.Weight
	for _, use := range r.cfg.Checks {
		c := b.checks[use.ID]
		switch {
		case c.known && !c.up:
			alive, pending, why = false, false, c.why
		case !c.known && use.Alpha && alive && (!r.judged || !r.alive):
			// A server that is up stays so when a reload gives it another check.
			alive, pending, why = false, true, "not checked yet"
		}
		switch c.adjust.Kind {
		case Keep:
		case Set:
			weight += c.adjust.Value - r.cfg.Weight
		case Add:
			weight += c.adjust.Value
		}
	}
	weight = min(max(weight, 0), MaxWeight)
	over := b.override(r)
	if r.judged && r.alive == alive && r.weight == weight && r.over == over && (alive || pending || r.told) {
		r.why = why
		return
	}
	b.dirty[r.server] = true
	if !r.judged || r.alive != alive {
		r.since = now
	}
	b.turned(r, alive, pending, why)
	r.judged, r.alive, r.why, r.weight, r.over = true, alive, why, weight, over
}

// turned tells that a real server came up or went down. Of one that is up from the start
// nobody is told unless InitNotifies asks for it; one that is down only because it is not
// checked yet is told of when a check has failed.
func (b *Balancer) turned(r *real, alive, pending bool, why string) {
	name := r.server.cfg.Name
	notify := func(what Notification) {
		r.server.notices = append(r.server.notices, Notify{What: what, Server: name, Real: r.cfg.Addr})
	}
	switch {
	case alive && !r.judged:
		if b.cfg.InitNotifies {
			notify(RealUp)
		}
	case alive && !r.alive:
		b.tell(false, name, "real server "+r.cfg.Addr.String()+" is up", "all its checks succeed")
		notify(RealUp)
		r.told = false
	case !alive && !pending && !r.told:
		b.tell(true, name, "real server "+r.cfg.Addr.String()+" is down", why)
		notify(RealDown)
		r.told = true
	}
}

// target is the weight that a real server is to have when it is up and nothing grows.
func (r *real) target() int {
	switch r.over.Kind {
	case NoOverride:
	case Drain, Disable:
		return 0
	case OverrideWeight:
		return r.over.Weight
	}
	return r.weight
}

// weigh returns the weight that counts for quorum: of servers that are up and may get
// connections. One whose weight grows counts in full.
func (*Balancer) weigh(s *server) int {
	sum := 0
	for _, r := range s.reals {
		if r.alive {
			sum += r.target()
		}
	}
	return sum
}

// grow returns the weight that a real server has at this instant: less than its target
// while it starts slowly. brought says that the sorry server has its place.
func (r *real) grow(now time.Time, brought bool) int {
	target := r.target()
	serves := r.alive && target > 0 && !brought
	switch {
	case !serves:
		r.ramp = time.Time{}
	case !r.serving && r.placed && r.cfg.SlowStart > 0:
		r.ramp = now
	}
	r.serving, r.placed = serves, true
	if r.ramp.IsZero() {
		return target
	}
	r.reached = rampSteps
	if r.cfg.SlowStart > 0 {
		r.reached = int(min(now.Sub(r.ramp)*rampSteps/r.cfg.SlowStart, rampSteps))
	}
	if r.reached == rampSteps {
		r.ramp = time.Time{}
	}
	return max(target*r.reached/rampSteps, 1)
}

// rampDue returns when the weight grows next; zero: it does not.
func (r *real) rampDue() time.Time {
	if r.ramp.IsZero() {
		return time.Time{}
	}
	after := time.Duration(r.reached+1) * r.cfg.SlowStart
	return r.ramp.Add((after + rampSteps - 1) / rampSteps) // rounded up, so that the step is reached then
}
