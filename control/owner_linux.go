package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockFile = "control.lock"
	// lockPatience is how long a daemon waits for the lock of one that is dead: a process that it was
	// just starting has it too, until it runs its program.
	lockPatience = 2 * time.Second
	lockEvery    = 5 * time.Millisecond
)

// wholeFile is the lock. It belongs to the open file, and goes with the process; and unlike a lock by
// flock it can be looked at without being taken, which would keep a daemon that starts just then out.
func wholeFile() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart} }

// lockDir takes the run directory for this process. The lock file stays when the
// process ends: to remove it would let two daemons lock two files of one name.
func lockDir(runDir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(runDir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock run directory: %w; run this as root, or name another directory with --run-dir", err)
	}
	if err := takeLock(f, runDir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock run directory %s: %w", runDir, err), f.Close())
	}
	return f, nil
}

// takeLock locks the file of a run directory, unless a daemon that lives has it.
func takeLock(f *os.File, runDir string) error {
	look := time.NewTicker(lockEvery)
	defer look.Stop()
	for late := time.Now().Add(lockPatience); ; <-look.C {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile())
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("lock run directory %s: %w", runDir, err)
		}
		pid, err := readPID(f)
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) && time.Now().Before(late) {
			continue
		}
		who := ""
		if err == nil {
			who = fmt.Sprintf(" (process %d)", pid)
		}
		return fmt.Errorf("another solovip%s runs with run directory %s: stop it first, or name another directory with --run-dir", who, runDir)
	}
}

// readPID returns which process has written itself into a lock file.
func readPID(f *os.File) (int, error) {
	text := make([]byte, 32)
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text[:n])))
}

// Owner returns the process that has the run directory: the daemon that runs with it. The
// error wraps ErrUnreachable when there is none. To ask does not hinder a daemon that starts.
func Owner(runDir string) (pid int, err error) {
	f, err := os.Open(filepath.Join(runDir, lockFile))
	if err != nil {
		return 0, fmt.Errorf("%w: no solovip runs with run directory %s: %w", ErrUnreachable, runDir, err)
	}
	defer f.Close()
	lock := wholeFile()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, lock); err != nil {
		return 0, fmt.Errorf("look at the lock of %s: %w", runDir, err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, fmt.Errorf("%w: no solovip runs with run directory %s", ErrUnreachable, runDir)
	}
	if pid, err = readPID(f); err != nil {
		return 0, fmt.Errorf("read the lock of %s: %w", runDir, err)
	}
	return pid, nil
}
