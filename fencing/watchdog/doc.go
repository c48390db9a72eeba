// Package watchdog drives a hardware watchdog: a timer that resets the machine unless it
// is petted. It is what is left when neither the daemon nor the kernel stops a guarded
// service any more.
//
// From [Open] on the machine lives only while somebody calls [Device.Pet]. Only
// [Device.Disarm] ends that. A process that ends in any other way leaves the timer running,
// so a daemon that was killed has to be back in time, or the machine is reset; who opens the
// device next goes on where it was left.
//
// The package decides nothing: when the device may be petted, and how long it counts, is
// for package node. It refuses to pet when the machine could then outlive the deadline that
// came with the word. There is no goroutine in it that pets: a loop that hangs must be
// one that does not pet.
//
// Start reading at [Device]. The kernel's interface is described in
// Documentation/watchdog/watchdog-api.rst of Linux.
package watchdog
