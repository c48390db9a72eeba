package watchdog_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/fencing/watchdog"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

func TestNoDevice(t *testing.T) {
	if _, err := watchdog.Open(filepath.Join(t.TempDir(), "watchdog")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := watchdog.Open(path); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a plain file: got %v", err)
	}
}

// hardware is a machine with the emulated watchdog i6300esb.
var hardware = vmtest.Shared{Name: "hardware", Machine: vm.Machine{Modules: []string{"i6300esb"}, Devices: []string{"i6300esb"}}}

func open(t *testing.T) *watchdog.Device {
	t.Helper()
	d, err := watchdog.Open("/dev/watchdog")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Disarm(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return d
}

func TestVMDevice(t *testing.T) {
	vmtest.Test(t, &hardware, func(t *testing.T) {
		d := open(t)
		if d.Identity() != "i6300ESB timer" || d.NoWayOut() || d.Pretimeout() != 0 {
			t.Errorf("it is %q, no way out: %t, pretimeout %v", d.Identity(), d.NoWayOut(), d.Pretimeout())
		}
		if _, err := watchdog.Open("/dev/watchdog0"); !errors.Is(err, unix.EBUSY) {
			t.Errorf("a second one who opens it by its other name gets %v", err)
		}
		for _, set := range []struct{ want, got time.Duration }{
			{40 * time.Second, 40 * time.Second},
			{4900 * time.Millisecond, 4 * time.Second}, // never longer than asked for
			{time.Hour, 4 * time.Second},               // beyond its range: it stays as it is
		} {
			if got, err := d.SetTimeout(set.want); err != nil || got != set.got {
				t.Errorf("set to %v: %v, %v; want %v", set.want, got, err, set.got)
			}
		}
		if err := d.Pet(time.Time{}); err != nil {
			t.Errorf("pet without a deadline: %v", err)
		}
		if err := d.Pet(boottime.Now().Add(5 * time.Second)); err != nil {
			t.Errorf("pet when the machine may live for 5s: %v", err)
		}
		if err := d.Pet(boottime.Now().Add(3 * time.Second)); !errors.Is(err, watchdog.ErrLate) {
			t.Errorf("pet when it may live for 3s: %v", err)
		}
	})
}

// TestVMDisarmed: a device that was stopped does not reset the machine, and neither does one
// that somebody else opened in time after it was left running.
func TestVMDisarmed(t *testing.T) {
	vmtest.Test(t, &hardware, func(t *testing.T) {
		left := open(t)
		if _, err := left.SetTimeout(3 * time.Second); err != nil {
			t.Fatal(err)
		}
		if err := left.Close(); err != nil {
			t.Fatal(err)
		}
		d := open(t)
		if _, err := d.SetTimeout(2 * time.Second); err != nil {
			t.Fatal(err)
		}
		if err := d.Disarm(); err != nil {
			t.Fatal(err)
		}
		<-time.After(4 * time.Second) // longer than either: the test is to live through this
	})
}

// TestVMNoWayOut: a driver that lets nobody stop it is known as such before it is relied on.
func TestVMNoWayOut(t *testing.T) {
	vmtest.Test(t, &stubborn, func(t *testing.T) {
		d, err := watchdog.Open("/dev/watchdog0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }() // it goes on, for longer than this machine lives
		if !d.NoWayOut() {
			t.Error("it says that it can be stopped")
		}
	})
}

// TestVMPretimeout: what somebody has set is known, and stays, unless the device is to count less.
func TestVMPretimeout(t *testing.T) {
	vmtest.Test(t, &stubborn, func(t *testing.T) {
		raw, err := os.OpenFile("/dev/watchdog0", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.IoctlSetPointerInt(int(raw.Fd()), unix.WDIOC_SETPRETIMEOUT, 5)
		if err := errors.Join(err, raw.Close()); err != nil {
			t.Fatal(err)
		}
		d, err := watchdog.Open("/dev/watchdog0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }() // as above
		for _, row := range []struct{ timeout, want time.Duration }{{40 * time.Second, 5 * time.Second}, {4 * time.Second, 0}, {60 * time.Second, 0}} {
			if _, err := d.SetTimeout(row.timeout); err != nil || d.Pretimeout() != row.want {
				t.Errorf("counting %v: pretimeout %v, %v; want %v", row.timeout, d.Pretimeout(), err, row.want)
			}
		}
	})
}

var stubborn = vmtest.Shared{Name: "stubborn", Machine: vm.Machine{Modules: []string{"softdog nowayout=1 soft_margin=60"}}}
