package guard

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// staleAfter is how much later than its pid file was written a process may have started
// and still be the one that wrote it: clocks are coarse.
const staleAfter = 2 * time.Second

// readPIDFile returns the living process that a pid file names; zero: none. A file that
// a process has left behind may name another by now: that one has started after the file
// was written.
//
// What it names will be killed, so nobody else may have written it.
func readPIDFile(file string) (process, error) {
	info, err := os.Lstat(file)
	if errors.Is(err, os.ErrNotExist) {
		return process{}, nil
	}
	if err != nil {
		return process{}, fmt.Errorf("look at the pid file: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return process{}, fmt.Errorf("pid file %s is no plain file of root's, and whoever owns it could have any process killed: use stop and status commands", file)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return process{}, nil
	}
	if err != nil {
		return process{}, fmt.Errorf("read the pid file: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if line == "" {
		return process{}, nil // it is about to be written
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 || pid == os.Getpid() {
		return process{}, fmt.Errorf("pid file %s: %.40q is no process id of a service", file, line)
	}
	p, err := stat(pid)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || err == nil && p.dead {
		return process{}, nil
	}
	if err != nil {
		return process{}, err
	}
	// Once more, now that it was read: it may have been written in between.
	if info, err = os.Lstat(file); errors.Is(err, os.ErrNotExist) {
		return process{}, nil
	}
	if err != nil {
		return process{}, fmt.Errorf("look at the pid file: %w", err)
	}
	if p.started().Sub(info.ModTime()) > staleAfter {
		return process{}, nil
	}
	return p, nil
}

// started returns when the process started, by the wall clock as it stands now.
func (p process) started() time.Time {
	const ticksPerSecond = 100 // USER_HZ: the same on all architectures that Go knows
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic("guard: clock_gettime(CLOCK_BOOTTIME): " + err.Error())
	}
	since := time.Duration(p.ticks) * time.Second / ticksPerSecond
	return time.Now().Add(since - time.Duration(now.Nano()))
}

// follow takes in which process the pid file names now. One that was named before is
// remembered until the service is shown to be stopped: what it has left may outlive it
// and its file. The caller holds mu.
func (c *commands) follow() error {
	if c.cfg.PIDFile == "" {
		return nil
	}
	p, err := readPIDFile(c.cfg.PIDFile)
	if err != nil || p.pid == 0 {
		return err
	}
	if c.filed == nil || c.filed.leader != p.pid || c.filed.ticks != p.ticks {
		c.filed = &family{leader: p.pid, ticks: p.ticks, known: map[int]uint64{}}
	}
	return nil
}
