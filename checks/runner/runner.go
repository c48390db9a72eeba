package runner

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/checks"
	"github.com/solovip/solovip/checks/probe"
	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/lvs"
)

const (
	// defaultAttempts is how many attempts on the network run at once, by default, as far
	// as file descriptors go.
	defaultAttempts = 8192
	// defaultScripts is how many scripts run at once, by default.
	defaultScripts = 512
	// grain is how long what comes is collected before it is looked at: so that ten
	// thousand checks a second wake the loop two hundred times at the most.
	grain = 5 * time.Millisecond
	// longest is how long the loop sleeps at the most: its timer stands still while the
	// machine is suspended, and what is due is due at the latest so long after its return.
	longest = time.Second
)

// Config is what a Runner needs.
type Config struct {
	Log *slog.Logger
	// Attempts is how many run at once on the network; default 8192, or a quarter of the
	// file descriptors that we may have: without one a good server would be taken for a bad one.
	Attempts int
	Scripts  int // how many run at once; default 512, or a quarter as well
}

// Runner makes checks. Add, Remove and Results may be used by any goroutine.
type Runner struct {
	cfg     Config
	options probe.Options
	results chan []lvs.Result
	wake    chan struct{}

	mu sync.Mutex // of inbox
	// inbox is what Add and Remove ask for and what attempts found, in order. There is one
	// outcome at a time of each check.
	inbox []message

	// The rest belongs to Run.
	scheduler *checks.Scheduler
	checks    map[lvs.CheckID]*check
	network   lane
	scripts   lane
	pending   []lvs.Result        // not yet taken
	pendingAt map[lvs.CheckID]int // where in pending
	running   sync.WaitGroup
}

// message is one of add, remove, ended, noticed.
type message interface{ message() }

type (
	add struct {
		id lvs.CheckID
		c  config.Checker
	}
	remove struct{ id lvs.CheckID }
	ended  struct {
		check   *check
		attempt checks.Attempt
		outcome probe.Outcome
	}
	noticed struct {
		check   *check
		outcome probe.Outcome
	}
)

func (add) message()     {}
func (remove) message()  {}
func (ended) message()   {}
func (noticed) message() {}

// check is a check that was added and not removed.
type check struct {
	id      lvs.CheckID
	checker config.Checker
	probers []probe.Prober // one for each page
	lane    *lane
	limit   time.Duration
	ctx     context.Context //nolint:containedctx // ends with the check
	cancel  context.CancelFunc
}

// lane bounds how many attempts run at once.
type lane struct {
	most, running int
	waiting       []job
}

type job struct {
	check   *check
	attempt checks.Attempt
}

// New returns a runner that runs nothing yet.
func New(cfg Config) (*Runner, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("ask how many files may be open: %w", err)
	}
	quarter := int(min(files.Cur/4, defaultAttempts))
	return &Runner{
		cfg:       cfg,
		options:   probe.Options{Log: cfg.Log, Files: new(probe.Files)},
		results:   make(chan []lvs.Result),
		wake:      make(chan struct{}, 1),
		scheduler: checks.New(),
		checks:    make(map[lvs.CheckID]*check),
		network:   lane{most: cmp.Or(cfg.Attempts, quarter)},
		scripts:   lane{most: cmp.Or(cfg.Scripts, min(defaultScripts, quarter))},
		pendingAt: make(map[lvs.CheckID]int),
	}, nil
}

// Add begins a check. One of the same id ends; others do not notice. A check that cannot
// be made fails, and its results say why.
func (r *Runner) Add(id lvs.CheckID, c config.Checker) { r.post(add{id, c}) }

// Remove ends a check, and an attempt of it that is under way. A result that was under way
// may still come.
func (r *Runner) Remove(id lvs.CheckID) { r.post(remove{id}) }

// Results returns the channel that brings results: all there are when it is read from, of
// each check the latest. It is closed when Run returns.
func (r *Runner) Results() <-chan []lvs.Result { return r.results }

// post leaves a message for Run.
func (r *Runner) post(m message) {
	r.mu.Lock()
	r.inbox = append(r.inbox, m)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Run makes the checks until ctx ends, and returns nil then: it has the form that an
// errgroup wants. When it returns, all attempts have ended.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		r.running.Wait()
		close(r.results)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(grain):
		}
		var out chan<- []lvs.Result
		if len(r.pending) > 0 {
			out = r.results
		}
		select {
		case <-ctx.Done():
			return nil
		case out <- r.pending:
			r.pending = nil
			clear(r.pendingAt)
		case <-time.After(r.rest()):
		case <-r.wake:
		}
		r.turn(ctx)
	}
}

// rest returns how long there is nothing to do, if nothing comes.
func (r *Runner) rest() time.Duration {
	due := r.scheduler.Deadline()
	if due.IsZero() {
		return longest
	}
	return min(due.Sub(boottime.Now()), longest)
}

// turn takes in what has come, and begins what is due.
func (r *Runner) turn(ctx context.Context) {
	r.mu.Lock()
	inbox := r.inbox
	r.inbox = nil
	r.mu.Unlock()
	now := boottime.Now()
	for _, m := range inbox {
		switch m := m.(type) {
		case add:
			r.add(ctx, now, m)
		case remove:
			r.remove(now, m.id)
		case ended:
			m.check.lane.running--
			r.logFailure(m.check, m.outcome)
			r.act(r.scheduler.Step(now, checks.Done{
				Attempt: m.attempt, OK: m.outcome.OK, Adjust: m.outcome.Adjust, Why: m.outcome.Why,
			}))
		case noticed:
			if r.checks[m.check.id] == m.check {
				r.report(lvs.Result{Check: m.check.id, Up: m.outcome.OK, Adjust: m.outcome.Adjust, Why: m.outcome.Why})
			}
		}
	}
	r.act(r.scheduler.Step(now, checks.Tick{}))
	r.begin(&r.network)
	r.begin(&r.scripts)
}

// add begins a check.
func (r *Runner) add(ctx context.Context, now time.Time, m add) {
	r.remove(now, m.id)
	c := &check{id: m.id, checker: m.c, lane: &r.network, limit: probe.Limit(m.c)}
	if _, script := m.c.Check.(config.MiscCheck); script {
		c.lane = &r.scripts
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	r.checks[m.id] = c
	watcher, err := probe.NewWatcher(m.c, r.options)
	switch {
	case err != nil:
		r.report(lvs.Result{Check: m.id, Why: err.Error()})
		return
	case watcher != nil:
		r.running.Go(func() { watcher.Watch(c.ctx, func(o probe.Outcome) { r.post(noticed{c, o}) }) })
		return
	}
	for _, page := range pages(m.c) {
		p, err := probe.New(page)
		if err != nil {
			r.report(lvs.Result{Check: m.id, Why: err.Error()})
			return
		}
		c.probers = append(c.probers, p)
	}
	first := now
	if m.c.Warmup > 0 {
		first = now.Add(rand.N(m.c.Warmup)) //nolint:gosec // nobody gains by guessing it
	}
	r.act(r.scheduler.Step(now, checks.Add{ID: m.id, First: first, Timing: timing(m.c)}))
}

// remove ends a check, if it is there.
func (r *Runner) remove(now time.Time, id lvs.CheckID) {
	c := r.checks[id]
	if c == nil {
		return
	}
	c.cancel()
	delete(r.checks, id)
	r.act(r.scheduler.Step(now, checks.Remove{ID: id}))
}

// act carries actions of the scheduler out.
func (r *Runner) act(actions []checks.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case checks.Attempt:
			c := r.checks[a.ID]
			c.lane.waiting = append(c.lane.waiting, job{c, a})
		case checks.Report:
			r.report(a.Result)
		}
	}
}

// begin starts what waits in a lane, as far as the bound lets it.
func (r *Runner) begin(l *lane) {
	n := 0
	for ; n < len(l.waiting) && l.running < l.most; n++ {
		j := l.waiting[n]
		if j.check.ctx.Err() != nil {
			continue // removed while it waited
		}
		l.running++
		r.running.Go(func() { r.attempt(j) })
	}
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil
	}
}

// attempt makes one attempt.
func (r *Runner) attempt(j job) {
	ctx, cancel := context.WithTimeout(j.check.ctx, j.check.limit)
	defer cancel()
	r.post(ended{j.check, j.attempt, j.check.probers[j.attempt.Page].Probe(ctx)})
}

// report keeps a result until it is taken; one that was not is out of date.
func (r *Runner) report(result lvs.Result) {
	if at, there := r.pendingAt[result.Check]; there {
		if result.Adjust.Kind == lvs.Keep {
			result.Adjust = r.pending[at].Adjust // that was told and nobody has heard
		}
		r.pending[at] = result
		return
	}
	r.pendingAt[result.Check] = len(r.pending)
	r.pending = append(r.pending, result)
}

// logFailure tells of a failed attempt when that is asked for.
func (r *Runner) logFailure(c *check, o probe.Outcome) {
	if !o.OK && c.checker.LogAllFailures && c.ctx.Err() == nil {
		r.cfg.Log.Warn("a check failed", "check", c.id, "why", o.Why)
	}
}

// timing returns when a checker wants attempts.
func timing(c config.Checker) checks.Timing {
	t := checks.Timing{Interval: c.Interval, Retry: c.Retry, DelayBeforeRetry: c.DelayBeforeRetry}
	if http, ok := c.Check.(config.HTTPCheck); ok {
		t.Pages, t.FastRecovery = len(http.URLs), http.FastRecovery
	}
	return t
}

// pages returns a checker for each page of a checker.
func pages(c config.Checker) []config.Checker {
	http, ok := c.Check.(config.HTTPCheck)
	if !ok {
		return []config.Checker{c}
	}
	out := make([]config.Checker, 0, len(http.URLs))
	for _, u := range http.URLs {
		one := http
		one.URLs = []config.URL{u}
		c.Check = one
		out = append(out, c)
	}
	return out
}
