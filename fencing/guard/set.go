package guard

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Set is the guards of one claim. They start in order and stop in reverse.
type Set struct {
	guards []*Guard
}

// NewSet returns the set of the guards, in the order in which they start.
func NewSet(guards ...*Guard) *Set { return &Set{guards: guards} }

// Start starts one guard after the other and stops at the first that fails; those
// before it are left running.
func (s *Set) Start(ctx context.Context, env []string) error {
	for _, g := range s.guards {
		if err := g.Start(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// Stop stops all guards in reverse order, also those after one that cannot be stopped.
// It returns nil only when all are shown to be stopped.
func (s *Set) Stop(ctx context.Context) error {
	var errs []error
	for _, g := range slices.Backward(s.guards) {
		errs = append(errs, g.Stop(ctx))
	}
	return errors.Join(errs...)
}

// Kill is Stop without grace, and without an order: of all at once.
func (s *Set) Kill(ctx context.Context) error {
	errs := make([]error, len(s.guards))
	var wg sync.WaitGroup
	for i, g := range s.guards {
		wg.Go(func() { errs[i] = g.Kill(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Running answers for the set what matters to other nodes: Stopped when every guard is
// shown to be stopped, Running when one runs, else Unknown.
func (s *Set) Running(ctx context.Context) (State, error) {
	all := Stopped
	var errs []error
	for _, g := range s.guards {
		one, err := g.Running(ctx)
		errs = append(errs, err)
		if one == Running || all == Stopped {
			all = one
		}
		if all == Running {
			return Running, nil
		}
	}
	return all, errors.Join(errs...)
}

// Close closes all guards.
func (s *Set) Close() {
	for _, g := range s.guards {
		g.Close()
	}
}
