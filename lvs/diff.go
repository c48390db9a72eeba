package lvs

import (
	"errors"
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

// Apply returns the table that the steps make of t, as the kernel would. A step that the
// kernel would refuse is an error that names it; then the table is what the steps before
// it made. Steps that are about no table change nothing.
func (t Table) Apply(steps []Step) (Table, error) {
	out := t.Clone()
	for _, s := range steps {
		if err := out.apply(s); err != nil {
			return out, fmt.Errorf("%s: %w", s, err)
		}
	}
	return out, nil
}

// The kernel's answers to steps that do not fit.
var (
	errExists  = errors.New("is there already")
	errMissing = errors.New("is not there")
)

func (t Table) apply(s Step) error {
	switch s := s.(type) {
	case AddService:
		if _, there := t[s.Key]; there {
			return errExists
		}
		t[s.Key] = Entry{Service: s.Service}
	case EditService:
		e, there := t[s.Key]
		if !there {
			return errMissing
		}
		e.Service = s.Service
		t[s.Key] = e
	case DeleteService:
		if _, there := t[s.Key]; !there {
			return errMissing
		}
		delete(t, s.Key)
	case AddDestination:
		return t.applyDestination(s.Key, s.Destination.Addr, func(e *Entry, i int) error {
			if i >= 0 {
				return errExists
			}
			e.Destinations = append(e.Destinations, s.Destination)
			return nil
		})
	case EditDestination:
		return t.applyDestination(s.Key, s.Destination.Addr, func(e *Entry, i int) error {
			if i < 0 {
				return errMissing
			}
			e.Destinations[i] = s.Destination
			return nil
		})
	case DeleteDestination:
		return t.applyDestination(s.Key, s.Addr, func(e *Entry, i int) error {
			if i < 0 {
				return errMissing
			}
			e.Destinations = slices.Delete(e.Destinations, i, i+1)
			return nil
		})
	case Flush:
		clear(t)
	case SetTimeouts, SetDaemon:
	}
	return nil
}

// applyDestination calls f with a service and the index of a destination, or -1.
func (t Table) applyDestination(key ServiceKey, addr netip.AddrPort, f func(e *Entry, i int) error) error {
	e, there := t[key]
	if !there {
		return errMissing
	}
	if err := f(&e, e.find(addr)); err != nil {
		return err
	}
	t[key] = e
	return nil
}
