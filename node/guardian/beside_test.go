package guardian

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/await"
)

// beside runs a guardian with a worker of a kind and another one beside it, which has a diary of its own.
func beside(t *testing.T, kind, other string) (r *run, second string) {
	t.Helper()
	second = filepath.Join(t.TempDir(), "second")
	return guard(t, kind, func(c *Config) {
		c.Workers = append(c.Workers, Worker{Name: "second", Args: []string{other, second}, Beside: true})
	}), second
}

// starts counts the processes that a diary tells of.
func starts(diary string) int { return strings.Count(strings.Join(lines(diary), "\n"), "start ") }

// One that has nothing to do ends, is started with the next SIGHUP, and nobody else notices.
func TestAWorkerBesideRests(t *testing.T) {
	r, second := beside(t, "steady", "rests")
	r.line(0, "start ")
	for n := range 3 {
		awaitLine(t, second, n)
		r.signals <- syscall.SIGHUP
		r.line(n+1, "hangup")
	}
	awaitLine(t, second, 3)
	r.signals <- syscall.SIGTERM
	r.ends(0)
	if n := starts(r.diary); n != 1 {
		t.Errorf("the other worker was started %d times", n)
	}
}

// One that never gets anywhere, and one that refuses, are tried again and again; the other one
// is not ended, as it would be by its own end.
func TestAWorkerBesideHasItsOwnTroubles(t *testing.T) {
	for _, kind := range []string{"stillborn", "refuses"} {
		r, second := beside(t, "steady", kind)
		awaitLine(t, second, 3)
		if n := starts(r.diary); n != 1 {
			t.Errorf("%s: the other worker was started %d times", kind, n)
		}
		r.signals <- syscall.SIGTERM
		r.line(1, "terminated")
	}
	r, second := beside(t, "steady", "steady")
	for n := range 2 {
		awaitLine(t, second, n)
		kill(t, pidOf(t, lines(second)[n]), syscall.SIGKILL)
	}
	awaitLine(t, second, 2)
	kill(t, pidOf(t, lines(second)[2]), syscall.SIGSTOP)
	awaitLine(t, second, 3)
	r.signals <- syscall.SIGTERM
	r.line(1, "terminated")
	r.ends(0)
}

// It hears of a stop when the others have ended.
func TestAWorkerBesideStopsLast(t *testing.T) {
	r, second := beside(t, "stubborn", "steady")
	r.line(0, "start ")
	awaitLine(t, second, 0)
	r.signals <- syscall.SIGTERM
	r.line(1, "terminated")
	<-time.After(5 * tickEvery)
	if l := lines(second); len(l) != 1 {
		t.Errorf("while the other one stops it heard %q", l[1:])
	}
	r.signals <- syscall.SIGTERM
	r.ends(1)

	r, second = beside(t, "steady", "steady")
	r.line(0, "start ")
	awaitLine(t, second, 0)
	r.signals <- syscall.SIGTERM
	r.ends(0)
	if l := lines(second); len(l) != 2 || l[1] != "terminated" {
		t.Errorf("it heard %q, want that it has to stop", l[1:])
	}
}

// When the program is started anew, it ends at once, whether it wants to or not.
func TestAWorkerBesideLeaves(t *testing.T) {
	for _, kind := range []string{"steady", "deaf"} {
		r, second := beside(t, "leaves", kind)
		r.ends(Again)
		for _, line := range lines(second) {
			if pid, ok := strings.CutPrefix(line, "start "); ok {
				await.That(t, kind+": its end", func() bool { return syscall.Kill(pidOf(t, "start "+pid), 0) != nil })
			} else if line != "" {
				t.Errorf("%s: it heard %q", kind, line)
			}
		}
	}
}
