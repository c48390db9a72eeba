package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/node"
)

// loop owns the node: one event at a time, its actions in order, until everything is
// released after ctx has ended.
func (d *daemon) loop(ctx context.Context) error {
	timer, err := boottime.NewTimer()
	if err != nil {
		return err
	}
	defer timer.Close()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	d.firstState(ctx, beat.C)
	d.step(node.Start{})
	d.forget(d.cleaned...) // those whom it concerns have been told
	d.opt.Notify(sd.SdNotifyReady)
	stop := ctx.Done()
	var limit <-chan time.Time
	for {
		if err := timer.Set(d.node.Deadline(boottime.Now())); err != nil {
			return err
		}
		var done bool
		select {
		case ev := <-d.events:
			done = d.step(ev)
		case <-timer.C:
			// After a freeze adverts are waiting: they come before the time that has passed.
			done = d.drain() || d.step(node.Tick{})
		case ev := <-d.appeared:
			d.expel(ev)
		case reply := <-d.snapshots:
			reply <- d.node.Snapshot(boottime.Now())
		case <-beat.C:
			d.wakeUp() // no event may come for long
			d.beat()
		case <-d.opt.Reload:
			done = d.reload()
		case <-d.opt.TakeOver:
			if err := d.leaveInPlace(); err != nil {
				d.log.Error("not leaving: this process goes on", "err", err)
				break
			}
			close(d.leaves)
			select {} // nothing of what is held may be touched any more
		case <-stop:
			stop = nil
			d.opt.Notify(sd.SdNotifyStopping)
			limit = time.After(stopLimit)
			done = d.step(node.Stop{})
		case <-limit:
			return fmt.Errorf("the orderly stop took more than %v: ending with what is held; addresses go by their lifetimes", stopLimit)
		}
		if done {
			return d.finish(beat.C)
		}
	}
}

// drain steps through the events that are waiting, eventQueue at the most.
func (d *daemon) drain() (stopped bool) {
	for range eventQueue {
		select {
		case ev := <-d.events:
			if d.step(ev) {
				return true
			}
		default:
			return false
		}
	}
	return false
}

// step drives the node with an event, and with the results of what it wants done at
// once, until nothing is left. It reports whether the node has stopped.
func (d *daemon) step(ev node.Event) (stopped bool) {
	if s, ok := ev.(node.Script); ok {
		d.up[s.Name] = s.Up
	}
	queue := []node.Event{ev}
	for len(queue) > 0 {
		ev, queue = queue[0], queue[1:]
		d.wakeUp()
		for _, a := range d.node.Step(boottime.Now(), ev) {
			d.beat() // many slow effects in a row are no loop that hangs
			if _, ok := a.(node.Stopped); ok {
				stopped = true
				continue
			}
			if result := d.do(a); result != nil {
				queue = append(queue, result)
			}
		}
	}
	return stopped
}

// beat says that the loop runs, if it has not just done so.
func (d *daemon) beat() {
	if now := time.Now(); now.Sub(d.beaten) >= beatEvery/2 {
		d.beaten = now
		d.opt.Beat()
	}
}

// beatEvery is how often the loop says that it runs.
const beatEvery = 200 * time.Millisecond

// releaseWithin is how long what a former run held waits for a first state.
const releaseWithin = 100 * time.Millisecond

// firstState waits for what the first decision rests on: one state of each tracked
// interface, and one result of each tracked script. Without it a node that cannot
// serve would begin as one that can. It also rests, if it is told to.
func (d *daemon) firstState(ctx context.Context, beat <-chan time.Time) {
	d.beat()
	d.step(node.Tick{}) // opens the watchdog: without one that is required nothing is held on to
	waiting, limit := map[node.Event]bool{}, time.Second
	for _, s := range d.settings.scripts {
		waiting[node.Script{Name: s.Name}] = true
		limit = max(limit, s.Timeout+time.Second)
	}
	for _, c := range d.settings.node.Claims {
		for _, in := range c.Instances {
			for _, t := range in.Interfaces {
				waiting[node.Link{Interface: t.Name}] = true
			}
		}
	}
	if len(d.settings.node.Former) > 0 || len(d.settings.node.Kept) > 0 {
		limit = releaseWithin // nobody holds what a former run did, and others wait for it
	}
	if d.left != nil {
		for _, name := range sortedKeys(d.left.Scripts) {
			d.step(node.Script{Name: name, Up: d.left.Scripts[name]})
			delete(waiting, node.Script{Name: name})
		}
	}
	d.startScripts(d.settings.scripts)
	enough, rested := time.After(limit), time.After(d.opt.Pause)
	for len(waiting) > 0 || rested != nil {
		select {
		case ev := <-d.events:
			d.step(ev)
			switch ev := ev.(type) {
			case node.Script:
				delete(waiting, node.Script{Name: ev.Name})
			case node.Link:
				delete(waiting, node.Link{Interface: ev.Interface})
			default: // not a first state
			}
		case reply := <-d.snapshots:
			reply <- d.node.Snapshot(boottime.Now())
		case ev := <-d.appeared:
			d.expel(ev)
		case <-beat:
			d.beat()
			d.step(node.Tick{}) // the watchdog does not wait for the start
		case <-ctx.Done():
			return // what a former run held is released all the same
		case <-enough:
			for ev := range waiting {
				d.log.Warn("starting without a word of it; it counts as down", "waited", limit, "missing", fmt.Sprintf("%+v", ev))
			}
			clear(waiting)
		case <-rested:
			rested = nil
		}
	}
}

// reload reads the configuration again. One that has errors, or that changes what
// only a restart can, changes nothing.
func (d *daemon) reload() (stopped bool) {
	d.opt.Notify(sd.SdNotifyReloading)
	defer d.opt.Notify(sd.SdNotifyReady)
	next, err := d.planReload()
	if err != nil {
		d.log.Error("reload refused; the running configuration stays", "err", err)
		return false
	}
	d.log.Info("configuration reloaded", "file", d.opt.File)
	return d.adopt(next)
}

// finish lets the last scripts and messages out after the node has stopped.
func (d *daemon) finish(beat <-chan time.Time) error {
	d.closeWatchdog()
	drained := make(chan struct{})
	go func() {
		d.lanes.Drain(lastWords)
		close(drained)
	}()
	for {
		select {
		case <-beat:
			d.beat()
		case <-drained:
			d.log.Info("stopped")
			return nil
		}
	}
}

// lastWords is how long an ending daemon waits for its STOP scripts.
const lastWords = 10 * time.Second

// tell logs a line of the node's.
func (d *daemon) tell(t node.Tell) {
	level := [...]slog.Level{node.Debug: slog.LevelDebug, node.Info: slog.LevelInfo, node.Warning: slog.LevelWarn}[t.Level]
	var attrs []slog.Attr
	if t.Claim != "" {
		attrs = append(attrs, slog.String("claim", t.Claim))
	}
	if t.Why != "" {
		attrs = append(attrs, slog.String("why", t.Why))
	}
	d.log.LogAttrs(context.Background(), level, t.Text, attrs...) //nolint:sloglint // the text is the node's
}
