// Package boottime reads the clock that permission is measured on: CLOCK_BOOTTIME,
// which counts on while the machine is suspended, unlike Go's monotonic clock, and
// which nobody can set, unlike the wall clock.
//
// An instant on it is a time.Time whose Unix time is the time since boot; so the
// usual Add, Sub, Before and IsZero work, and an instant mixed up with wall time
// is off by half a century rather than by a little.
//
// Start at Now. Pure packages take such instants as arguments and never call this
// package (internal/tidy holds that).
package boottime
