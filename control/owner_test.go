package control

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLookingKeepsNobodyOut: whoever waits for a successor, as `solovip node --take-over` does, looks
// again and again who runs. A daemon that starts meanwhile must not take that for another daemon.
func TestLookingKeepsNobodyOut(t *testing.T) {
	dir := t.TempDir()
	done, looked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-done:
				looked <- n
				return
			default:
			}
			if pid, err := Owner(dir); err == nil && pid != os.Getpid() {
				t.Errorf("process %d has the directory", pid)
			}
		}
	}()
	for range 2000 {
		l, err := Listen(dir)
		if err != nil {
			t.Error(err)
			break
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	if n := <-looked; n < 100 {
		t.Errorf("it was looked at only %d times", n)
	}
}

// TestLockOfADeadDaemonIsWaitedFor: a daemon that was killed while it started a program leaves its lock
// to that process for a moment. One that lives keeps it.
func TestLockOfADeadDaemonIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile()); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(f, dead.Process.Pid); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() }) // the program runs
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := Owner(dir); pid != os.Getpid() {
		t.Errorf("the directory is that of process %d: %v", pid, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Owner(dir); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody has it any more: %v", err)
	}
}
