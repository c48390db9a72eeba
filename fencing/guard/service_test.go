package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/port"
)

// sh is a command that runs a script.
func sh(format string, args ...any) Command {
	return Command{Args: []string{"/bin/sh", "-c", fmt.Sprintf(format, args...)}}
}

// place is a directory for one test's run files and for what its scripts leave.
type place struct {
	t    testing.TB
	dir  string
	said *await.Log

	cgroups bool // as where this process may make control groups
}

func newPlace(tb testing.TB) *place {
	tb.Helper()
	return &place{t: tb, dir: tb.TempDir(), said: &await.Log{}}
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// guard makes a guard with short timeouts, whose service is killed when the test ends.
func (p *place) guard(cfg Config) *Guard {
	p.t.Helper()
	cfg.Name, cfg.RunDir, cfg.noCgroup = "web", p.dir, !p.cgroups
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 500 * time.Millisecond
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = 5 * time.Second
	}
	cfg.Logger = slog.New(slog.NewTextHandler(p.said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = g.Kill(context.Background())
		g.Close()
	})
	return g
}

// pid waits for a script to leave a process id.
func (p *place) pid(name string) int {
	p.t.Helper()
	var pid int
	await.That(p.t, name+" is written", func() bool {
		b, _ := os.ReadFile(p.path(name))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return pid > 0 && strings.HasSuffix(string(b), "\n")
	})
	return pid
}

func (p *place) exists(name string) bool {
	_, err := os.Stat(p.path(name))
	return err == nil
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	p, err := stat(pid)
	return err == nil && !p.dead
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantState(tb testing.TB, g *Guard, want State) {
	tb.Helper()
	got, err := g.Running(tb.Context())
	if got != want || (err != nil) != (want == Unknown) {
		tb.Fatalf("state is %v (%v), want %v", got, err, want)
	}
}

func wantError(tb testing.TB, err error, text string) {
	tb.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		tb.Fatalf("error is %v, want one that says %q", err, text)
	}
}

// stays writes its process id and stays in the foreground.
const stays = `echo $$ > %s; exec sleep 1000`

func TestEnvironmentReachesEveryCommand(t *testing.T) {
	p := newPlace(t)
	say := func(file string) Command { return sh(`echo $A $B $TOKEN $SOLOVIP_GUARD > %s`, p.path(file)) }
	g := p.guard(Config{Start: say("start"), Stop: say("stop"), Env: []string{"A=1", "B=2"}})
	check(t, g.Start(t.Context(), []string{"TOKEN=7", "B=3"}))
	check(t, g.Stop(t.Context()))
	for _, file := range []string{"start", "stop"} {
		if b, _ := os.ReadFile(p.path(file)); string(b) != "1 3 7 web\n" {
			t.Errorf("%s command had %q", file, b)
		}
	}
}

// The whole session goes: what ignores SIGTERM, what was forked, and what is in a
// process group of its own.
func TestWhatIgnoresSIGTERMIsKilled(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(`trap '' TERM; sleep 1000 & echo $! > %s; set -m; sleep 1001 & echo $! > %s
		echo $$ > %s; while :; do wait; done`, p.path("child"), p.path("group"), p.path("leader"))})
	check(t, g.Start(t.Context(), nil))
	pids := []int{p.pid("leader"), p.pid("child"), p.pid("group")}
	began := time.Now()
	check(t, g.Stop(t.Context()))
	if d := time.Since(began); d < 450*time.Millisecond || d > 2*time.Second {
		t.Errorf("Stop took %v with a timeout of 500ms", d)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d lives", pid)
		}
	}
}

func TestTheEndOfAForegroundServiceIsTold(t *testing.T) {
	p := newPlace(t)
	ended := make(chan error, 8)
	g := p.guard(Config{Start: sh(stays, p.path("pid")), Exited: func(err error) { ended <- err }})
	check(t, g.Start(t.Context(), nil))
	check(t, g.Stop(t.Context())) // nothing to tell
	check(t, os.Remove(p.path("pid")))
	check(t, g.Start(t.Context(), nil))
	check(t, syscall.Kill(p.pid("pid"), syscall.SIGKILL))
	select {
	case err := <-ended:
		wantError(t, err, "killed")
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was told")
	}
	wantState(t, g, Stopped)
	check(t, g.Start(t.Context(), nil)) // a dead one can be started again
	wantState(t, g, Running)
	check(t, g.Stop(t.Context()))
	g2 := p.guard(Config{Start: sh("sleep 0.3; exit 3"), Exited: func(err error) { ended <- err }})
	check(t, g2.Start(t.Context(), nil))
	wantError(t, <-ended, "exit status 3")
	if len(ended) > 0 {
		t.Errorf("told too much: %v", <-ended)
	}
}

// daemon starts a process that leaves its session, as daemons do, and notes its id.
const daemon = `setsid sh -c 'echo $$ > %s; exec sleep 1000' </dev/null >/dev/null 2>&1 &`

func TestDaemonWithStopAndStatus(t *testing.T) {
	for _, end := range []string{"stop", "kill"} {
		t.Run(end, func(t *testing.T) {
			p := newPlace(t)
			pidFile := p.path("pid")
			g := p.guard(Config{
				Start:  sh(daemon, pidFile),
				Stop:   sh(`kill $(cat %[1]s) && rm %[1]s`, pidFile),
				Status: sh(`test -s %[1]s && kill -0 $(cat %[1]s)`, pidFile),
			})
			wantState(t, g, Stopped)
			check(t, g.Start(t.Context(), nil))
			pid := p.pid("pid")
			wantState(t, g, Running)
			if end == "stop" {
				check(t, g.Stop(t.Context()))
			} else {
				check(t, g.Kill(t.Context()))
			}
			wantState(t, g, Stopped)
			if p.exists("guard-web.json") {
				t.Error("the run file is there")
			}
			await.That(t, "the daemon ends", func() bool { return !alive(pid) }) // its stop does not wait for it
		})
	}
}

// Without a status command the stop command's word counts, and its failure too.
func TestDaemonWithoutStatus(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(daemon, p.path("pid")), Stop: sh(`kill $(cat %[1]s) && rm %[1]s`, p.path("pid"))})
	check(t, g.Start(t.Context(), nil))
	pid := p.pid("pid")
	wantState(t, g, Unknown)
	check(t, g.Start(t.Context(), nil)) // it was started: once is enough
	if p.pid("pid") != pid {
		t.Error("it was started twice")
	}
	check(t, g.Stop(t.Context()))
	wantState(t, g, Stopped)
	await.That(t, "the daemon ends", func() bool { return !alive(pid) }) // its stop does not wait for it
	check(t, g.Start(t.Context(), nil))
	pid = p.pid("pid")
	check(t, os.Rename(p.path("pid"), p.path("lost")))
	wantError(t, g.Stop(t.Context()), "cannot be shown to be stopped")
	if !p.exists("guard-web.json") {
		t.Error("the run file went, and the service did not")
	}
	check(t, os.Rename(p.path("lost"), p.path("pid")))
	check(t, g.Stop(t.Context()))
	await.That(t, "the daemon ends", func() bool { return !alive(pid) }) // its stop does not wait for it
}

// A daemon that nothing could ever stop is refused, and never called stopped.
func TestDaemonThatNothingCanStop(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(daemon, p.path("pid"))})
	wantError(t, g.Start(t.Context(), nil), "left its session")
	pid := p.pid("pid")
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	wantState(t, g, Unknown)
	wantError(t, g.Stop(t.Context()), "cannot be shown to be stopped")
	wantError(t, g.Start(t.Context(), nil), "remove "+p.path("guard-web.json"))
	g.Close()
	g = p.guard(Config{Start: sh(daemon, p.path("pid"))}) // nor by a successor
	wantState(t, g, Unknown)
}

func TestAStartThatFails(t *testing.T) {
	rows := []struct {
		name string
		cfg  func(p *place) Config
		says string
	}{
		{"no such program", func(*place) Config {
			return Config{Start: Command{Args: []string{"/nowhere/httpd"}}}
		}, "no such file"},
		{"exit status", func(*place) Config { return Config{Start: sh("exit 7")} }, "exit status 7"},
		{"hangs", func(p *place) Config {
			return Config{Start: sh(stays, p.path("pid")), Status: sh("exit 3"), StartTimeout: 300 * time.Millisecond}
		}, "not up"},
		{"up by its exit, down by its status", func(*place) Config {
			return Config{Start: sh("exit 0"), Status: sh("exit 3"), StartTimeout: 300 * time.Millisecond}
		}, "not up"},
		{"status hangs", func(p *place) Config {
			return Config{Start: sh(stays, p.path("pid")), Status: sh("sleep 1000"), StartTimeout: 300 * time.Millisecond}
		}, "deadline"},
		{"no room for the run file", func(p *place) Config {
			check(t, os.Mkdir(p.path("guard-web.json.new"), 0o700))
			return Config{Start: sh(stays, p.path("pid"))}
		}, "run file"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t)
			g := p.guard(row.cfg(p))
			wantError(t, g.Start(t.Context(), nil), row.says)
			if p.exists("pid") && alive(p.pid("pid")) {
				t.Error("it was left running")
			}
		})
	}
}

func TestAStopCommandThatHangsIsKilledToo(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(stays, p.path("pid")), Stop: sh(`trap '' TERM; echo $$ > %s; while :; do sleep 1; done`, p.path("stop"))})
	check(t, g.Start(t.Context(), nil))
	pid := p.pid("pid")
	check(t, g.Stop(t.Context()))
	if alive(pid) || alive(p.pid("stop")) {
		t.Errorf("lives: service %v, stop command %v", alive(pid), alive(p.pid("stop")))
	}
}

func TestAStatusThatDoesNotTell(t *testing.T) {
	for name, status := range map[string]Command{
		"hangs": sh("sleep 1000"), "LSB unknown": sh("exit 4"), "no such command": sh("/nowhere/status"),
		"signal": sh("kill -9 $$"), "no such program": {Args: []string{"/nowhere/status"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			g := p.guard(Config{Start: sh("exit 0"), Stop: sh("exit 0"), Status: status, StopTimeout: 200 * time.Millisecond})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if s, err := g.Running(ctx); s != Unknown || err == nil {
				t.Errorf("state is %v, %v", s, err)
			}
			wantError(t, g.Stop(t.Context()), "cannot be shown to be stopped")
		})
	}
}

// The service is there although both its stop and its status command say otherwise.
func TestProcessesOutweighWhatCommandsSay(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{
		Start: sh(`trap '' TERM; echo $$ > %s; while :; do sleep 0.1; done`, p.path("pid")),
		Stop:  sh("exit 0"), Status: sh("test -e %s && test ! -e %s", p.path("pid"), p.path("liar")),
	})
	check(t, g.Start(t.Context(), nil))
	pid := p.pid("pid")
	check(t, os.WriteFile(p.path("liar"), nil, 0o600))
	wantState(t, g, Running)
	check(t, g.Stop(t.Context()))
	if alive(pid) {
		t.Error("it lives")
	}
}

func TestKillCutsAStartShort(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(stays, p.path("pid")), Status: sh("test -e %s", p.path("up")), StartTimeout: time.Minute})
	started := make(chan error)
	go func() { started <- g.Start(t.Context(), nil) }()
	pid := p.pid("pid")
	began := time.Now()
	check(t, g.Kill(t.Context()))
	if d := time.Since(began); d > 5*time.Second || alive(pid) {
		t.Errorf("after %v the process is there: %v", d, alive(pid))
	}
	wantError(t, <-started, "canceled")
}

// On a host where nothing was started, a stop command that fails because there is
// nothing to stop is no trouble, though there is no status command to tell.
func TestNothingToStop(t *testing.T) {
	for _, exit := range []int{0, 1, 5, 127} {
		p := newPlace(t)
		g := p.guard(Config{Start: sh("exit 0"), Stop: sh("echo x >> %s; exit %d", p.path("asked"), exit)})
		wantState(t, g, Unknown)
		err := g.Kill(t.Context())
		if (err == nil) != (exit != 127) {
			t.Errorf("exit %d: Kill: %v", exit, err)
		}
		if !p.exists("asked") {
			t.Errorf("exit %d: the stop command was not run", exit)
		}
	}
}

// A status command that hangs does not keep the stop command from being run.
func TestAStatusThatHangsDoesNotHinderTheStop(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh("exit 0"), Status: sh("sleep 1000"), Stop: sh("touch %s", p.path("asked"))})
	wantError(t, g.Stop(t.Context()), "cannot be shown to be stopped")
	if !p.exists("asked") {
		t.Error("the stop command was not run")
	}
}

// When the caller's patience ends the service is killed, not abandoned half stopped.
func TestAStopThatIsCutShortKills(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(`trap '' TERM; echo $$ > %s; while :; do sleep 0.1; done`, p.path("pid")), StopTimeout: time.Minute})
	check(t, g.Start(t.Context(), nil))
	pid := p.pid("pid")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	check(t, g.Stop(ctx))
	if alive(pid) {
		t.Error("it lives")
	}
}

// A service that was there before the guard is left alone by Start, and ours to stop.
func TestAServiceThatRunsAlreadyIsTakenOver(t *testing.T) {
	p := newPlace(t)
	check(t, os.WriteFile(p.path("runs"), nil, 0o600))
	g := p.guard(Config{Start: sh("echo 1 > %s", p.path("started")), Stop: sh("rm %s", p.path("runs")), Status: sh("test -e %s", p.path("runs"))})
	check(t, g.Start(t.Context(), nil))
	if p.exists("started") || !p.exists("guard-web.json") {
		t.Errorf("started again %v, run file %v", p.exists("started"), p.exists("guard-web.json"))
	}
	check(t, g.Stop(t.Context()))
	if p.exists("runs") {
		t.Error("it runs")
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	units := func(context.Context) (Units, error) { return nil, errors.New("none") }
	rows := []struct {
		cfg  Config
		says string
	}{
		{Config{RunDir: dir, Start: sh("true")}, "no name"},
		{Config{Name: "a", Start: sh("true")}, "no directory"},
		{Config{Name: "a", RunDir: dir, Stop: sh("true")}, "needs a start command"},
		{Config{Name: "a", RunDir: dir, Start: sh("true"), Systemd: "a.service", Units: units}, "choose one"},
		{Config{Name: "a", RunDir: dir, Systemd: "a.service"}, "no connection to systemd"},
		{Config{Name: "a", RunDir: dir, Start: sh("true"), StopTimeout: -1}, "negative"},
	}
	for _, row := range rows {
		_, err := New(row.cfg)
		wantError(t, err, row.says)
	}
}

// nginx, killed without notice: its workers go too, whether it is a daemon or stays in
// the foreground.
func TestNginxIsKilledWithItsWorkers(t *testing.T) {
	const nginx = "/usr/sbin/nginx"
	if _, err := exec.LookPath(nginx); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, mode := range []string{"on", "off"} {
		t.Run("daemon "+mode, func(t *testing.T) {
			p := newPlace(t)
			addr := port.Hold(t, "127.0.0.1").String()
			conf := fmt.Sprintf(`daemon %s; pid %s; error_log stderr; worker_processes 2; events {}
http { access_log off; server { listen %s; return 200 "here\n"; }
client_body_temp_path %[4]s; proxy_temp_path %[4]s; fastcgi_temp_path %[4]s; uwsgi_temp_path %[4]s; scgi_temp_path %[4]s; }`,
				mode, p.path("nginx.pid"), addr, p.dir)
			check(t, os.WriteFile(p.path("nginx.conf"), []byte(conf), 0o600))
			args := []string{nginx, "-p", p.dir, "-c", p.path("nginx.conf")}
			cfg := Config{Start: Command{args}, StopTimeout: 5 * time.Second}
			if mode == "on" {
				cfg.Stop = Command{append(args, "-s", "stop")}
				cfg.Status = sh(`kill -0 $(cat %s) 2>/dev/null`, p.path("nginx.pid"))
			}
			g := p.guard(cfg)
			check(t, g.Start(t.Context(), nil))
			wantState(t, g, Running)
			await.That(t, "nginx answers", func() bool { return answers(addr) })
			check(t, g.Kill(t.Context()))
			wantState(t, g, Stopped)
			if answers(addr) {
				t.Error("nginx answers after Kill")
			}
		})
	}
}

func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func TestASetStartsInOrderAndStopsInReverse(t *testing.T) {
	dir := t.TempDir()
	story := filepath.Join(dir, "story")
	var guards []*Guard
	for _, name := range []string{"a", "b", "c"} {
		g, err := New(Config{
			Name: name, RunDir: dir, StopTimeout: time.Second,
			Start:  sh("echo +%s >> %s; touch %s/%s", name, story, dir, name),
			Stop:   sh("echo -%s >> %s; test %[1]s != b || exit 1; rm %[3]s/%[1]s", name, story, dir),
			Status: sh("test -e %s/%s", dir, name),
		})
		check(t, err)
		guards = append(guards, g)
	}
	s := NewSet(guards...)
	defer s.Close()
	check(t, s.Start(t.Context(), nil))
	if st, err := s.Running(t.Context()); st != Running || err != nil {
		t.Errorf("state is %v, %v", st, err)
	}
	wantError(t, s.Stop(t.Context()), "stop guard b: it cannot be shown to be stopped")
	if b, _ := os.ReadFile(story); string(b) != "+a\n+b\n+c\n-c\n-b\n-a\n" {
		t.Errorf("the story is %q", b)
	}
	if st, _ := s.Running(t.Context()); st != Running {
		t.Errorf("with one that does not stop the set is %v", st)
	}
	check(t, os.Remove(filepath.Join(dir, "b")))
	if st, _ := s.Running(t.Context()); st != Stopped {
		t.Errorf("the set is %v", st)
	}
	check(t, s.Kill(t.Context()))
}
