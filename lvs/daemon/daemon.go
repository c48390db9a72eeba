package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/solovip/solovip/checks/runner"
	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/internal/lanes"
	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/lvs/settings"
)

// Options says what to run.
type Options struct {
	File     string // the configuration
	RunDir   string // of the node
	StateDir string // overrides; must survive a reboot
	ConfigID string // for @id lines; empty: the host's name
	// KeepTable leaves the kernel's table as it is at the end.
	KeepTable bool
	Logger    *slog.Logger
	Reload    <-chan struct{} // each value asks for a reload

	// Beat tells who watches this process that its loop runs, each 200 ms.
	Beat func()
	// Leave ends the worker at once; everything stays in place for a successor.
	Leave <-chan struct{}
	// Pause is how long to wait before anything is done: predecessors have died.
	Pause time.Duration
}

// ErrRest is what Run returns when there are no virtual servers in the configuration, or no
// more: nothing is left to do until that changes.
var ErrRest = errors.New("no virtual servers are configured")

// daemon is the shell around one balancer. The loop's goroutine alone uses balancer, plan
// and what stands below them.
type daemon struct {
	opt Options
	log *slog.Logger

	balancer *lvs.Balancer
	plan     settings.Settings
	known    map[lvs.CheckID]lvs.Result // last results, for a successor
	unsaved  bool                       // known has changed since it was last written
	saving   bool                       // it is being written
	loading  bool                       // the configuration is being read
	again    bool                       // and has to be once more
	waiting  map[uint64]chan response   // operators who wait for their answers
	lastID   uint64
	follows  follows
	beaten   time.Time // when the loop last said that it runs

	kernel *kernel
	checks *runner.Runner
	lanes  *lanes.Lanes

	events     chan lvs.Event
	loaded     chan loaded   // has a place: one is read at a time
	saved      chan struct{} // known may be written again
	operations chan operation
	questions  chan question
	work       *errgroup.Group
	workCtx    context.Context //nolint:containedctx // the lifetime of everything that Run starts
}

// loaded is a configuration that was read beside the loop.
type loaded struct {
	plan settings.Settings
	err  error
}

// eventQueue bounds the events that wait for the loop; who brings more waits.
const eventQueue = 256

// stopLimit bounds each part of an orderly stop: the table is taken off, and scripts are told.
const stopLimit = 10 * time.Second

// Run runs checks and balances until ctx ends, and then undoes what was done as far as the
// configuration wants that. It returns nil after an orderly stop, or when it is to leave;
// [ErrRest] when there is nothing to do.
func Run(ctx context.Context, opt Options) error {
	d := &daemon{
		opt: opt, log: opt.Logger,
		known:      map[lvs.CheckID]lvs.Result{},
		waiting:    map[uint64]chan response{},
		events:     make(chan lvs.Event, eventQueue),
		loaded:     make(chan loaded, 1),
		saved:      make(chan struct{}, 1),
		operations: make(chan operation),
		questions:  make(chan question),
	}
	if ready, err := d.firstPlan(ctx); err != nil || !ready {
		return err
	}
	// The socket's lock keeps a second worker away from the same table.
	socket, err := control.Listen(control.LVSDir(opt.RunDir))
	if err != nil {
		return err
	}
	defer socket.Close() // the server has closed it already, if it ever ran
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	d.work, d.workCtx = errgroup.WithContext(work)
	if err := d.open(); err != nil {
		return err
	}
	d.startAdapters(socket)
	end := error(nil)
	d.work.Go(func() error {
		defer cancel() // the loop's end is everybody's
		end = d.loop(ctx)
		return nil
	})
	return errors.Join(d.work.Wait(), end)
}

// firstPlan waits for a configuration that can be run; false: it is to end before there is one.
// The worker for VRRP reads the same file and says what is wrong with it.
func (d *daemon) firstPlan(ctx context.Context) (ready bool, err error) {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	rested := time.After(d.opt.Pause)
	d.opt.Beat()
	for {
		select {
		case <-rested:
			d.load()
		case l := <-d.loaded:
			d.loadAgain()
			switch {
			case l.err == nil && len(l.plan.LVS.Servers) == 0:
				return false, ErrRest
			case l.err == nil:
				d.plan = l.plan
				return true, nil
			default:
				d.log.Error("checks and balancing wait for a configuration without errors", "err", l.err)
			}
		case <-d.opt.Reload:
			d.load()
		case <-beat.C:
			d.opt.Beat()
		case <-d.opt.Leave:
			return false, nil
		case <-ctx.Done():
			return false, nil
		}
	}
}

// load has the configuration read beside the loop: one with thousands of servers takes a while.
// While it is being read, it is read once more after that: what was read last is the newest.
func (d *daemon) load() {
	if d.loading {
		d.again = true
		return
	}
	d.loading = true
	go func() { d.loaded <- d.read() }()
}

// loadAgain takes in that the configuration was read.
func (d *daemon) loadAgain() {
	again := d.again
	if d.loading, d.again = false, false; again {
		d.load()
	}
}

func (d *daemon) read() loaded {
	cfg, report := config.Load(d.opt.File, config.Options{ConfigID: d.opt.ConfigID})
	l := loaded{}
	if report.HasErrors() {
		l.err = fmt.Errorf("%s has errors: `solovip config check %s` shows them", d.opt.File, d.opt.File)
	} else {
		l.plan = settings.New(cfg)
		_, l.err = lvs.New(l.plan.LVS) // what it refuses must not become the plan
	}
	return l
}

// open makes what the loop needs; nothing runs yet.
func (d *daemon) open() error {
	overrides, err := readOverrides(d.opt.StateDir)
	if err != nil {
		d.log.Error("real servers are as configured and checked, whatever operators have said of them", "err", err)
	}
	cfg := d.plan.LVS
	cfg.Overrides = overrides
	if d.balancer, err = lvs.New(cfg); err != nil {
		return fmt.Errorf("%s: %w", d.opt.File, err)
	}
	d.kernel = newKernel(d.post)
	d.lanes = lanes.New(d.workCtx, d.work)
	d.checks, err = runner.New(runner.Config{Log: d.log})
	return err
}

// startAdapters starts everything that brings events.
func (d *daemon) startAdapters(socket net.Listener) {
	server := control.Server{LVS: d.snapshot, Operate: d.operate, Logger: d.log}
	d.work.Go(func() error { return server.Serve(d.workCtx, socket) })
	d.work.Go(func() error { d.kernel.run(d.workCtx); return nil })
	d.work.Go(func() error { return d.checks.Run(d.workCtx) })
	d.work.Go(func() error { d.watchAddresses(d.workCtx); return nil })
}

// post brings an event to the loop; it waits while the queue is full.
func (d *daemon) post(ev lvs.Event) {
	select {
	case d.events <- ev:
	case <-d.workCtx.Done():
	}
}

// snapshot asks the loop how everything stands, and the kernel for its connections.
func (d *daemon) snapshot() lvs.Snapshot {
	q := question{count: d.kernel.connections(d.workCtx), reply: make(chan lvs.Snapshot, 1)}
	select {
	case d.questions <- q:
		return <-q.reply
	case <-d.workCtx.Done():
		return lvs.Snapshot{}
	}
}

// question asks the loop for a snapshot with these connections.
type question struct {
	count lvs.Count
	reply chan lvs.Snapshot
}

func (d *daemon) answer(q question) {
	q.reply <- d.balancer.Snapshot(boottime.Now(), q.count)
}
