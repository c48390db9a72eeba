package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/node"
)

// serve runs a control socket that tells the snapshot, and returns its run directory.
func serve(t *testing.T, snap *atomic.Pointer[node.Snapshot]) (dir string, stop func()) {
	t.Helper()
	dir = t.TempDir()
	return dir, serveIn(t, dir, snap)
}

func serveIn(t *testing.T, dir string, snap *atomic.Pointer[node.Snapshot]) (stop func()) {
	t.Helper()
	return serveAs(t, dir, control.Server{Snapshot: func() node.Snapshot { return *snap.Load() }})
}

func serveAs(t *testing.T, dir string, s control.Server) (stop func()) {
	t.Helper()
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func lease(safety node.Safety) *atomic.Pointer[node.Snapshot] {
	var p atomic.Pointer[node.Snapshot]
	p.Store(&node.Snapshot{
		Node: "lb01", Mode: "lease", ModeInWords: "by lease", Safety: safety, SafetyWhy: "because",
		Peers: []node.PeerSnapshot{},
		Claims: []node.ClaimSnapshot{{
			Name: "VI_1", State: "MASTER", Phase: "held", Holder: "lb01", RemainingMS: 2400,
			Permission: "leased by the witness", WitnessLost: "it stays", PeersLost: "it stays too",
			Instances: []node.InstanceSnapshot{{Name: "VI_1", State: "MASTER", VRID: 51}},
		}},
	})
	return &p
}

func TestStatusSaysWhoHolds(t *testing.T) {
	dir, _ := serve(t, lease(node.Safe))
	code, out, errOut := solovip(t, "status", "--run-dir", dir)
	if code != 0 || errOut != "" || !strings.HasPrefix(out, "VI_1: held by lb01, this node, since ") {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, errOut, out)
	}
}

func TestFenceStatusExitCodes(t *testing.T) {
	for _, c := range []struct {
		safety node.Safety
		code   int
		first  string
	}{
		{node.Safe, 0, "SAFE: because\n"},
		{node.Degraded, 4, "DEGRADED: because\n"},
		{node.Unsafe, 4, "UNSAFE: because\n"},
	} {
		dir, _ := serve(t, lease(c.safety))
		code, out, errOut := solovip(t, "fence", "status", "--run-dir", dir)
		if code != c.code || errOut != "" || !strings.HasPrefix(out, c.first) {
			t.Errorf("%s: exit code %d, want %d; stderr %q, stdout:\n%s", c.safety, code, c.code, errOut, out)
		}
		if code, _, _ = solovip(t, "fence", "status", "--json", "--run-dir", dir); code != c.code {
			t.Errorf("%s: exit code %d with --json, want %d", c.safety, code, c.code)
		}
	}
}

func TestJSONIsTheSnapshot(t *testing.T) {
	snap := lease(node.Degraded)
	dir, _ := serve(t, snap)
	for _, command := range []string{"status", "fence status"} {
		_, out, _ := solovip(t, append(strings.Fields(command), "--json", "--run-dir", dir)...)
		var got node.Snapshot
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%s: %v in\n%s", command, err, out)
		}
		if diff := cmp.Diff(*snap.Load(), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", command, diff)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	for _, command := range []string{"status", "status --json", "status --watch", "fence status", "fence status --watch"} {
		code, out, errOut := solovip(t, append(strings.Fields(command), "--run-dir", dir)...)
		if code != exitFailed || out != "" || !strings.HasPrefix(errOut, "solovip: no solovip runs with run directory "+dir) {
			t.Errorf("%s: exit code %d, want %d; stdout %q, stderr %q", command, code, exitFailed, out, errOut)
		}
	}
}

// A watch that is piped appends, and an interrupt is its orderly end.
func TestWatchAppendsWhenPiped(t *testing.T) {
	for _, c := range []struct{ name, flags, before, after string }{
		{"text", "--watch", "held by lb01", "held by lb02"},
		{"json", "--watch --json", `"holder":"lb01"`, `"holder":"lb02"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			snap := lease(node.Safe)
			dir, _ := serve(t, snap)
			cmd := child(t, "solovip", append([]string{"status", "--run-dir", dir}, strings.Fields(c.flags)...)...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			until(t, lines, c.before)
			next := *snap.Load()
			next.Claims = append([]node.ClaimSnapshot{}, next.Claims...)
			next.Claims[0].Phase, next.Claims[0].Holder = "idle", "lb02"
			snap.Store(&next)
			until(t, lines, c.after)
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() { // the rest
				if strings.Contains(lines.Text(), "\x1b") {
					t.Errorf("a pipe got terminal commands: %q", lines.Text())
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("after an interrupt: %v, want exit code 0", err)
			}
		})
	}
}

func until(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), want) {
			return
		}
	}
	t.Fatalf("the output ended before %q: %v", want, lines.Err())
}

// A watch on a terminal draws in place, and outlives a restart of the daemon.
func TestWatchOnATerminal(t *testing.T) {
	snap := lease(node.Safe)
	dir, stop := serve(t, snap)
	terminal, name := openTerminal(t, 100)
	cmd := child(t, "solovip", "status", "--watch", "--run-dir", dir)
	tty, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close() // the child has its own
	seen := &reader{t: t, r: terminal}
	seen.until("\x1b[2J\x1b[H")
	seen.until("held by lb01")
	seen.until("\x1b[J")
	stop()
	seen.until("has ended or does not answer any more")
	serveIn(t, dir, snap)
	seen.until("held by lb01")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v, want exit code 0", err)
	}
}

// reader reads what appears on a terminal.
type reader struct {
	t    *testing.T
	r    *os.File
	text string
}

func (r *reader) until(want string) {
	r.t.Helper()
	if err := r.r.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		r.t.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		if _, after, ok := strings.Cut(r.text, want); ok {
			r.text = after
			return
		}
		n, err := r.r.Read(b)
		r.text += string(b[:n])
		if err != nil && !errors.Is(err, io.EOF) {
			r.t.Fatalf("waiting for %q: %v; on the terminal:\n%q", want, err, r.text)
		}
	}
}

// openTerminal makes a terminal of some columns and returns its other end and its name.
func openTerminal(t *testing.T, columns uint16) (f *os.File, name string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { _ = f.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return f, fmt.Sprintf("/dev/pts/%d", n)
}

func streamOf(t *testing.T, f *os.File) string {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
