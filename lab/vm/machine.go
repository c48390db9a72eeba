package vm

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Machine is a machine to be booted. It is a plain description and may be used again.
type Machine struct {
	// Modules are loaded, in this order and with what they depend on, before the command
	// runs. Parameters may follow a name: "i6300esb heartbeat=10".
	Modules []string
	// Spare modules are in the machine, for the kernel to load when something needs them.
	Spare []string
	// Programs are put in at the place where they are on this host, with the shared
	// libraries that they need. A name without a slash is looked for in PATH.
	Programs []string
	// Files are put in by their path in the machine, from their path on this host; a
	// directory with all that is in it.
	Files map[string]string
	// Env is added to the command's environment, as NAME=VALUE.
	Env []string
	// Command is what runs, as root. When it ends, so does the machine.
	Command []string
	// Devices are added to the machine, in the words of qemu's -device.
	Devices []string
	// MemoryMiB is the machine's memory; 0: 1024.
	MemoryMiB int
	// Fast makes an instruction take 1 ns of the machine's time instead of 4: what runs in it
	// has four times as much to spare. The host takes as long for each as before.
	Fast bool
	// Out gets what the command prints, as it comes; nil: nothing does. An error of it is the
	// end of that, and of nothing else.
	Out io.Writer
}

// End is how a machine ended.
type End uint8

// The ends of a machine. The zero End is none that was seen.
const (
	Vanished      End = iota // qemu has ended and has not said why
	PoweredOff               // in order: the command has ended
	Reset                    // it reset itself: a panic, or somebody who asked for it
	WatchdogReset            // its hardware watchdog has reset it
)

// String returns the end in words.
func (e End) String() string {
	names := [...]string{"vanished", "powered off", "reset", "reset by its watchdog"}
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("End(%d)", uint8(e))
}

// Result is what became of a machine.
type Result struct {
	End    End
	Exit   int           // the command's exit status; -1 unless the machine was powered off
	Output string        // what the command printed, on either output
	Took   time.Duration // by the clock of this host
	// Console is what the kernel said, and what went wrong before the command.
	Console string
}

// Err returns nil when the command ended with status 0, and else what happened, with the
// end of what was printed.
func (r *Result) Err() error {
	if r.End == PoweredOff && r.Exit == 0 {
		return nil
	}
	what := fmt.Sprintf("the command ended with status %d", r.Exit)
	if r.End != PoweredOff {
		what = "the machine has " + r.End.String()
		if r.End == Reset || r.End == WatchdogReset {
			what = "the machine was " + r.End.String()
		}
	}
	return fmt.Errorf("%s after %v; it printed:\n%s\nand its kernel said:\n%s", what, r.Took.Round(time.Millisecond), tail(r.Output), tail(r.Console))
}

// tail returns the last lines of a text.
func tail(text string) string {
	const most = 40
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// Run boots the machine and waits until it has ended. When ctx ends first the machine
// is switched off, and what it had printed comes back with the error. An error also says what
// is missing on this host; how the command and the machine ended is no error.
func (m Machine) Run(ctx context.Context) (Result, error) {
	qemu, err := exec.LookPath(emulator)
	if err != nil {
		return Result{}, fmt.Errorf("find the emulator: %w; install the package qemu-system-x86 (%w)", err, ErrMissing)
	}
	kernel, err := newestKernel()
	if err != nil {
		return Result{}, err
	}
	image, err := kernel.initramfs(m)
	if err != nil {
		return Result{}, err
	}
	return m.boot(ctx, qemu, kernel, image)
}
