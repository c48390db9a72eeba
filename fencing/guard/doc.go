// Package guard drives guarded services: services that may run only where their claim
// is held. It starts and stops one, and above all shows that it is stopped, because
// only then may another node start it.
//
// A Guard is driven by commands (start, stop, status) or is a systemd unit. What the
// package calls a service is, for commands:
//
//   - the process family of the start command: its session, which it leads, with
//     whatever process groups are in there. A start command that stays is the service
//     itself (foreground), and the daemon hears of its end; one that exits with 0 has
//     put its service into the background, or had somebody else start it.
//   - what is in the control group that each start gets for itself, where this process
//     may make one: a daemon that leaves its session stays in there.
//   - the process that the pid file names, if the service has one, with its session.
//   - and whatever the status command speaks of: 0 is running; no answer, a signal and
//     the exits 4 (the LSB's "unknown"), 126 and 127 (a shell's "cannot run") are
//     unknown; all others are stopped.
//   - with a stop but no status command, the exit of the stop command has to do as proof
//     for what has left the family.
//
// The zero State is Unknown: not knowing is never taken for stopped, and an error from
// Stop or Kill means that the service may still run.
//
// Before a start takes effect, what is needed to stop it is in a run file: the commands,
// and of the process its id, start time and the boot it belongs to, so that a recycled
// process id is never killed. New finds the run file of its guard; Adopt finds all of
// them, for a successor that knows no configuration yet.
//
// Watch looks after a service that was started: whether it still runs, and whether it is
// well, by its health command. It tells, and changes nothing.
//
// What it does not do: decide when, restart anything, or, where it may make no control
// group, follow a process that has left its session (give it a stop command, a pid file
// or a systemd unit).
//
// Start reading at Guard; commands_linux.go (with stop_linux.go) and units.go are its two drivers.
package guard
