// Package vm runs programs in a small virtual machine with a kernel of its own, for tests
// of what the kernel under the tests does not have, or must not be given: IPVS, a
// hardware watchdog that really resets, modules.
//
// A [Machine] says what is in it and what runs; [Machine.Run] builds an initramfs,
// boots Debian's kernel in qemu, and returns what the command printed and how the machine
// ended. To boot takes some seconds under software emulation, which is all that is
// asked for: no KVM, no root, no network. Package vmtest runs ordinary Go tests inside.
//
// Time in a machine is its own: it passes with the instructions that are carried out, and jumps
// while none are. So a test is as fast and as sure on a crowded host as on an idle one,
// and what waits in it waits for nothing here; how long something took is to be measured
// inside.
//
// The machine has no disk and no network card: a test makes its own network out of
// namespaces. It has proc, sys, dev, cgroup2, a shell with busybox's applets, and the
// modules asked for, with those they depend on. The kernel loads further ones by itself, as it
// does elsewhere, if they were asked for by [Machine.Spare].
//
// The kernel comes from the Debian package of the release that runs here, and is kept in the
// user's cache directory: kernel.sh, which `make deps` runs, puts it there.
//
// Start reading at [Machine].
package vm
