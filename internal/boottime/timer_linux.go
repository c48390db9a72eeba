package boottime

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Timer wakes its owner at an instant of the boot clock, also when the machine was
// suspended meanwhile: then at once on its return. A timer of package time would still
// have its whole rest to run.
type Timer struct {
	// C gets one value each time the set instant is reached.
	C <-chan struct{}

	file *os.File
}

// NewTimer returns a timer that is not set: timerfd_create(2). Close ends it.
func NewTimer() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create boot-time timer: %w", err)
	}
	c := make(chan struct{}, 1)
	t := &Timer{C: c, file: os.NewFile(uintptr(fd), "timerfd")}
	go t.run(c)
	return t, nil
}

// run turns expirations into values until the timer is closed.
func (t *Timer) run(c chan<- struct{}) {
	var count [8]byte
	for {
		if _, err := t.file.Read(count[:]); err != nil {
			return
		}
		select {
		case c <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// Set makes the timer go off at the instant, at once if that has passed; the zero
// instant stops it. A value that was already in C stays there.
func (t *Timer) Set(at time.Time) error {
	var spec unix.ItimerSpec
	if !at.IsZero() {
		// Zero would stop the timer; one nanosecond after boot is long past.
		spec.Value = unix.NsecToTimespec(max(at.UnixNano(), 1))
	}
	conn, err := t.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("set boot-time timer: %w", err)
	}
	var set error
	if err := conn.Control(func(fd uintptr) {
		set = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
	}); err != nil {
		return fmt.Errorf("set boot-time timer: %w", err)
	}
	if set != nil {
		return fmt.Errorf("set boot-time timer: %w", set)
	}
	return nil
}

// Close stops the timer and frees it.
func (t *Timer) Close() error { return t.file.Close() }
