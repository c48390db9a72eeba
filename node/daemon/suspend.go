package daemon

import (
	"time"

	"github.com/solovip/solovip/internal/boottime"
)

// asleep notices that the machine was suspended. Permissions end by the boot clock, which
// went on; the gate's timeouts and the addresses' lifetimes stood still.
type asleep struct{ before time.Duration }

// noticed is more than two readings of the clocks differ by, and less than a suspension lasts.
const noticed = 20 * time.Millisecond

// slept takes in how long the machine has been suspended since it was booted, and returns
// how much of that is new.
func (a *asleep) slept(total time.Duration) time.Duration {
	d := total - a.before
	if d < noticed {
		return 0
	}
	a.before = total
	return d
}

// wakeUp brings the gate back to the boot clock when the machine was suspended, before
// anything else happens: what has run out meanwhile is shut, and the rest shuts in time.
func (d *daemon) wakeUp() {
	slept := d.asleep.slept(boottime.Suspended())
	if slept == 0 {
		return
	}
	d.log.Info("the machine was suspended", "for", slept)
	if d.gate == nil {
		return
	}
	if err := d.gate.Restore(); err != nil {
		d.log.Error("the gate could not be armed anew after a suspension; it may shut late", "err", err)
	}
}
