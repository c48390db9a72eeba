package lvs

import (
	"fmt"
	"net/netip"
	"slices"
)

// Step is one change of the kernel's state. Each kind is one request to the kernel, but
// for SetDaemon, which may be two.
//
//sumtype:decl
type Step interface {
	fmt.Stringer
	step()
}

type (
	// AddService adds a service without destinations.
	AddService struct {
		Key     ServiceKey
		Service Service
	}
	// EditService changes a service; its destinations and connections stay.
	EditService struct {
		Key     ServiceKey
		Service Service
	}
	// DeleteService takes a service off with its destinations.
	DeleteService struct{ Key ServiceKey }
	// AddDestination adds a destination to a service.
	AddDestination struct {
		Key         ServiceKey
		Destination Destination
	}
	// EditDestination changes a destination; its connections stay.
	EditDestination struct {
		Key         ServiceKey
		Destination Destination
	}
	// DeleteDestination takes a destination off. What becomes of its connections is up to
	// the kernel's settings.
	DeleteDestination struct {
		Key  ServiceKey
		Addr netip.AddrPort
	}
	// Flush takes every service off.
	Flush struct{}
	// SetTimeouts sets the timeouts of connections; one that is 0 stays as it is.
	SetTimeouts struct{ Timeouts Timeouts }
	// SetDaemon starts the sync daemon of a role; one that runs is stopped before. Without
	// a Daemon it is only stopped.
	SetDaemon struct {
		Role   Role
		Daemon *Daemon
	}
)

func (AddService) step()        {}
func (EditService) step()       {}
func (DeleteService) step()     {}
func (AddDestination) step()    {}
func (EditDestination) step()   {}
func (DeleteDestination) step() {}
func (Flush) step()             {}
func (SetTimeouts) step()       {}
func (SetDaemon) step()         {}

// String returns the step for people.
func (s AddService) String() string { return fmt.Sprintf("add service %s %s", s.Key, s.Service) }

// String returns the step for people.
func (s EditService) String() string { return fmt.Sprintf("edit service %s %s", s.Key, s.Service) }

// String returns the step for people.
func (s DeleteService) String() string { return fmt.Sprintf("delete service %s", s.Key) }

// String returns the step for people.
func (s AddDestination) String() string {
	return fmt.Sprintf("add destination of %s: %s", s.Key, s.Destination)
}

// String returns the step for people.
func (s EditDestination) String() string {
	return fmt.Sprintf("edit destination of %s: %s", s.Key, s.Destination)
}

// String returns the step for people.
func (s DeleteDestination) String() string {
	return fmt.Sprintf("delete destination of %s: %s", s.Key, s.Addr)
}

// String returns the step for people.
func (Flush) String() string { return "delete all services" }

// String returns the step for people.
func (s SetTimeouts) String() string { return "set timeouts " + s.Timeouts.String() }

// String returns the step for people.
func (s SetDaemon) String() string {
	if s.Daemon == nil {
		return fmt.Sprintf("stop sync daemon %s", s.Role)
	}
	return fmt.Sprintf("start sync daemon %s: %s", s.Role, s.Daemon)
}

// ServiceOf returns the service that a step is about, if it is about one.
func ServiceOf(s Step) (ServiceKey, bool) {
	switch s := s.(type) {
	case AddService:
		return s.Key, true
	case EditService:
		return s.Key, true
	case DeleteService:
		return s.Key, true
	case AddDestination:
		return s.Key, true
	case EditDestination:
		return s.Key, true
	case DeleteDestination:
		return s.Key, true
	case Flush, SetTimeouts, SetDaemon:
	}
	return ServiceKey{}, false
}

// Diff returns the steps that make the wanted table of the kernel's, in an order in which
// what is in both is never gone on the way: services and destinations are edited in
// place, and what is new or gets more weight comes before what gets less and what goes, so
// that no service is in between without a destination that takes connections, if it has
// one before and after.
func Diff(kernel, wanted Table) []Step {
	var steps []Step
	for _, key := range wanted.Keys() {
		have, there := kernel[key]
		if want := wanted[key].Service; !there {
			steps = append(steps, AddService{key, want})
		} else if have.Service != want {
			steps = append(steps, EditService{key, want})
		}
		steps = append(steps, diffDestinations(key, have, wanted[key])...)
	}
	for _, key := range kernel.Keys() {
		if _, stays := wanted[key]; !stays {
			steps = append(steps, DeleteService{key})
		}
	}
	return steps
}

func diffDestinations(key ServiceKey, have, want Entry) []Step {
	// Most often one of many has changed.
	for len(have.Destinations) > 0 && len(want.Destinations) > 0 && equal(have.Destinations[0], want.Destinations[0]) {
		have.Destinations, want.Destinations = have.Destinations[1:], want.Destinations[1:]
	}
	if len(have.Destinations) == 0 && len(want.Destinations) == 0 {
		return nil
	}
	for h, w := len(have.Destinations)-1, len(want.Destinations)-1; h >= 0 && w >= 0 && equal(have.Destinations[h], want.Destinations[w]); h, w = h-1, w-1 {
		have.Destinations, want.Destinations = have.Destinations[:h], want.Destinations[:w]
	}
	before := make(map[netip.AddrPort]Destination, len(have.Destinations))
	for _, d := range have.Destinations {
		before[d.Addr] = d
	}
	var adds, raises, edits, deletes []Step
	for _, d := range want.Destinations {
		was, there := before[d.Addr]
		delete(before, d.Addr)
		switch {
		case !there:
			adds = append(adds, AddDestination{key, d})
		case was.same(d):
		case d.Weight > was.Weight:
			raises = append(raises, EditDestination{key, d})
		default:
			edits = append(edits, EditDestination{key, d})
		}
	}
	for _, d := range have.Destinations {
		if _, gone := before[d.Addr]; gone {
			deletes = append(deletes, DeleteDestination{key, d.Addr})
		}
	}
	return slices.Concat(adds, raises, edits, deletes)
}

// equal reports whether nothing is to be done about a destination.
func equal(have, want Destination) bool { return have.Addr == want.Addr && have.same(want) }
