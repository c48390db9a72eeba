package guardian

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/await"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// TestMain makes the test binary be a worker, or a guardian in a process of its own.
func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(pauseName); ok {
		os.Exit(work(os.Args[1], os.Args[2]))
	}
	if diary := os.Getenv("GUARDIAN_TEST"); diary != "" {
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, syscall.SIGTERM)
		os.Exit(Run(config(diary, "steady", signals, os.Stderr)))
	}
	os.Exit(m.Run())
}

// work is a worker of the given kind that keeps a diary: a line for each thing that
// happens to it.
func work(kind, diary string) int {
	link, err := Inherit()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	write := func(format string, args ...any) {
		f, err := os.OpenFile(diary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, format+"\n", args...)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	link.Here()
	write("start %d %v", os.Getpid(), link.Pause)
	if kind == "stillborn" {
		return 7
	}
	link.Beat()
	link.Notify("READY=1")
	if kind == "leaves" {
		link.Again()
		return 0
	}
	if kind == "rests" {
		link.Rest()
		return 0
	}
	if kind == "deaf" {
		signal.Ignore(TakeOver)
	}
	if kind == "refuses" {
		link.Final()
		return 2
	}
	var beat <-chan time.Time
	if kind != "hangs" {
		beat = time.Tick(BeatEvery / 2)
	}
	for {
		select {
		case <-beat:
			link.Beat()
		case s := <-signals:
			write("%v", s)
			switch {
			case s == syscall.SIGHUP:
			case kind == "dies-stopping":
				panic("on the way out")
			case kind == "stubborn", kind == "hangs":
			default:
				link.Final()
				return 0
			}
		case <-link.Gone():
			write("orphaned")
			return 0
		}
	}
}

func config(diary, kind string, signals <-chan os.Signal, log *os.File) Config {
	return Config{
		Workers: []Worker{{Name: "test", Args: []string{kind, diary}}},
		Signals: signals, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// run is a guardian under test, in this process.
type run struct {
	t       *testing.T
	diary   string
	signals chan os.Signal
	code    chan int

	mu   sync.Mutex // guards told
	told []string
}

func guard(t *testing.T, kind string, change func(*Config)) *run {
	t.Helper()
	r := &run{t: t, diary: filepath.Join(t.TempDir(), "diary"), signals: make(chan os.Signal), code: make(chan int, 1)}
	log, err := os.Create(r.diary + ".log")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(r.diary, kind, r.signals, log)
	cfg.Notify = func(state string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told = append(r.told, state)
	}
	if change != nil {
		change(&cfg)
	}
	go func() { r.code <- Run(cfg) }()
	t.Cleanup(func() {
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(r.diary + ".log")
			t.Logf("log:\n%s\ndiary:\n%s", text, strings.Join(lines(r.diary), "\n"))
		}
	})
	return r
}

func lines(path string) []string {
	text, _ := os.ReadFile(path) // not there yet: empty
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// line waits for line n of the diary, which must begin so.
func (r *run) line(n int, begins string) string {
	r.t.Helper()
	awaitLine(r.t, r.diary, n)
	got := lines(r.diary)[n]
	if !strings.HasPrefix(got, begins) {
		r.t.Fatalf("line %d of the diary is %q, want %q", n, got, begins)
	}
	return got
}

func awaitLine(t *testing.T, diary string, n int) {
	t.Helper()
	await.That(t, fmt.Sprintf("line %d of the diary", n), func() bool {
		l := lines(diary)
		return len(l) > n && l[0] != ""
	})
}

func (r *run) pid(n int) int { r.t.Helper(); return pidOf(r.t, r.line(n, "start ")) }

func pidOf(t *testing.T, line string) int {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 2 {
		t.Fatalf("no process in %q", line)
	}
	pid, err := strconv.Atoi(words[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func (r *run) ends(code int) {
	r.t.Helper()
	select {
	case got := <-r.code:
		if got != code {
			r.t.Fatalf("exit code %d, want %d", got, code)
		}
	case <-time.After(patience):
		r.t.Fatal("the guardian does not end")
	}
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("signal %v to %d: %v", s, pid, err)
	}
}

func TestAWorkerThatRefusesIsNotStartedAgain(t *testing.T) {
	for kind, code := range map[string]int{"refuses": 2, "stillborn": 7} {
		r := guard(t, kind, nil)
		r.ends(code)
		if n := len(lines(r.diary)); n != 1 {
			t.Errorf("%s: started %d times, want once", kind, n)
		}
	}
}

// A worker that has left everything in place asks for the whole program to be started anew.
func TestAWorkerThatLeavesEndsTheGuardian(t *testing.T) {
	guard(t, "leaves", nil).ends(Again)
}

// A killed worker is replaced at once; when its successors die too, they are told to wait
// after they have cleaned up.
func TestAKilledWorkerIsReplaced(t *testing.T) {
	r := guard(t, "steady", nil)
	for n, pause := range []string{" 0s", " 0s", " 100ms", " 200ms"} {
		pid := r.pid(n)
		if line := r.line(n, "start "); !strings.HasSuffix(line, pause) {
			t.Errorf("process %d was started so: %q, want%s", n, line, pause)
		}
		kill(t, pid, syscall.SIGKILL)
	}
	r.line(4, "start ")
	r.signals <- syscall.SIGTERM
	r.line(5, "terminated")
	r.ends(0)
}

// A worker that stands still, and one whose loop does, are both replaced.
func TestAHungWorkerIsReplaced(t *testing.T) {
	r := guard(t, "steady", nil)
	kill(t, r.pid(0), syscall.SIGSTOP)
	r.line(1, "start ")
	r.signals <- syscall.SIGTERM
	r.ends(0)

	r = guard(t, "hangs", nil)
	first := r.pid(0)
	if r.pid(1) == first {
		t.Error("the hung process was not replaced")
	}
	if err := syscall.Kill(first, 0); err == nil {
		t.Error("its successor was started while it lived")
	}
	r.signals <- syscall.SIGTERM
	r.signals <- syscall.SIGTERM
	r.ends(1)
}

func TestSignalsReachTheWorker(t *testing.T) {
	r := guard(t, "stubborn", nil)
	pid := r.pid(0)
	r.signals <- syscall.SIGHUP
	r.line(1, "hangup")
	r.signals <- syscall.SIGTERM
	r.line(2, "terminated")
	r.signals <- syscall.SIGINT // a second one ends it, whatever the worker says to that
	r.ends(1)
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the worker lives on")
	}
}

// A worker that dies while it stops has left something behind: one more cleans up.
func TestAWorkerThatDiesWhileItStops(t *testing.T) {
	r := guard(t, "dies-stopping", nil)
	r.pid(0)
	r.signals <- syscall.SIGTERM
	r.line(1, "terminated")
	r.line(2, "start ")
	r.ends(2) // of its panic, as before
}

// systemd hears of the worker through the guardian, and is told that all is well only
// while the worker says so.
func TestTheServiceManagerIsTold(t *testing.T) {
	heard := func(r *run, state string) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Contains(r.told, state)
	}
	r := guard(t, "steady", func(c *Config) { c.Watchdog = tickEvery })
	for _, state := range []string{"READY=1", "WATCHDOG=1"} {
		await.That(t, state, func() bool { return heard(r, state) })
	}
	r.signals <- syscall.SIGTERM
	r.ends(0)
}

func TestALimitSilencesTheWatchdog(t *testing.T) {
	var log bytes.Buffer
	told := 0
	g := &guardian{Config: Config{
		Limit: defaultMax, Watchdog: tickEvery, Notify: func(string) { told++ },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}}
	w := &worker{up: true, killed: true} // and the kernel does not let it die
	w.cmd = child()
	g.workers = []*worker{w}
	for range 2 * ticks(defaultMax) {
		g.tick()
	}
	if told != ticks(defaultMax)-1 {
		t.Errorf("the watchdog was told %d times, want it until the limit, %d", told, ticks(defaultMax)-1)
	}
}

func child() *exec.Cmd { return exec.Command("/proc/self/exe") }

// own starts a guardian in a process of its own and returns it and its diary.
func own(t *testing.T) (pid int, diary string) {
	t.Helper()
	diary = filepath.Join(t.TempDir(), "diary")
	cmd := child()
	cmd.Env = append(os.Environ(), "GUARDIAN_TEST="+diary)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	awaitLine(t, diary, 0)
	return cmd.Process.Pid, diary
}

// When the guardian is killed, its worker stops in order.
func TestTheWorkerGoesWithItsGuardian(t *testing.T) {
	pid, diary := own(t)
	worker := pidOf(t, lines(diary)[0])
	kill(t, pid, syscall.SIGKILL)
	awaitLine(t, diary, 1)
	if got := lines(diary)[1]; got != "terminated" && got != "orphaned" {
		t.Errorf("the worker heard %q of it", got)
	}
	await.That(t, "the worker's end", func() bool { return syscall.Kill(worker, 0) != nil })
}

// When all stood still nobody hangs: a machine that was suspended, or too busy.
func TestAllStandStill(t *testing.T) {
	pid, diary := own(t)
	worker := pidOf(t, lines(diary)[0])
	kill(t, pid, syscall.SIGSTOP)
	kill(t, worker, syscall.SIGSTOP)
	<-time.After(3 * defaultMax / 2)
	kill(t, pid, syscall.SIGCONT) // the guardian first: it must not judge by the clock
	kill(t, worker, syscall.SIGCONT)
	kill(t, pid, syscall.SIGTERM)
	awaitLine(t, diary, 1)
	if got := lines(diary)[1]; got != "terminated" {
		t.Errorf("after the stand-still came %q, want the same worker to stop in order", got)
	}
}
