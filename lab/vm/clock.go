package vm

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mark is a word on the command line of each machine's kernel, and of no other kernel. With the
// dot in it the kernel takes it for the parameter of a module that is not there.
const mark = "solovip.machine"

// Inside reports whether this is a machine of this package.
func Inside() bool {
	line, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(line)), mark)
}

// MoveClock moves the wall clock, forward or back. It refuses to where the clock is not a
// machine's own.
func MoveClock(by time.Duration) error {
	if !Inside() {
		return errors.New("move the wall clock: it is this host's, and is left alone")
	}
	at := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &at); err != nil {
		return fmt.Errorf("move the wall clock by %v: %w", by, err)
	}
	return nil
}
