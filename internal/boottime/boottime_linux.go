package boottime

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the time since boot, suspended time included, as an instant:
// clock_gettime(2), CLOCK_BOOTTIME.
func Now() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Linux has had this clock since 2.6.39 and the call has no other way to fail.
		panic("boottime: clock_gettime(CLOCK_BOOTTIME): " + err.Error())
	}
	return At(time.Duration(ts.Nano()))
}

// Suspended returns for how long the machine has been suspended since it was booted: by
// so much this clock is ahead of CLOCK_MONOTONIC, by which the kernel's own timeouts run.
// It is exact to about a millisecond, unless the calling thread gets no processor.
func Suspended() time.Duration {
	const tries = 3
	for i := 0; ; i++ {
		before := Now()
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic("boottime: clock_gettime(CLOCK_MONOTONIC): " + err.Error()) // as in Now
		}
		if Now().Sub(before) < time.Millisecond || i == tries {
			return before.Sub(At(time.Duration(ts.Nano())))
		}
	}
}

// ID names this boot of the host: instants of this clock, and what the kernel holds, mean
// nothing in another one.
func ID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("ask which boot of the host this is: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// At returns the instant that lies sinceBoot after the boot.
func At(sinceBoot time.Duration) time.Time {
	return time.Unix(0, int64(sinceBoot)).UTC()
}

// Wall converts an instant of the boot clock to wall time, as the wall clock
// stands now: for people only, never for arithmetic.
func Wall(t time.Time) time.Time {
	return time.Now().Add(t.Sub(Now())).Round(0)
}
