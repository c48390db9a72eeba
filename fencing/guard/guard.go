package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// State is what is known of a service.
type State uint8

// The states of a service.
const (
	Unknown State = iota // it may run or not
	Running              // some of it runs
	Stopped              // nothing of it runs, and that was shown
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Running:
		return "running"
	case Stopped:
		return "stopped"
	case Unknown:
	}
	return "unknown"
}

// Command is a command line without a shell: the program, then its arguments.
type Command struct {
	Args []string
}

func (c Command) isSet() bool { return len(c.Args) > 0 }

// Config describes one guarded service.
type Config struct {
	Name string // names the guard, its run file and its lines in the log

	// A service by commands has a Start; Stop and Status may be left out.
	Start, Stop, Status Command

	// PIDFile names the file into which a service by commands writes its main process.
	// It then needs neither Stop nor Status. Empty: it has none.
	PIDFile string

	// Health says whether a service that runs is well, by its exit status; empty: it is.
	// It is asked each HealthInterval (default 1 s), and counts as failed when it has no
	// answer within HealthTimeout (default: HealthInterval). HealthFall failures in a row
	// (default 2) make the service ill.
	Health         Command
	HealthInterval time.Duration
	HealthTimeout  time.Duration
	HealthFall     int

	// Systemd is the unit instead of commands. Units opens the connection to systemd,
	// anew for each operation; go-systemd's dbus.NewWithContext returns what is needed.
	Systemd string
	Units   func(context.Context) (Units, error)

	Env          []string      // "KEY=value", on top of the daemon's own; not for units
	StopTimeout  time.Duration // grace before SIGKILL, limit of a stop command and of a last look; default 2 s
	StartTimeout time.Duration // a service that is not up by then is killed; default 10 s

	// RunDir holds the run files. It must outlive the daemon, and need not outlive the
	// system: /run/solovip.
	RunDir string

	Logger *slog.Logger // gets what the commands say, line by line; default: none

	// Exited is called when a service in the foreground has ended by itself, from a
	// goroutine of the guard. It must not block or call the guard. It may be nil.
	Exited func(error)

	noCgroup bool // for tests of what happens where there is none
}

// Bounds of what is not configured.
const (
	defaultStop  = 2 * time.Second
	defaultStart = 10 * time.Second
	killLimit    = time.Second // from SIGKILL until the processes must be gone

	defaultHealth = time.Second
	defaultFall   = 2
)

// driver is one way to run a service. All methods are called one at a time, except
// state. A context that ends means: no more patience, but an orderly end.
type driver interface { //nolint:interfacebloat // all that the two kinds of services differ in
	start(ctx context.Context, env []string) error
	stop(ctx context.Context) error
	kill(ctx context.Context) error
	state(ctx context.Context) (State, error)
	env() []string // of a command about it
	watched() bool // Exited tells of its end
	close()
}

// rank orders the operations: a higher one cuts a lower one short.
type rank int

const (
	idle rank = iota
	starting
	stopping
	killing
)

// Guard is one guarded service. Its methods may be called concurrently: a Stop cuts a
// Start short, and a Kill both.
type Guard struct {
	name   string
	cfg    Config
	driver driver
	out    *output // of the health command

	turn chan struct{} // holds one token: whoever has it operates the driver

	// mu guards what follows.
	mu      sync.Mutex
	current rank
	cut     context.CancelFunc // ends the current operation's patience
}

// New returns the guard and takes over what a run file in RunDir says of it. It starts
// and stops nothing.
func New(cfg Config) (*Guard, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("guard %q: %w", cfg.Name, err)
	}
	file := runFile(cfg.RunDir, cfg.Name)
	rec, err := loadRecord(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("guard %s: what ran before is unknown: %w; see what runs, stop it, remove the file", cfg.Name, err)
	}
	if rec != nil && rec.Systemd != cfg.Systemd {
		return nil, fmt.Errorf("guard %s: it runs by other means than the configuration says: adopt it and stop it first", cfg.Name)
	}
	g := &Guard{name: cfg.Name, cfg: cfg, out: newOutput(cfg.Logger), turn: make(chan struct{}, 1)}
	g.turn <- struct{}{}
	if cfg.Systemd != "" {
		g.driver = &unit{cfg: cfg, file: file}
	} else {
		g.driver = newCommands(cfg, file, rec)
	}
	return g, nil
}

// complete checks the configuration and fills in defaults.
func (c *Config) complete() error {
	switch {
	case c.Name == "":
		return errors.New("it has no name")
	case c.RunDir == "":
		return errors.New("it has no directory for its run file")
	case c.Systemd == "" && !c.Start.isSet():
		return errors.New("it needs a start command or a systemd unit")
	case c.Systemd != "" && (c.Start.isSet() || c.Stop.isSet() || c.Status.isSet() || c.PIDFile != ""):
		return errors.New("it has both a systemd unit and commands: choose one")
	case c.Systemd != "" && c.Units == nil:
		return errors.New("it has a systemd unit, and there is no connection to systemd")
	case c.StopTimeout < 0 || c.StartTimeout < 0 || c.HealthInterval < 0 || c.HealthTimeout < 0:
		return errors.New("a timeout is negative")
	}
	c.StopTimeout = cmp.Or(c.StopTimeout, defaultStop)
	c.StartTimeout = cmp.Or(c.StartTimeout, defaultStart)
	c.HealthInterval = cmp.Or(c.HealthInterval, defaultHealth)
	c.HealthTimeout = cmp.Or(c.HealthTimeout, c.HealthInterval)
	c.HealthFall = cmp.Or(c.HealthFall, defaultFall)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("guard", c.Name)
	return nil
}

// Name returns the guard's name.
func (g *Guard) Name() string { return g.name }

// Start starts the service and returns when it is up: when the status command or
// systemd says so, or without a status command when the start command has exited with
// 0 or has stayed for a moment; and when the health command, if there is one, says that
// it is well. A service that runs already is left alone. env is added
// to the environment of this start, and of the stop and status commands from then on.
//
// After an error nothing of the service is left running as far as can be shown; what
// cannot, the error says as well. It blocks for StartTimeout, and to clean up as long
// as Kill.
func (g *Guard) Start(ctx context.Context, env []string) error {
	ctx, done, err := g.begin(ctx, starting)
	if err != nil {
		return fmt.Errorf("start guard %s: %w", g.name, err)
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, g.cfg.StartTimeout)
	defer cancel()
	if err := g.driver.start(ctx, env); err != nil {
		return fmt.Errorf("start guard %s: %w", g.name, err)
	}
	if err := g.awaitHealth(ctx); err != nil {
		return errors.Join(fmt.Errorf("start guard %s: %w", g.name, err), g.driver.kill(context.WithoutCancel(ctx)))
	}
	return nil
}

// Stop stops the service and returns nil only when it is shown to be stopped: by the
// stop command, or by SIGTERM when there is none; what is left after StopTimeout, or
// when ctx ends, is killed. It blocks for twice StopTimeout and one second at most.
func (g *Guard) Stop(ctx context.Context) error {
	ctx, done, _ := g.begin(ctx, stopping)
	defer done()
	if err := g.driver.stop(ctx); err != nil {
		return fmt.Errorf("stop guard %s: %w", g.name, err)
	}
	return nil
}

// Kill stops the service without grace: SIGKILL for its processes first, then the stop
// command for what lives elsewhere. Errors and time are those of Stop.
func (g *Guard) Kill(ctx context.Context) error {
	ctx, done, _ := g.begin(ctx, killing)
	defer done()
	if err := g.driver.kill(ctx); err != nil {
		return fmt.Errorf("kill guard %s: %w", g.name, err)
	}
	return nil
}

// Running returns what is known of the service now. The error says why it is unknown.
// It runs the status command, until ctx ends.
func (g *Guard) Running(ctx context.Context) (State, error) {
	s, err := g.driver.state(ctx)
	if err != nil {
		err = fmt.Errorf("guard %s: %w", g.name, err)
	}
	return s, err
}

// Close ends the goroutines of the guard. The service is left as it is; one that still
// writes to its standard output finds nobody there.
func (g *Guard) Close() {
	g.driver.close()
	g.out.close()
}

// begin waits for the turn and returns the context of the operation, whose patience an
// operation of a higher rank can end. Only a start gives up waiting: the others must be
// done, and whoever is before them is bounded.
func (g *Guard) begin(ctx context.Context, r rank) (context.Context, func(), error) {
	g.mu.Lock()
	if g.current != idle && g.current < r {
		g.cut()
	}
	g.mu.Unlock()
	if r == starting {
		select {
		case <-g.turn:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	} else {
		<-g.turn
	}
	ctx, cut := context.WithCancel(ctx)
	g.mu.Lock()
	g.current, g.cut = r, cut
	g.mu.Unlock()
	return ctx, func() {
		g.mu.Lock()
		g.current, g.cut = idle, nil
		g.mu.Unlock()
		cut()
		g.turn <- struct{}{}
	}, nil
}
