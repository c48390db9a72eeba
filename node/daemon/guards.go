package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/solovip/solovip/fencing/guard"
	"github.com/solovip/solovip/node"
)

// guardSet is the guarded services of one claim, of either kind.
type guardSet struct {
	only, always []*guard.Guard
	err          error // what kept them from being made; they cannot be started then

	mu     sync.Mutex                  // guards cancel
	cancel map[bool]context.CancelFunc // by kind: ends a start that is under way
}

// openGuards makes the drivers of a claim's guarded services. They pick up what a
// former run of the daemon started.
func (d *daemon) openGuards(claim string, set claimSettings) *guardSet {
	g := &guardSet{cancel: map[bool]context.CancelFunc{}}
	for _, kind := range []struct {
		always  bool
		configs []guard.Config
		into    *[]*guard.Guard
	}{{false, set.guards, &g.only}, {true, set.always, &g.always}} {
		for _, cfg := range kind.configs {
			cfg.RunDir, cfg.Logger, cfg.Units = d.opt.RunDir, d.log, systemdUnits
			cfg.Exited = func(err error) {
				// Beside the guard's goroutine, which must not wait for the loop.
				go d.post(node.GuardsDone{Claim: claim, Always: kind.always, On: true, Err: fmt.Errorf("guard %s has ended: %w", cfg.Name, cmp.Or(err, errEnded))})
			}
			made, err := guard.New(cfg)
			if err != nil {
				g.err = errors.Join(g.err, fmt.Errorf("guard %s: %w", cfg.Name, err))
				continue
			}
			*kind.into = append(*kind.into, made)
		}
	}
	return g
}

var errEnded = errors.New("exit status 0")

// systemdUnits opens a connection to systemd.
func systemdUnits(ctx context.Context) (guard.Units, error) {
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w: is this host run by systemd?", err)
	}
	return conn, nil
}

// cleanUp stops what a former run left of the services that may run only where the
// claim is held. Those that run everywhere stay.
func (g *guardSet) cleanUp(ctx context.Context) error {
	if g.err != nil {
		return g.err
	}
	return g.stop(ctx, g.only, true)
}

func (g *guardSet) kind(always bool) []*guard.Guard {
	if always {
		return g.always
	}
	return g.only
}

// startGuards starts a claim's services in their order, beside the loop.
func (d *daemon) startGuards(a node.StartGuards) {
	g := d.guards[a.Claim]
	ctx, cancel := context.WithCancel(d.workCtx)
	g.mu.Lock()
	g.cancel[a.Always] = cancel
	g.mu.Unlock()
	env := []string{"SOLOVIP_CLAIM=" + a.Claim, fmt.Sprintf("SOLOVIP_TOKEN=%d", a.Token)}
	d.lanes.run(guardLane(a.Claim, a.Always), func(context.Context) {
		defer cancel()
		err := g.err
		for _, one := range g.kind(a.Always) {
			if err == nil {
				err = one.Start(ctx, env)
			}
		}
		d.post(node.GuardsDone{Claim: a.Claim, Always: a.Always, On: true, Err: err})
	})
}

// stopGuards stops them in the reverse order. A start that is under way is ended first.
func (d *daemon) stopGuards(a node.StopGuards) {
	g := d.guards[a.Claim]
	g.mu.Lock()
	if cancel := g.cancel[a.Always]; cancel != nil {
		cancel()
	}
	g.mu.Unlock()
	d.lanes.run(guardLane(a.Claim, a.Always), func(ctx context.Context) {
		err := g.stop(ctx, g.kind(a.Always), a.Kill)
		d.post(node.GuardsDone{Claim: a.Claim, Always: a.Always, Err: err})
	})
}

// stop stops services, every one of them even if one fails.
func (g *guardSet) stop(ctx context.Context, services []*guard.Guard, kill bool) error {
	var errs []error
	for _, one := range slices.Backward(services) {
		if kill {
			errs = append(errs, one.Kill(ctx))
		} else {
			errs = append(errs, one.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

func guardLane(claim string, always bool) string {
	return fmt.Sprintf("guards %s %t", claim, always)
}
