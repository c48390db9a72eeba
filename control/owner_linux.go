package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Owner returns the process that has the run directory: the daemon that runs with it. The
// error wraps ErrUnreachable when there is none.
func Owner(runDir string) (pid int, err error) {
	f, err := os.Open(filepath.Join(runDir, "control.lock"))
	if err != nil {
		return 0, fmt.Errorf("%w: no solovip runs with run directory %s: %w", ErrUnreachable, runDir, err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return 0, fmt.Errorf("%w: no solovip runs with run directory %s", ErrUnreachable, runDir)
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, fmt.Errorf("look at the lock of %s: %w", runDir, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0, fmt.Errorf("read the lock of %s: %w", runDir, err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, fmt.Errorf("read the lock of %s: %w", runDir, err)
	}
	return pid, nil
}
