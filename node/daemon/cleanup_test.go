package daemon

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A guarded service that cannot be shown to be stopped at once is killed again, and not for ever.
func TestInsist(t *testing.T) {
	for _, c := range []struct {
		fails int
		took  time.Duration
		ok    bool
	}{{0, 0, true}, {2, 2 * insistEvery, true}, {100, (insistTimes - 1) * insistEvery, false}} {
		synctest.Test(t, func(t *testing.T) {
			d, begin, tries := &daemon{log: slog.New(slog.DiscardHandler)}, time.Now(), 0
			err := d.insist(t.Context(), func(context.Context) error {
				if tries++; tries <= c.fails {
					return errors.New("not in time")
				}
				return nil
			})
			if took := time.Since(begin); took != c.took || (err == nil) != c.ok {
				t.Errorf("%d failures: %v after %v, want %v", c.fails, err, took, c.took)
			}
		})
	}
}
