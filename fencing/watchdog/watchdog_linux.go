package watchdog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/internal/boottime"
)

// Device is an open watchdog. It is not safe for concurrent use.
type Device struct {
	file     *os.File
	path     string
	identity string
	options  uint32
	noWayOut bool
	timeout  time.Duration
}

// ErrLate says that the watchdog was not petted, because the machine could then have lived
// for longer than it may.
var ErrLate = errors.New("the watchdog is not petted: it would reset this machine too late")

// Open opens the device, a file such as /dev/watchdog, and so starts it, with the
// timeout that it has. It is to be set at once.
func Open(path string) (*Device, error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("open the watchdog: %w: another process has it: RuntimeWatchdogSec= of systemd must be off for it, and the package watchdog not run", err)
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("open the watchdog: %w: load the module of this machine's watchdog, or softdog if it has none", err)
	case err != nil:
		return nil, fmt.Errorf("open the watchdog: %w", err)
	}
	info, err := unix.IoctlGetWatchdogInfo(int(file.Fd()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask %s what it is: %w: it is no watchdog", path, err), file.Close())
	}
	return &Device{
		file: file, path: path, options: info.Options,
		identity: unix.ByteSliceToString(info.Identity[:]),
		noWayOut: noWayOut(file),
	}, nil
}

// noWayOut reports whether the kernel lets nobody stop the device. One that cannot be
// asked is taken for one that can be stopped: Disarm says what came of it.
func noWayOut(file *os.File) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return false
	}
	dir := fmt.Sprintf("/sys/dev/char/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	// The first watchdog has a second name, with the numbers of an old interface.
	const misc, old = 10, 130
	if unix.Major(st.Rdev) == misc && unix.Minor(st.Rdev) == old {
		dir = "/sys/class/watchdog/watchdog0"
	}
	value, err := os.ReadFile(dir + "/nowayout")
	return err == nil && strings.TrimSpace(string(value)) == "1"
}

// Identity returns what the driver calls the device.
func (d *Device) Identity() string { return d.identity }

// NoWayOut reports whether the device, once open, cannot be stopped: then the machine is
// reset some time after solovip has ended, however it ends.
func (d *Device) NoWayOut() bool { return d.noWayOut || d.options&unix.WDIOF_MAGICCLOSE == 0 }

// SetTimeout sets how long the device counts, in whole seconds, and starts to count anew. It
// returns what the device made of it, which may be something else.
func (d *Device) SetTimeout(timeout time.Duration) (time.Duration, error) {
	fd := int(d.file.Fd())
	if d.options&unix.WDIOF_SETTIMEOUT != 0 {
		if err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, int(timeout/time.Second)); err != nil && !errors.Is(err, unix.EINVAL) {
			return 0, fmt.Errorf("set the watchdog %s to %v: %w", d.path, timeout, err)
		} // EINVAL: not within the device's range, so it stays what it is
	}
	seconds, err := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT)
	if err != nil {
		return 0, fmt.Errorf("ask the watchdog %s how long it counts: %w", d.path, err)
	}
	d.timeout = time.Duration(seconds) * time.Second
	return d.timeout, d.count()
}

// count makes the device count anew. Every device understands a write; not all, the ioctl.
func (d *Device) count() error {
	if _, err := d.file.Write([]byte{0}); err != nil {
		return fmt.Errorf("pet the watchdog: %w", err)
	}
	return nil
}

// Timeout returns how long the device counts, since SetTimeout has asked it.
func (d *Device) Timeout() time.Duration { return d.timeout }

// Pretimeout returns how long before the reset the kernel is told, to panic for instance; 0: it
// is not. The kernel does it itself for drivers that cannot (CONFIG_WATCHDOG_HRTIMER_PRETIMEOUT), and
// those do not say in their options that they can.
func (d *Device) Pretimeout() time.Duration {
	seconds, err := unix.IoctlGetInt(int(d.file.Fd()), unix.WDIOC_GETPRETIMEOUT)
	if err != nil {
		return 0 // it is not to be had
	}
	return time.Duration(seconds) * time.Second
}

// Pet makes the device count anew, unless the machine could then live until after the
// deadline by, an instant on the boot clock; a zero one is none. It returns ErrLate then.
func (d *Device) Pet(by time.Time) error {
	// This process may have been frozen since it was decided to pet.
	if !by.IsZero() && boottime.Now().Add(d.timeout).After(by) {
		return ErrLate
	}
	return d.count()
}

// Disarm stops the device, if it can be stopped, and closes it.
func (d *Device) Disarm() error {
	_, err := d.file.WriteString("V") // the magic character: closing now stops it
	if err != nil {
		err = fmt.Errorf("stop the watchdog %s: %w: it resets this machine within %v", d.path, err, d.timeout)
	}
	return errors.Join(err, d.Close())
}

// Close closes the device, which goes on counting.
func (d *Device) Close() error {
	if err := d.file.Close(); err != nil {
		return fmt.Errorf("close the watchdog %s: %w", d.path, err)
	}
	return nil
}
