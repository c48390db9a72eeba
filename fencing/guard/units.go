package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Units is the part of a connection to systemd that a guard uses. The connection of
// github.com/coreos/go-systemd/v22/dbus is one.
type Units interface {
	StartUnitContext(ctx context.Context, unit, mode string, result chan<- string) (int, error)
	StopUnitContext(ctx context.Context, unit, mode string, result chan<- string) (int, error)
	KillUnitContext(ctx context.Context, unit string, signal int32)
	GetUnitPropertiesContext(ctx context.Context, unit string) (map[string]any, error)
	Close()
}

// replace is the job mode: what is queued for the unit gives way.
const replace = "replace"

// unit drives a systemd unit. What it started is in the unit's control group, which
// systemd empties before it calls the unit inactive.
type unit struct {
	cfg  Config
	file string

	mu    sync.Mutex // guards given
	given []string   // the environment of the last start, which the unit does not get
}

func (u *unit) close() {}

func (u *unit) env() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return environment(&record{Name: u.cfg.Name, Env: append(slices.Clone(u.cfg.Env), u.given...)})
}

// watched is false: a unit's end is found by looking at its state.
func (u *unit) watched() bool { return false }

func (u *unit) state(ctx context.Context) (State, error) {
	var s State
	err := u.with(ctx, func(c Units) (err error) {
		s, err = u.look(ctx, c)
		return err
	})
	return s, err
}

// with opens a connection for one operation: systemd and the bus may be restarted
// between two.
func (u *unit) with(ctx context.Context, do func(Units) error) error {
	c, err := u.cfg.Units(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer c.Close()
	return do(c)
}

// look asks for the unit's state.
func (u *unit) look(ctx context.Context, c Units) (State, error) {
	p, err := c.GetUnitPropertiesContext(ctx, u.cfg.Systemd)
	if err != nil {
		return Unknown, fmt.Errorf("ask for %s: %w", u.cfg.Systemd, err)
	}
	active, _ := p["ActiveState"].(string)
	load, _ := p["LoadState"].(string)
	switch active {
	case "active", "reloading", "refreshing", "activating", "deactivating", "maintenance":
		return Running, nil
	case "inactive", "failed":
		if load == "not-found" {
			return Unknown, fmt.Errorf("systemd has no unit %s: is its name right?", u.cfg.Systemd)
		}
		return Stopped, nil
	}
	return Unknown, fmt.Errorf("%s is in the state %q", u.cfg.Systemd, active)
}

func (u *unit) start(ctx context.Context, env []string) error {
	u.mu.Lock()
	u.given = env
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, u.cfg.StartTimeout)
	defer cancel()
	rec, err := newRecord(u.cfg, nil)
	if err != nil {
		return err
	}
	if err := rec.save(u.file); err != nil {
		return err
	}
	err = u.with(ctx, func(c Units) error {
		result := make(chan string, 1) // buffered, or the connection would stand still
		if _, err := c.StartUnitContext(ctx, u.cfg.Systemd, replace, result); err != nil {
			return fmt.Errorf("start %s: %w", u.cfg.Systemd, err)
		}
		select {
		case r := <-result:
			if r != "done" {
				return fmt.Errorf("start %s: the job ended as %q", u.cfg.Systemd, r)
			}
		case <-ctx.Done():
			return fmt.Errorf("start %s: it is not up: %w", u.cfg.Systemd, ctx.Err())
		}
		if s, err := u.look(ctx, c); s != Running {
			return errors.Join(fmt.Errorf("start %s: it is %s after the start", u.cfg.Systemd, s), err)
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, u.kill(context.WithoutCancel(ctx)))
	}
	return nil
}

func (u *unit) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.StopTimeout)
	defer cancel()
	asked := u.with(ctx, func(c Units) error {
		if _, err := c.StopUnitContext(ctx, u.cfg.Systemd, replace, nil); err != nil {
			return fmt.Errorf("stop %s: %w", u.cfg.Systemd, err)
		}
		return u.await(ctx, c)
	})
	if asked == nil {
		return forget(u.file)
	}
	u.cfg.Logger.Warn("guarded unit does not stop: killing it", "unit", u.cfg.Systemd, "err", asked)
	return u.kill(ctx)
}

// kill sends SIGKILL to all of the unit, then the stop job, so that Restart= does not
// start it again.
func (u *unit) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.cfg.StopTimeout+killLimit)
	defer cancel()
	err := u.with(ctx, func(c Units) error {
		c.KillUnitContext(ctx, u.cfg.Systemd, int32(syscall.SIGKILL)) // its effect is looked at
		if _, err := c.StopUnitContext(ctx, u.cfg.Systemd, replace, nil); err != nil {
			return err
		}
		c.KillUnitContext(ctx, u.cfg.Systemd, int32(syscall.SIGKILL)) // a restart in between
		return u.await(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("it cannot be shown to be stopped: %w", err)
	}
	return forget(u.file)
}

// await waits until the unit is shown to be stopped.
func (u *unit) await(ctx context.Context, c Units) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		s, err := u.look(ctx, c)
		if s == Stopped {
			return nil
		}
		if !wait(ctx, pause) {
			return errors.Join(fmt.Errorf("%s is %s", u.cfg.Systemd, s), err, ctx.Err())
		}
	}
}
