package daemon

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/solovip/solovip/internal/script"
	"github.com/solovip/solovip/node"
)

// startScripts runs the given scripts, each at its interval, instead of those that run.
func (d *daemon) startScripts(scripts []trackedScript) {
	if d.stopScripts != nil {
		d.stopScripts()
	}
	ctx, cancel := context.WithCancel(d.workCtx)
	d.stopScripts = cancel
	user := d.settings.config.Global.ScriptUser
	for _, s := range scripts {
		s.User = cmp.Or(s.User, user)
		d.work.Go(func() error {
			d.watchScript(ctx, s)
			return nil
		})
	}
}

// watchScript runs one script at its interval until ctx ends. A run that takes longer
// than the interval is waited for; what was due meanwhile is left out, as keepalived does.
func (d *daemon) watchScript(ctx context.Context, s trackedScript) {
	state := hysteresis{rise: s.Rise, fall: s.Fall, known: s.InitFail}
	ticker := time.NewTicker(s.Interval)
	defer ticker.Stop()
	if s.InitFail {
		d.post(node.Script{Name: s.Name, Up: false})
	}
	for {
		// The token that this node last held the claim with: what it may still write by.
		env := []string{"SOLOVIP_CLAIM=" + s.claim, fmt.Sprintf("SOLOVIP_TOKEN=%d", d.store.tokens()[s.claim])}
		err := script.Script{Args: s.Command.Args, User: s.User, Env: env}.Run(ctx, s.Timeout)
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
