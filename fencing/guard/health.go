package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Watch looks after a service that was started, each HealthInterval, until it has ended
// or is ill, and returns why; or until ctx ends, and returns its error. It changes
// nothing. What cannot be found out, as when systemd does not answer, is no reason.
func (g *Guard) Watch(ctx context.Context) error {
	tick := time.NewTicker(g.cfg.HealthInterval)
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if g.ended(ctx) {
			return fmt.Errorf("guard %s has ended", g.name)
		}
		err := g.healthy(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			failed = 0
			continue
		}
		if failed++; failed >= g.cfg.HealthFall {
			return fmt.Errorf("guard %s is not healthy, %d times in a row: %w", g.name, failed, err)
		}
	}
}

// ended reports whether the service is shown not to run any more.
func (g *Guard) ended(ctx context.Context) bool {
	if g.driver.watched() {
		return false // its end is told
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.HealthTimeout)
	defer cancel()
	s, _ := g.driver.state(ctx) // why it is unknown does not matter here
	return s == Stopped
}

// healthy runs the health command; nil when there is none.
func (g *Guard) healthy(ctx context.Context) error {
	if !g.cfg.Health.isSet() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.HealthTimeout)
	defer cancel()
	follow := func(r *os.File) { g.out.follow(r, "health", slog.LevelDebug) }
	if err := run(ctx, g.cfg.Health.Args, g.driver.env(), follow); err != nil {
		return fmt.Errorf("health command: %w", err)
	}
	return nil
}

// awaitHealth waits until a service that has just come up is well.
func (g *Guard) awaitHealth(ctx context.Context) error {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, g.cfg.HealthInterval) {
		err := g.healthy(ctx)
		if err == nil {
			return nil
		}
		if !wait(ctx, pause) {
			return errors.Join(errors.New("it is up and not healthy"), err)
		}
	}
}

// Watch looks after all guards of the set, and returns when the first has ended or is ill.
func (s *Set) Watch(ctx context.Context) error {
	if len(s.guards) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan error, len(s.guards))
	var wg sync.WaitGroup
	for _, g := range s.guards {
		wg.Go(func() { found <- g.Watch(ctx) })
	}
	first := <-found
	cancel()
	wg.Wait()
	return first
}
