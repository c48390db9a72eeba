package netns_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever happens to the runner, nothing may stay behind: no process, no file. Killed,
// it cannot tell anybody.
func TestNothingSurvivesTheRunner(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("", "lab") // short: a unix socket is made in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(t.Context(), self, "lab", "run", "power-off", "--system", "keepalived")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasSuffix(lines.Text(), "start all daemons") {
	}
	left := descendants(t, cmd.Process.Pid)
	if len(left) < 2 { // the stage's two processes, and daemons
		t.Errorf("only %d processes under the runner", len(left))
	}
	var watched []unix.PollFd
	for _, pid := range left {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd)
			watched = append(watched, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed

	const patience = 10000 // ms
	for _, p := range watched {
		for {
			n, err := unix.Poll([]unix.PollFd{p}, patience)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n != 1 {
				t.Errorf("a process outlives the runner (%v)", err)
			}
			break
		}
	}
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) > 0 {
		t.Errorf("%d files are left (%v)", len(entries), err)
	}
}

// descendants returns the processes below one, when there are at least two and their
// number has stopped growing.
func descendants(t *testing.T, root int) []int {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	var all []int
	for time.Now().Before(deadline) {
		all = nil
		for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
			children := childrenOf(todo[0])
			all = append(all, children...)
			todo = append(todo, children...)
		}
		if len(all) >= 2 {
			break
		}
	}
	return all
}

func childrenOf(pid int) []int {
	var pids []int
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // that thread has ended
		}
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
