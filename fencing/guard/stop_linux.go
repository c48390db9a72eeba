package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

func (c *commands) stop(ctx context.Context) error {
	c.setEnding(true)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StopTimeout)
	defer cancel()
	if c.stoppedAlready(ctx) {
		return c.finish()
	}
	stopErr := c.ask(ctx)
	if c.awaitStopped(ctx, stopErr) {
		return c.finish()
	}
	c.cfg.Logger.Warn("guarded service does not stop: killing it", "stop_command", stopErr)
	return c.verify(stopErr, c.killFamily())
}

// stoppedAlready has a first look, which may not take the time that is for stopping: a
// status command that hangs is no reason not to try.
func (c *commands) stoppedAlready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StopTimeout/4)
	defer cancel()
	s, _ := c.state(ctx)
	return s == Stopped
}

// ask asks the service to stop: by its stop command, or by a signal when there is none
// or it did not work.
func (c *commands) ask(ctx context.Context) error {
	stopErr := errNoStop
	if c.cfg.Stop.isSet() {
		if stopErr = c.runStop(ctx); stopErr == nil {
			return nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filed != nil && !c.cfg.Stop.isSet() {
		// The main process sees to the others.
		signalOne(process{pid: c.filed.leader, ticks: c.filed.ticks}, unix.SIGTERM)
		return stopErr
	}
	if c.rec != nil {
		if members, _, err := c.fam.look(); err == nil {
			c.fam.signal(members, unix.SIGTERM)
		}
	}
	return stopErr
}

// runStop runs the stop command. It fails for many services when there is nothing to
// stop; so when there is no run file, its exit status says nothing.
func (c *commands) runStop(ctx context.Context) error {
	err := run(ctx, c.cfg.Stop.Args, c.env(), c.output("stop"))
	c.mu.Lock()
	defer c.mu.Unlock()
	if code, ok := exitCode(err); ok && !cannotRun(code) && c.rec == nil {
		return nil
	}
	return err
}

// cannotRun reports the exits by which a shell says that it could not run a command.
func cannotRun(code int) bool { return code == 126 || code == 127 }

// awaitStopped waits until the service is shown to be stopped, or ctx ends.
func (c *commands) awaitStopped(ctx context.Context, stopErr error) bool {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		s, err := c.state(ctx)
		if shown(s, err, stopErr) {
			return true
		}
		if stopErr != nil && errors.Is(err, errNoStatus) {
			return false // nothing will ever show it
		}
		if !wait(ctx, pause) {
			return false
		}
	}
}

// shown is what counts as proof: the state, or the stop command's word where nothing
// else can tell.
func shown(s State, err, stopErr error) bool {
	return s == Stopped || (errors.Is(err, errNoStatus) && stopErr == nil)
}

func (c *commands) kill(ctx context.Context) error {
	c.setEnding(true)
	killErr := c.killFamily()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StopTimeout)
	defer cancel()
	stopErr := errNoStop
	if c.cfg.Stop.isSet() && !c.gone(ctx) {
		if stopErr = c.runStop(ctx); stopErr == nil {
			c.awaitStopped(ctx, stopErr)
		}
	}
	return c.verify(stopErr, killErr)
}

// gone reports whether the family was all there was, and is no more. It does not ask
// the status command: that may hang, and the time is for the stop command.
func (c *commands) gone(ctx context.Context) bool {
	if c.cfg.Status.isSet() {
		return false
	}
	s, _ := c.state(ctx)
	return s == Stopped
}

func (c *commands) killFamily() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := []error{c.follow()}
	for _, f := range c.families() {
		errs = append(errs, f.kill())
	}
	return errors.Join(errs...)
}

func (c *commands) setEnding(v bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = v
}

// verify is the last look.
func (c *commands) verify(stopErr, killErr error) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.StopTimeout)
	defer cancel()
	s, err := c.state(ctx)
	if shown(s, err, stopErr) {
		return c.finish()
	}
	if s == Running {
		err = errors.New("it still runs")
	}
	if stopErr != nil && !errors.Is(stopErr, errNoStop) {
		err = fmt.Errorf("%w; stop command: %w", err, stopErr)
	}
	return errors.Join(fmt.Errorf("it cannot be shown to be stopped: %w", err), killErr)
}

// finish notes that the service is stopped.
func (c *commands) finish() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec != nil && c.rec.Cgroup != "" {
		c.wg.Go(c.rec.Cgroup.remove) // which may have to wait
	}
	c.rec, c.fam, c.filed, c.child, c.looked = nil, nil, nil, nil, false
	c.stopped = true
	return forget(c.file)
}
