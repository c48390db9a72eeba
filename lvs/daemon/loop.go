package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/internal/script"
	"github.com/solovip/solovip/lvs"
)

// beatEvery is how often the loop says that it runs.
const beatEvery = 200 * time.Millisecond

// loop owns the balancer: one event at a time, its actions in order, until everything is
// undone after ctx has ended, or has to be left as it is.
func (d *daemon) loop(ctx context.Context) error {
	timer, err := boottime.NewTimer()
	if err != nil {
		return err
	}
	defer timer.Close()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	d.begin()
	defer d.follows.end()
	for {
		if err := timer.Set(d.balancer.Deadline()); err != nil {
			return err
		}
		select {
		case ev := <-d.events:
			d.step(ev)
		case results, ok := <-d.checks.Results():
			if !ok {
				return errNoChecks
			}
			d.results(results)
		case <-timer.C:
			d.step(lvs.Tick{})
		case q := <-d.questions:
			d.answer(q)
		case op := <-d.operations:
			d.operation(op)
		case <-d.saved:
			d.saving = false
			d.save()
		case <-beat.C:
			d.beat()
		case <-d.opt.Reload:
			d.load()
		case l := <-d.loaded:
			d.loadAgain()
			if rests := d.reload(l); rests {
				d.log.Info("the configuration has no virtual servers any more")
				return errors.Join(d.stop(beat.C), ErrRest)
			}
		case <-d.opt.Leave:
			d.log.Info("checks end; the table of IPVS stays as it is for a successor")
			return nil
		case <-ctx.Done():
			if d.opt.KeepTable {
				d.log.Info("stopped; the table of IPVS stays as it is")
				return nil
			}
			return d.stop(beat.C)
		}
	}
}

// begin takes in what is known before the first check, and starts.
func (d *daemon) begin() {
	for _, addr := range firstAddresses(d.log) {
		d.step(lvs.Address{Addr: addr, Here: true})
	}
	d.followInstance()
	d.step(lvs.Start{})
	// What a predecessor that died had found counts until it is checked again: the kernel
	// balances by it.
	if left := readResults(d.opt.RunDir, d.plan.Checks); len(left) > 0 {
		d.log.Info("a former run ended without an orderly stop: its results count until the next checks", "checks", len(left))
		d.results(left)
	}
}

// step drives the balancer with an event, and brings about its actions.
func (d *daemon) step(ev lvs.Event) {
	for _, a := range d.balancer.Step(boottime.Now(), ev) {
		d.beat() // many effects in a row are no loop that hangs
		d.do(a)
	}
}

// do brings about one action.
func (d *daemon) do(a lvs.Action) {
	switch a := a.(type) {
	case lvs.ReadKernel:
		d.kernel.read(a.ID)
	case lvs.Apply:
		d.kernel.apply(a.Steps)
	case lvs.StartCheck:
		d.checks.Add(a.Check, d.plan.Checks[a.Check])
	case lvs.StopCheck:
		d.checks.Remove(a.Check)
		delete(d.known, a.Check)
		d.unsaved = true
	case lvs.Notify:
		d.notify(a)
	case lvs.StoreOverrides:
		d.storeOverrides(a.All)
	case lvs.Respond:
		d.respond(a)
	case lvs.Tell:
		d.tell(a)
	case lvs.Stopped:
		// stop waits until all of the actions before it have had their effect.
	}
}

// beat says that the loop runs, if it has not just done so.
func (d *daemon) beat() {
	if now := time.Now(); now.Sub(d.beaten) >= beatEvery/2 {
		d.beaten = now
		d.opt.Beat()
	}
}

// results takes results of checks in.
func (d *daemon) results(results []lvs.Result) {
	for _, r := range results {
		before, ok := d.known[r.Check]
		if r.Adjust.Kind == lvs.Keep {
			r.Adjust = before.Adjust
		}
		d.known[r.Check] = r
		d.unsaved = d.unsaved || !ok || before.Up != r.Up || before.Adjust != r.Adjust
	}
	d.save()
	d.step(lvs.Checked{Results: results})
}

// reload runs by a configuration that was read. One with errors changes nothing. It reports
// whether nothing is left to be done.
func (d *daemon) reload(l loaded) (rests bool) {
	if l.err != nil {
		d.log.Error("reload refused; virtual servers stay as they are", "err", l.err)
		return false
	}
	if len(l.plan.LVS.Servers) == 0 {
		return true
	}
	d.plan = l.plan
	d.log.Info("virtual servers reloaded", "file", d.opt.File, "virtual_servers", len(l.plan.LVS.Servers), "checks", len(l.plan.Checks))
	d.followInstance()
	d.step(lvs.Reconfigure{Config: l.plan.LVS})
	return false
}

// stop ends in order: checks, then the table, then the last scripts.
func (d *daemon) stop(beat <-chan time.Time) error {
	d.step(lvs.Stop{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.kernel.drain(stopLimit)
		d.lanes.Drain(stopLimit)
	}()
	for done != nil || d.saving || len(d.events) > 0 {
		select {
		case <-done:
			done = nil
		case <-d.saved:
			d.saving = false
		case <-beat:
			d.beat()
		case ev := <-d.events:
			if applied, ok := ev.(lvs.Applied); ok && applied.Err != "" {
				d.log.Error("the table of IPVS could not be taken off", "err", applied.Err)
			}
		case op := <-d.operations:
			op.reply <- response{err: errStopping}
		case q := <-d.questions:
			d.answer(q)
		}
	}
	d.log.Info("checks and balancing have stopped")
	return forgetResults(d.opt.RunDir)
}

var (
	errStopping  = errors.New("it is stopping")
	errNoChecks  = errors.New("the checks have ended by themselves")
	errTooMany   = errors.New("too many steps wait for a kernel that does not answer")
	errDiskHangs = errors.New("too much waits for a disk that does not answer")
)

// scriptLimit bounds a script: then its process group is killed, so that the next is run.
const scriptLimit = 30 * time.Second

// notify runs the script of a notification, after those before it of the same virtual server.
func (d *daemon) notify(a lvs.Notify) {
	c, ok := d.plan.Script(a)
	if !ok {
		return
	}
	s := script.Script{Args: c.Args, User: c.User}
	about := []any{"what", a.What.String(), "server", a.Server}
	if a.Real.IsValid() {
		about = append(about, "real_server", a.Real.String())
	}
	if !d.lanes.Run("notify "+a.Server, func(ctx context.Context) {
		if err := s.Run(ctx, scriptLimit); err != nil {
			d.log.Warn("script of a virtual server", append(about, "err", err)...)
		}
	}) {
		d.log.Error("script of a virtual server left out: too many wait", about...)
	}
}

// tell logs a line of the balancer's.
func (d *daemon) tell(t lvs.Tell) {
	level := slog.LevelInfo
	if t.Warning {
		level = slog.LevelWarn
	}
	var attrs []slog.Attr
	if t.Name != "" {
		attrs = append(attrs, slog.String("server", t.Name))
	}
	if t.Why != "" {
		attrs = append(attrs, slog.String("why", t.Why))
	}
	d.log.LogAttrs(context.Background(), level, t.Text, attrs...) //nolint:sloglint // the text is the balancer's
}
