package sim

import "time"

// clock is a host's boot clock. It starts anew with each power-on, runs a little too
// fast or too slow, and counts on while the host is suspended. The kernel's own timers
// (mono) stand still meanwhile.
type clock struct {
	start time.Duration // true time of the power-on
	first time.Duration // what it showed then
	ppm   int64         // how much faster than true time it runs, in millionths
	slept time.Duration // how much of it was spent suspended
	since time.Duration // what it showed when the suspension began; 0: none is on
}

// million is the unit of a clock's rate.
const million = 1_000_000

// since returns what the clock shows: time since boot.
func (c *clock) reading(now time.Duration) time.Duration {
	true1 := now - c.start
	// Parted so that nothing overflows: hours of nanoseconds times a million would.
	return c.first + true1 + time.Duration(int64(true1)/million*c.ppm) + time.Duration(int64(true1)%million*c.ppm/million)
}

// boot returns what the clock shows as an instant, as package boottime does.
func (c *clock) boot(now time.Duration) time.Time {
	return time.Unix(0, int64(c.reading(now))).UTC()
}

// at returns the first true time at which the clock shows the instant, or more.
func (c *clock) at(boot time.Time) time.Duration {
	local := time.Duration(boot.UnixNano()) - c.first
	t := c.start + time.Duration(int64(local)/(million+c.ppm)*million) + time.Duration(int64(local)%(million+c.ppm)*million/(million+c.ppm))
	for c.reading(t).Nanoseconds() < boot.UnixNano() {
		t++
	}
	return t
}

// length returns how long in true time something takes that takes so long by this clock.
func (c *clock) length(local time.Duration) time.Duration {
	return time.Duration(int64(local)/(million+c.ppm)*million) + time.Duration(int64(local)%(million+c.ppm)*million/(million+c.ppm)) + 1
}

// mono returns the time that the kernel's timers go by: the suspended time is left out.
func (c *clock) mono(now time.Duration) time.Duration {
	if c.since != 0 {
		return c.since - c.slept
	}
	return c.reading(now) - c.slept
}

// lost makes up for a time in which the clock stood still altogether.
func (c *clock) lost(length time.Duration) { c.start += length }

// suspend makes mono stand still.
func (c *clock) suspend(now time.Duration) { c.since = c.reading(now) }

// resume makes mono go on.
func (c *clock) resume(now time.Duration) {
	c.slept += c.reading(now) - c.since
	c.since = 0
}
