package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/solovip/solovip/fencing/guard"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/node"
)

// guardSet is the guarded services of one claim, of either kind.
type guardSet struct {
	only, always *guard.Set
	err          error // what kept them from being made; they cannot be started then

	mu     sync.Mutex                  // guards cancel
	cancel map[bool]context.CancelFunc // by kind: ends a start that is under way, and the looking after that follows
}

// openGuards makes the drivers of a claim's guarded services. They pick up what a
// former run of the daemon started.
func (d *daemon) openGuards(claim string, set claimSettings) *guardSet {
	g := &guardSet{cancel: map[bool]context.CancelFunc{}}
	for _, kind := range []struct {
		always  bool
		configs []guard.Config
		into    **guard.Set
	}{{false, set.guards, &g.only}, {true, set.always, &g.always}} {
		var made []*guard.Guard
		for _, cfg := range kind.configs {
			cfg.RunDir, cfg.Logger, cfg.Units = d.opt.RunDir, d.log, systemdUnits
			cfg.Exited = func(err error) {
				// Beside the guard's goroutine, which must not wait for the loop.
				go d.post(node.GuardsDone{Claim: claim, Always: kind.always, On: true, Err: fmt.Errorf("guard %s has ended: %w", cfg.Name, cmp.Or(err, errEnded))})
			}
			one, err := guard.New(cfg)
			if err != nil {
				g.err = errors.Join(g.err, fmt.Errorf("guard %s: %w", cfg.Name, err))
				continue
			}
			made = append(made, one)
		}
		*kind.into = guard.NewSet(made...)
	}
	return g
}

var errTooLate = errors.New("the permission has ended meanwhile")

var errEnded = errors.New("exit status 0")

// systemdUnits opens a connection to systemd.
func systemdUnits(ctx context.Context) (guard.Units, error) {
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w: is this host run by systemd?", err)
	}
	return conn, nil
}

// close ends what follows the services; they stay as they are.
func (g *guardSet) close() {
	g.mu.Lock()
	for _, cancel := range g.cancel {
		cancel()
	}
	g.mu.Unlock()
	g.only.Close()
	g.always.Close()
}

func (g *guardSet) kind(always bool) *guard.Set {
	if always {
		return g.always
	}
	return g.only
}

// startGuards starts a claim's services in their order, beside the loop, and then looks
// after them until they are stopped.
func (d *daemon) startGuards(a node.StartGuards) {
	g := d.guards[a.Claim]
	if !a.Always {
		if err := d.run.settle(a.Claim); err != nil {
			d.log.Warn("should this daemon die, the next holder waits for guarded services that do not run", "claim", a.Claim, "err", err)
		}
	}
	ctx, cancel := context.WithCancel(d.workCtx)
	g.mu.Lock()
	g.cancel[a.Always] = cancel
	g.mu.Unlock()
	env := []string{"SOLOVIP_CLAIM=" + a.Claim, fmt.Sprintf("SOLOVIP_TOKEN=%d", a.Token)}
	d.lanes.Run(guardLane(a.Claim, a.Always), func(context.Context) {
		err := g.err
		if err == nil && !a.Until.IsZero() && !boottime.Now().Before(a.Until) {
			err = errTooLate
		}
		if err == nil {
			err = g.kind(a.Always).Start(ctx, env)
		}
		d.post(node.GuardsDone{Claim: a.Claim, Always: a.Always, On: true, Err: err})
		if err != nil {
			cancel()
			return
		}
		d.work.Go(func() error {
			defer cancel()
			if err := g.kind(a.Always).Watch(ctx); ctx.Err() == nil {
				d.post(node.GuardsDone{Claim: a.Claim, Always: a.Always, On: true, Err: err})
			}
			return nil
		})
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
	d.lanes.Run(guardLane(a.Claim, a.Always), func(ctx context.Context) {
		stop := g.kind(a.Always).Stop
		if a.Kill {
			stop = g.kind(a.Always).Kill
		}
		err := stop(ctx)
		d.post(node.GuardsDone{Claim: a.Claim, Always: a.Always, Err: err})
	})
}

func guardLane(claim string, always bool) string {
	return fmt.Sprintf("guards %s %t", claim, always)
}
