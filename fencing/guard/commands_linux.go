package guard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// settle is how long a start command without a status command must stay to count as a
// service in the foreground.
const settle = 200 * time.Millisecond

var (
	// errNoStatus says that only a status command could tell.
	errNoStatus = errors.New("there is no status command to tell")

	// errNoStop stands for the result of a stop command that there is not.
	errNoStop = errors.New("there is no stop command")

	errEscaped = errors.New("the start command has exited, what it started has left its session, and there is no " +
		"stop command: use one, or keep the service in the foreground, or make it a systemd unit")
)

// commands drives a service by commands.
type commands struct {
	cfg  Config
	file string
	out  *output

	// mu guards what follows.
	mu      sync.Mutex
	rec     *record // nil: nothing was started that was not shown to be stopped
	fam     *family // of rec
	filed   *family // of the process that the pid file names, or has named; nil: none
	child   *child  // of rec, when this process started it
	looked  bool    // somebody waits for the end of rec's process
	ending  bool    // a stop or kill is under way: an end is no news
	stopped bool    // the last thing that happened was a stop that worked
	closing chan struct{}
	closed  sync.Once
	wg      sync.WaitGroup
}

func newCommands(cfg Config, file string, rec *record) *commands {
	c := &commands{cfg: cfg, file: file, out: newOutput(cfg.Logger), closing: make(chan struct{})}
	if rec != nil {
		c.remember(rec)
	}
	return c
}

// remember sets the record. The caller holds mu, or is alone.
func (c *commands) remember(rec *record) {
	c.rec, c.fam = rec, &family{leader: rec.PID, ticks: rec.Ticks, mark: rec.Mark, group: rec.Cgroup, known: map[int]uint64{}}
	if rec.MainPID != 0 {
		c.filed = &family{leader: rec.MainPID, ticks: rec.MainTicks, known: map[int]uint64{}}
	}
}

func (c *commands) close() {
	c.closed.Do(func() {
		close(c.closing)
		c.wg.Wait()
		c.out.close()
	})
}

// env is the environment of a command: the daemon's, then that of the start.
func (c *commands) env() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec != nil {
		return environment(c.rec)
	}
	return environment(&record{Name: c.cfg.Name, Env: c.cfg.Env})
}

func environment(rec *record) []string {
	return append(append(os.Environ(), rec.Env...), "SOLOVIP_GUARD="+rec.Name, markName+"="+rec.Mark)
}

// output returns where the output of a command goes. That of the status command is for
// debugging: it runs often.
func (c *commands) output(what string) func(*os.File) {
	level := slog.LevelInfo
	if what == "status" {
		level = slog.LevelDebug
	}
	return func(r *os.File) { c.out.follow(r, what, level) }
}

// look returns the members of the family, if there is one, and the phase of its start.
func (c *commands) look() (members, doubtful []process, at phase, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.follow(); err != nil {
		return nil, nil, "", err
	}
	for _, f := range c.families() {
		more, unsure, err := f.look()
		if err != nil {
			return nil, nil, "", err
		}
		members, doubtful = append(members, more...), append(doubtful, unsure...)
	}
	if c.rec != nil {
		at = c.rec.Phase
	}
	return members, doubtful, at, nil
}

// families returns the one of the start command, and that of the pid file. The caller
// holds mu.
func (c *commands) families() []*family {
	var all []*family
	for _, f := range []*family{c.fam, c.filed} {
		if f != nil {
			all = append(all, f)
		}
	}
	return all
}

// contained reports whether all of the service is in its control group.
func (c *commands) contained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec != nil && c.rec.Contained
}

func (c *commands) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec != nil && c.rec.Phase == phaseForeground
}

func (c *commands) state(ctx context.Context) (State, error) {
	members, doubtful, at, err := c.look()
	switch {
	case err != nil:
		return Unknown, fmt.Errorf("look for its processes: %w", err)
	case len(members) > 0:
		return Running, nil
	case len(doubtful) > 0:
		return Unknown, fmt.Errorf("process %d may belong to it, and is not killed therefore", doubtful[0].pid)
	case c.cfg.Status.isSet():
		return c.status(ctx)
	case at == phaseEscaped:
		return Unknown, fmt.Errorf("%w; see that nothing of it runs, and remove %s", errEscaped, c.file)
	case !c.cfg.Stop.isSet(), c.cfg.PIDFile != "", c.contained(), at == phaseForeground, at == "" && c.wasStopped():
		return Stopped, nil // its processes were all there was
	}
	return Unknown, errNoStatus
}

func (c *commands) wasStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// status runs the status command.
func (c *commands) status(ctx context.Context) (State, error) {
	err := run(ctx, c.cfg.Status.Args, c.env(), c.output("status"))
	code, ok := exitCode(err)
	switch {
	case !ok:
		return Unknown, fmt.Errorf("status command: %w", err)
	case code == 0:
		return Running, nil
	case code == 4, cannotRun(code):
		return Unknown, fmt.Errorf("status command: exit %d", code)
	}
	return Stopped, nil
}

func (c *commands) start(ctx context.Context, env []string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	c.setEnding(false)
	rec, err := newRecord(c.cfg, env)
	if err != nil {
		return err
	}
	switch s, err := c.state(ctx); {
	case s == Running, errors.Is(err, errNoStatus) && c.startedBefore():
		c.watchAdopted()
		return c.take(rec)
	case s == Unknown && !errors.Is(err, errNoStatus):
		return fmt.Errorf("does it run already? %w", err)
	}
	if err := c.spawn(rec); err != nil {
		return err
	}
	if err := c.awaitUp(ctx); err != nil {
		return errors.Join(err, c.kill(context.WithoutCancel(ctx)))
	}
	return nil
}

func (c *commands) startedBefore() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec != nil && c.rec.Phase != phaseStarting
}

// take makes a service that somebody else has started ours to stop.
func (c *commands) take(rec *record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec != nil {
		return nil
	}
	rec.Phase = phaseBackground
	c.remember(rec)
	return rec.save(c.file)
}

// spawn starts the start command. The run file is there before it takes effect; after
// an error it has had none.
func (c *commands) spawn(rec *record) error {
	rec.Mark, rec.Phase = rand.Text(), phaseStarting
	if !c.cfg.noCgroup {
		var err error
		if rec.Cgroup, err = newCgroup(rec.Name, rec.Mark); err != nil {
			c.cfg.Logger.Debug("guarded service without a control group of its own", "why", err)
		}
	}
	ch, err := startGated(c.cfg.Start.Args, environment(rec), &rec.Cgroup, c.output("start"), func(pid int) error {
		p, err := stat(pid)
		if err != nil {
			return err
		}
		rec.PID, rec.Ticks = pid, p.ticks
		return rec.save(c.file)
	})
	if err != nil {
		if rec.Cgroup != "" {
			c.wg.Go(rec.Cgroup.remove)
		}
		return errors.Join(fmt.Errorf("start command: %w", err), forget(c.file))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filed = nil
	c.remember(rec)
	c.child, c.looked, c.stopped = ch, false, false
	return nil
}

// awaitUp waits until the service is up, or cannot come up any more.
func (c *commands) awaitUp(ctx context.Context) error {
	settled := time.NewTimer(settle)
	defer settled.Stop()
	done := c.child.done
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		if c.tells(ctx) {
			return c.up()
		}
		next := time.NewTimer(pause)
		select {
		case <-done:
			if c.child.err != nil {
				return fmt.Errorf("start command: %w", c.child.err)
			}
			if !c.tellable() {
				return c.wentToBackground(ctx)
			}
			done = nil // it has exited with 0; the status command or the pid file decides
		case <-settled.C:
			if !c.tellable() {
				return c.up()
			}
		case <-ctx.Done():
			return fmt.Errorf("it is not up: %w", ctx.Err())
		case <-next.C:
		}
		next.Stop()
	}
}

// tellable reports whether something says when the service is up: its status command, or
// its pid file.
func (c *commands) tellable() bool { return c.cfg.Status.isSet() || c.cfg.PIDFile != "" }

// tells reports whether that says so now.
func (c *commands) tells(ctx context.Context) bool {
	if c.cfg.Status.isSet() {
		s, _ := c.status(ctx)
		return s == Running
	}
	if c.cfg.PIDFile == "" {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.follow() == nil && c.filed != nil
}

// up notes that the service runs, in the foreground if the start command is still there.
func (c *commands) up() error {
	select {
	case <-c.child.done:
		if c.child.err != nil {
			return fmt.Errorf("start command: %w", c.child.err)
		}
		return c.enter(phaseBackground)
	default:
	}
	if err := c.enter(phaseForeground); err != nil {
		return err
	}
	c.watch(c.child)
	return nil
}

// wentToBackground handles a start command that has exited with 0 and about which
// nothing but its family can tell. A daemon leaves its session a moment after that.
func (c *commands) wentToBackground(ctx context.Context) error {
	if !c.cfg.Stop.isSet() {
		wait(ctx, settle)
	}
	members, _, _, err := c.look()
	if err != nil {
		return err
	}
	if len(members) == 0 && !c.cfg.Stop.isSet() {
		return errors.Join(errEscaped, c.enter(phaseEscaped))
	}
	return c.enter(phaseBackground)
}

func (c *commands) enter(p phase) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rec.Phase = p
	if c.filed != nil {
		c.rec.MainPID, c.rec.MainTicks = c.filed.leader, c.filed.ticks
	}
	if p == phaseBackground {
		// What was not put there by the start command, but by an init system that it has
		// asked, is not in its group.
		in, err := c.fam.grouped()
		c.rec.Contained = err == nil && len(in) > 0
	}
	return c.rec.save(c.file)
}

// watch waits in the background for the end of the start command.
func (c *commands) watch(ch *child) {
	rec, started := c.rec, time.Now()
	c.wg.Go(func() {
		select {
		case <-ch.done:
			c.leaderEnded(rec, ch.err, time.Since(started) < c.cfg.StartTimeout)
		case <-c.closing:
		}
	})
}

// watchAdopted waits for the end of a service in the foreground that an earlier daemon
// has started. How it ended is for its parent only to know.
func (c *commands) watchAdopted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec == nil || c.rec.Phase != phaseForeground || c.child != nil || c.looked {
		return
	}
	fd, err := unix.PidfdOpen(c.rec.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return // it has just ended: the next look will tell
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	c.looked = true
	rec := c.rec
	ended := make(chan struct{})
	c.wg.Go(func() {
		defer close(ended)
		waitReadable(f)
	})
	c.wg.Go(func() {
		select {
		case <-ended:
			_ = f.Close()
			c.leaderEnded(rec, errors.New("how is not known"), false)
		case <-c.closing:
			_ = f.Close() // ends the other goroutine
		}
	})
}

// waitReadable blocks until the file can be read, as a pidfd can when its process has
// ended, or is closed.
func waitReadable(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return n > 0 || (err != nil && err != unix.EINTR)
	})
}

// leaderEnded finds out whether the service has ended with its start command, and says
// so. A start command that exits with 0 early may only have been slow to put the
// service into the background.
func (c *commands) leaderEnded(rec *record, how error, early bool) {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.StopTimeout)
	defer cancel()
	members, _, _, err := c.look()
	alive := len(members) > 0 || err != nil
	switch {
	case alive:
	case c.cfg.Status.isSet():
		s, _ := c.status(ctx)
		alive = s == Running
	default:
		alive = how == nil && early && c.cfg.Stop.isSet()
	}
	c.mu.Lock()
	if c.ending || c.rec != rec {
		c.mu.Unlock()
		return // it was told to
	}
	if alive {
		rec.Phase = phaseBackground
		if err := rec.save(c.file); err != nil {
			c.cfg.Logger.Warn("run file of a guard is out of date", "err", err)
		}
	}
	c.mu.Unlock()
	if !alive && c.cfg.Exited != nil {
		c.cfg.Exited(how)
	}
}
