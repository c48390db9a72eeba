package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/fencing/guard"
	"github.com/solovip/solovip/internal/await"
)

// limit is far more than any step of these tests takes; it only ends a hang.
const limit = 20 * time.Second

// script writes an executable shell script; @DIR@ in it is its directory.
func script(t *testing.T, dir, name, text string) guard.Command {
	t.Helper()
	path := filepath.Join(dir, name)
	text = "#!/bin/sh\n" + strings.ReplaceAll(text, "@DIR@", dir)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return guard.Command{Args: []string{path}}
}

func newGuard(t *testing.T, cfg guard.Config) *guard.Guard {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "web"
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 300 * time.Millisecond
	}
	g, err := guard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_ = g.Kill(ctx) // a test that failed may have left something
		g.Close()
	})
	return g
}

func start(t *testing.T, g *guard.Guard) {
	t.Helper()
	if err := g.Start(t.Context(), nil); err != nil {
		t.Fatalf("start: %v", err)
	}
	want(t, g, guard.Running)
}

func want(t *testing.T, g *guard.Guard, state guard.State) {
	t.Helper()
	if got, err := g.Running(t.Context()); got != state {
		t.Fatalf("the service is %v (%v), want %v", got, err, state)
	}
}

// pidIn waits for a process id in a file that a script writes.
func pidIn(t *testing.T, path string) int {
	t.Helper()
	var pid int
	await.That(t, "a process id in "+path, func() bool {
		text, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func TestForegroundServiceIsStoppedInOrder(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{RunDir: dir, Start: script(t, dir, "run", `
trap 'echo stopped in order > @DIR@/end; exit 0' TERM
echo $$ > @DIR@/pid
while :; do sleep 0.05; done`)})
	start(t, g)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	if err := g.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	want(t, g, guard.Stopped)
	if alive(pid) {
		t.Error("the service lives after a stop that succeeded")
	}
	if _, err := os.Stat(filepath.Join(dir, "end")); err != nil {
		t.Error("the service was not asked to end before it was killed")
	}
}

func TestStartedTwiceRunsOnce(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{RunDir: dir, Start: script(t, dir, "run", "echo start >> @DIR@/starts; echo $$ > @DIR@/pid; exec sleep 1000")})
	start(t, g)
	pidIn(t, filepath.Join(dir, "pid"))
	start(t, g)
	text, err := os.ReadFile(filepath.Join(dir, "starts"))
	if err != nil || strings.Count(string(text), "start") != 1 {
		t.Errorf("started %q (%v), want one start", text, err)
	}
}

func TestServiceThatIgnoresTermIsKilledInTime(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{RunDir: dir, Start: script(t, dir, "run", "trap '' TERM; echo $$ > @DIR@/pid; while :; do sleep 0.05; done")})
	start(t, g)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	if err := g.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if alive(pid) {
		t.Error("it lives")
	}
}

func TestBackgroundServiceGoesWithItsFamily(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{RunDir: dir, Start: script(t, dir, "run", "sleep 1000 & echo $! > @DIR@/pid")})
	start(t, g)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	if err := g.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if alive(pid) {
		t.Error("the process in the background lives")
	}
}

func TestStopCommandThatHangsIsCutShort(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{
		RunDir: dir,
		Start:  script(t, dir, "run", "echo $$ > @DIR@/pid; exec sleep 1000"),
		Stop:   script(t, dir, "halt", "echo $$ > @DIR@/halting; exec sleep 1000"),
	})
	start(t, g)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	_ = g.Stop(t.Context()) // whether a stop command that was killed proves anything is not the point here
	if alive(pid) {
		t.Error("the service lives")
	}
	if alive(pidIn(t, filepath.Join(dir, "halting"))) {
		t.Error("the stop command lives")
	}
}

func TestKillDoesNotAsk(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{
		RunDir: dir, StopTimeout: limit,
		Start: script(t, dir, "run", "trap 'echo asked > @DIR@/asked; exit 0' TERM; echo $$ > @DIR@/pid; while :; do sleep 0.05; done"),
	})
	start(t, g)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	if err := g.Kill(t.Context()); err != nil {
		t.Fatalf("kill: %v", err)
	}
	if alive(pid) {
		t.Error("it lives")
	}
	if _, err := os.Stat(filepath.Join(dir, "asked")); err == nil {
		t.Error("it was asked to end: there is no time for that")
	}
}

func TestServiceThatSaysItRunsIsNotStopped(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{
		RunDir: dir,
		Start:  guard.Command{Args: []string{"/bin/true"}},
		Stop:   guard.Command{Args: []string{"/bin/true"}},
		Status: guard.Command{Args: []string{"/bin/true"}}, // 0: running, whatever is done
	})
	start(t, g)
	if err := g.Stop(t.Context()); err == nil {
		t.Fatal("a service whose status says that it runs counts as stopped")
	}
	if err := g.Kill(t.Context()); err == nil {
		t.Fatal("killed, it counts as stopped although its status says that it runs")
	}
}

func TestStartThatFails(t *testing.T) {
	dir := t.TempDir()
	// With a status command the start is up when that says so, however slow this machine is.
	g := newGuard(t, guard.Config{RunDir: dir, Start: script(t, dir, "run", "exit 3"), Status: guard.Command{Args: []string{"/bin/false"}}})
	err := g.Start(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "3") {
		t.Fatalf("error %v, want one that names exit status 3", err)
	}
	want(t, g, guard.Stopped)
}

func TestSuccessorStopsWhatItsPredecessorStarted(t *testing.T) {
	dir := t.TempDir()
	cfg := guard.Config{RunDir: dir, Start: script(t, dir, "run", "echo $$ > @DIR@/pid; exec sleep 1000")}
	first := newGuard(t, cfg)
	start(t, first)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	first.Close() // as when the daemon dies: nothing is stopped
	if !alive(pid) {
		t.Fatal("closing the guard ended the service")
	}
	second := newGuard(t, cfg)
	want(t, second, guard.Running)
	if err := second.Kill(t.Context()); err != nil {
		t.Fatalf("kill by the successor: %v", err)
	}
	await.That(t, "the service ends", func() bool { return !alive(pid) })
	// A successor with another configuration finds it too.
	third := newGuard(t, cfg)
	start(t, third)
	pid = pidIn(t, filepath.Join(dir, "pid"))
	third.Close()
	left, err := guard.Adopt(dir, nil, nil)
	if err != nil || len(left) != 1 {
		t.Fatalf("adopted %d guards, error %v; want one", len(left), err)
	}
	defer left[0].Close()
	if err := left[0].Kill(t.Context()); err != nil {
		t.Fatalf("kill what was adopted: %v", err)
	}
	await.That(t, "the service ends", func() bool { return !alive(pid) })
}

func TestExitIsTold(t *testing.T) {
	dir := t.TempDir()
	ended := make(chan error, 1)
	g := newGuard(t, guard.Config{
		RunDir: dir, Exited: func(err error) { ended <- err },
		Start: script(t, dir, "run", "echo $$ > @DIR@/pid; exec sleep 1000"),
	})
	start(t, g)
	if err := syscall.Kill(pidIn(t, filepath.Join(dir, "pid")), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended: //nolint:errcheck // that it ends is looked for
	case <-time.After(limit):
		t.Fatal("nobody was told that the service has ended")
	}
	want(t, g, guard.Stopped)
}

func TestEnvironmentReachesTheService(t *testing.T) {
	dir := t.TempDir()
	g := newGuard(t, guard.Config{RunDir: dir, Start: script(t, dir, "run", "echo $SOLOVIP_TOKEN > @DIR@/token; exec sleep 1000")})
	if err := g.Start(t.Context(), []string{"SOLOVIP_TOKEN=17"}); err != nil {
		t.Fatal(err)
	}
	if token := pidIn(t, filepath.Join(dir, "token")); token != 17 {
		t.Errorf("the service got token %d, want 17", token)
	}
}

// TestNginx drives the real one: started in the background by its own command, asked by
// its own status, stopped by its own stop.
func TestNginx(t *testing.T) {
	const nginx = "/usr/sbin/nginx"
	if _, err := exec.LookPath(nginx); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("nginx is missing: `make deps` installs it")
		}
		t.Skip("nginx is missing: `make deps` installs it")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	socket := filepath.Join(dir, "http")
	text := strings.ReplaceAll(`pid @DIR@/pid; error_log @DIR@/err; events {} http { access_log off;
client_body_temp_path @DIR@; proxy_temp_path @DIR@; fastcgi_temp_path @DIR@; uwsgi_temp_path @DIR@; scgi_temp_path @DIR@;
server { listen unix:@DIR@/http; location / { return 200 served; } } }`, "@DIR@", dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	g := newGuard(t, guard.Config{
		RunDir: dir, StopTimeout: 5 * time.Second,
		Start:  guard.Command{Args: []string{nginx, "-c", conf}},
		Stop:   guard.Command{Args: []string{nginx, "-c", conf, "-s", "stop"}},
		Status: script(t, dir, "status", "test -f @DIR@/pid && kill -0 $(cat @DIR@/pid)"),
	})
	start(t, g)
	client := http.Client{Transport: unixTransport(socket)}
	resp, err := client.Get("http://nginx/")
	if err != nil {
		t.Fatalf("nginx does not serve: %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	pid := pidIn(t, filepath.Join(dir, "pid"))
	if err := g.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	want(t, g, guard.Stopped)
	await.That(t, "nginx ends", func() bool { return !alive(pid) })
}

// units is a systemd that knows one unit.
type units struct {
	state string
	calls []string
	fail  error
}

func (u *units) StartUnitContext(_ context.Context, unit, _ string, result chan<- string) (int, error) {
	u.calls = append(u.calls, "start "+unit)
	u.state = "active"
	go func() { result <- "done" }() // as the real one: after the call has returned
	return 1, u.fail
}

func (u *units) StopUnitContext(_ context.Context, unit, _ string, result chan<- string) (int, error) {
	u.calls = append(u.calls, "stop "+unit)
	u.state = "inactive"
	go func() { result <- "done" }() // as the real one: after the call has returned
	return 1, u.fail
}

func (u *units) KillUnitContext(_ context.Context, unit string, signal int32) {
	u.calls = append(u.calls, fmt.Sprintf("kill %s %d", unit, signal))
	u.state = "failed"
}

func (u *units) GetUnitPropertiesContext(context.Context, string) (map[string]any, error) {
	return map[string]any{"ActiveState": u.state, "LoadState": "loaded", "SubState": "", "MainPID": uint32(0), "ControlGroup": ""}, u.fail
}

func (*units) Close() {}

func TestUnit(t *testing.T) {
	u := &units{state: "inactive"}
	g := newGuard(t, guard.Config{RunDir: t.TempDir(), Systemd: "nginx.service", Units: func(context.Context) (guard.Units, error) { return u, nil }})
	want(t, g, guard.Stopped)
	start(t, g)
	if err := g.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	want(t, g, guard.Stopped)
	start(t, g)
	if err := g.Kill(t.Context()); err != nil {
		t.Fatalf("kill: %v", err)
	}
	if got := strings.Join(u.calls, ", "); !strings.HasPrefix(got, "start nginx.service, stop nginx.service, start nginx.service, kill nginx.service 9") {
		t.Errorf("systemd was asked to %s", got)
	}
}

func TestUnitWithoutSystemdIsUnknown(t *testing.T) {
	g := newGuard(t, guard.Config{RunDir: t.TempDir(), Systemd: "nginx.service", Units: func(context.Context) (guard.Units, error) {
		return nil, errors.New("no bus")
	}})
	want(t, g, guard.Unknown)
	if err := g.Start(t.Context(), nil); err == nil {
		t.Error("started without systemd")
	}
	if err := g.Stop(t.Context()); err == nil {
		t.Error("counts as stopped although nobody could tell")
	}
}
