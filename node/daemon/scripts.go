package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/node"
)

// scriptRunner runs the tracked scripts, each at its interval, and turns their exit
// statuses into states by rise and fall.
type scriptRunner struct {
	first map[string]time.Duration // those without a first result, and their timeouts
	stop  context.CancelFunc
}

// startScripts starts the given scripts, instead of any that run.
func (d *daemon) startScripts(scripts []config.Script) {
	if d.scripts != nil {
		d.scripts.stop()
	}
	ctx, cancel := context.WithCancel(d.workCtx)
	r := &scriptRunner{first: map[string]time.Duration{}, stop: cancel}
	d.scripts = r
	for _, s := range scripts {
		r.first[s.Name] = s.Timeout
		d.work.Go(func() error {
			d.watchScript(ctx, s)
			return nil
		})
	}
}

// pending returns how many scripts have not ended once yet.
func (r *scriptRunner) pending() int { return len(r.first) }

// seen takes in an event: a script's first result is what the start waits for.
func (r *scriptRunner) seen(ev node.Event) {
	if s, ok := ev.(node.Script); ok {
		delete(r.first, s.Name)
	}
}

// firstLimit is how long the start may wait for the first results and the links.
func (r *scriptRunner) firstLimit() time.Duration {
	limit := time.Second
	for _, t := range r.first {
		limit = max(limit, t+time.Second)
	}
	return limit
}

// watchScript runs one script at its interval until ctx ends. A run that takes longer
// than the interval is waited for; what was due meanwhile is left out, as keepalived does.
func (d *daemon) watchScript(ctx context.Context, s config.Script) {
	state := hysteresis{rise: s.Rise, fall: s.Fall, known: s.InitFail}
	ticker := time.NewTicker(s.Interval)
	defer ticker.Stop()
	if s.InitFail {
		d.post(node.Script{Name: s.Name, Up: false})
	}
	for {
		err := runCommand(ctx, command{args: s.Command.Args, user: orDefault(s.User, d.settings.config.Global.ScriptUser)}, s.Timeout)
		if ctx.Err() != nil {
			return
		}
		if up, changed := state.result(err == nil); changed {
			attrs := []slog.Attr{slog.String("script", s.Name), slog.Bool("up", up)}
			if err != nil {
				attrs = append(attrs, slog.String("why", err.Error()))
			}
			d.log.LogAttrs(ctx, slog.LevelInfo, "track script", attrs...)
			d.post(node.Script{Name: s.Name, Up: up})
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func orDefault(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// hysteresis turns results into a state: rise successes in a row make it up, fall
// failures in a row make it down; the very first result counts at once.
type hysteresis struct {
	rise, fall int
	known, up  bool
	row        int // results in a row against the state
}

// result takes in one result and returns the state and whether it changed.
func (h *hysteresis) result(ok bool) (up, changed bool) {
	if !h.known {
		h.known, h.up = true, ok
		return ok, true
	}
	if ok == h.up {
		h.row = 0
		return h.up, false
	}
	h.row++
	if ok && h.row >= h.rise || !ok && h.row >= h.fall {
		h.up, h.row = ok, 0
		return ok, true
	}
	return h.up, false
}
