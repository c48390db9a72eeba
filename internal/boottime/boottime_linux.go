package boottime

import (
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

// At returns the instant that lies sinceBoot after the boot.
func At(sinceBoot time.Duration) time.Time {
	return time.Unix(0, int64(sinceBoot)).UTC()
}

// Wall converts an instant of the boot clock to wall time, as the wall clock
// stands now: for people only, never for arithmetic.
func Wall(t time.Time) time.Time {
	return time.Now().Add(t.Sub(Now())).Round(0)
}
