package guard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/await"
)

// TestMain is also the daemon that the tests below kill: it starts one guard as the
// environment says, and stays.
func TestMain(m *testing.M) {
	dir := os.Getenv("GUARD_TEST_DAEMON")
	if dir == "" {
		os.Exit(m.Run())
	}
	cfg := Config{Name: "web", RunDir: dir, StopTimeout: 500 * time.Millisecond}
	if err := json.Unmarshal([]byte(os.Getenv("GUARD_TEST_COMMANDS")), &cfg.Start.Args); err != nil {
		panic(err)
	}
	g, err := New(cfg)
	if err == nil {
		err = g.Start(context.Background(), []string{"TOKEN=9"})
	}
	fmt.Println("started", err)
	select {}
}

// crash lets a daemon of its own start a service, and kills the daemon.
func (p *place) crash(start Command) {
	p.t.Helper()
	args, err := json.Marshal(start.Args)
	check(p.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GUARD_TEST_DAEMON="+p.dir, "GUARD_TEST_COMMANDS="+string(args))
	out, err := cmd.StdoutPipe()
	check(p.t, err)
	check(p.t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "started <nil>\n" {
		p.t.Errorf("the daemon says %q, %v", line, err)
	}
	check(p.t, cmd.Process.Kill())
	_ = cmd.Wait()
}

// The daemon is killed; its successor finds the service, hears of its end, stops it.
func TestASuccessorTakesOver(t *testing.T) {
	p := newPlace(t)
	start := sh(stays, p.path("pid"))
	p.crash(start)
	pid := p.pid("pid")
	ended := make(chan error, 1)
	g := p.guard(Config{Start: start, Exited: func(err error) { ended <- err }})
	wantState(t, g, Running)
	check(t, g.Start(t.Context(), nil))
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	select {
	case <-ended: //nolint:errcheck // that it ends is looked for
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was told of the end")
	}

	check(t, os.Remove(p.path("pid")))
	p.crash(start)
	pid = p.pid("pid")
	g = p.guard(Config{Start: start})
	check(t, g.Stop(t.Context()))
	if alive(pid) || p.exists("guard-web.json") {
		t.Errorf("process there %v, run file there %v", alive(pid), p.exists("guard-web.json"))
	}
}

// Without any configuration, from the run file alone; the leader is dead, and what it
// has forked lives on.
func TestAdoptStopsWhatIsLeft(t *testing.T) {
	p := newPlace(t)
	p.crash(sh(`sleep 1000 & echo $! > %s; echo $$ > %s; wait`, p.path("child"), p.path("pid")))
	check(t, syscall.Kill(p.pid("pid"), syscall.SIGKILL))
	await.That(t, "the leader is dead", func() bool { return !alive(p.pid("pid")) })
	check(t, os.WriteFile(p.path("guard-old.json"), []byte(`{"name":"old","start":["true"],"boot":"another"}`), 0o600))
	guards, err := Adopt(p.dir, nil, nil)
	check(t, err)
	if len(guards) != 1 || guards[0].Name() != "web" || p.exists("guard-old.json") {
		t.Fatalf("adopted %d; the file of another boot is there: %v", len(guards), p.exists("guard-old.json"))
	}
	defer guards[0].Close()
	wantState(t, guards[0], Running)
	check(t, guards[0].Stop(t.Context()))
	if alive(p.pid("child")) || p.exists("guard-web.json") {
		t.Errorf("process there %v, run file there %v", alive(p.pid("child")), p.exists("guard-web.json"))
	}
	if guards, err := Adopt(p.dir, nil, nil); len(guards) != 0 || err != nil {
		t.Errorf("adopted again: %v, %v", guards, err)
	}
}

// stranger is a process that leads a session and has nothing to do with the guard.
func stranger(t *testing.T, script string) process {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(t, cmd.Start())
	pid := cmd.Process.Pid
	await.That(t, "it has a session of its own", func() bool {
		p, err := stat(pid)
		return err == nil && p.session == pid
	})
	p, err := stat(pid)
	check(t, err)
	t.Cleanup(func() {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return p
}

func (p *place) record(r record) {
	p.t.Helper()
	boot, err := bootID()
	check(p.t, err)
	r.Name, r.Start, r.Boot, r.Phase = "web", []string{"true"}, boot, phaseForeground
	check(p.t, r.save(p.path("guard-web.json")))
}

func TestARecycledProcessIDIsNotKilled(t *testing.T) {
	p := newPlace(t)
	other := stranger(t, "exec sleep 1000")
	p.record(record{PID: other.pid, Ticks: other.ticks - 100, Mark: "x"})
	g := p.guard(Config{Start: sh("true")})
	wantState(t, g, Stopped)
	check(t, g.Kill(t.Context()))
	if !alive(other.pid) {
		t.Error("a stranger was killed")
	}
}

// A session whose leader is dead, and whose members do not bear the mark, may be the
// service's or a stranger's: it is neither killed nor taken for stopped.
func TestADoubtfulSessionMakesTheStateUnknown(t *testing.T) {
	p := newPlace(t)
	leader := stranger(t, fmt.Sprintf("sleep 1000 & echo $! > %s; wait", p.path("member")))
	member := p.pid("member")
	p.record(record{PID: leader.pid, Ticks: leader.ticks, Mark: "x"})
	check(t, syscall.Kill(leader.pid, syscall.SIGKILL))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(leader.pid, &status, 0, nil)
	check(t, err)
	g := p.guard(Config{Start: sh("true")})
	wantState(t, g, Unknown)
	wantError(t, g.Kill(t.Context()), "process "+strconv.Itoa(member)+" may belong to it")
	if !alive(member) {
		t.Error("a stranger was killed")
	}
}

func TestRunFileThatCannotBeRead(t *testing.T) {
	p := newPlace(t)
	check(t, os.WriteFile(p.path("guard-web.json"), []byte(`{"name":`), 0o600))
	_, err := New(Config{Name: "web", RunDir: p.dir, Start: sh("true")})
	wantError(t, err, "guard-web.json")
	_, err = Adopt(p.dir, nil, nil)
	wantError(t, err, "guard-web.json")
}

// The start command finds the run file, with its own process id, when it begins.
func TestTheRunFileIsThereBeforeTheStart(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(`grep -q "\"pid\": $$," %s/guard-web.json && exec sleep 1000`, p.dir)})
	check(t, g.Start(t.Context(), nil))
	wantState(t, g, Running)
	r, err := loadRecord(p.path("guard-web.json"))
	check(t, err)
	if r.Phase != phaseForeground {
		t.Errorf("the phase is %q", r.Phase)
	}
	info, err := os.Stat(p.path("guard-web.json"))
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
}

// A daemon that dies before the run file is written has started nothing.
func TestAStartThatIsNotCommittedHasNoEffect(t *testing.T) {
	p := newPlace(t)
	log := newOutput(p.guard(Config{Start: sh("true")}).driver.(*commands).cfg.Logger)
	defer log.close()
	follow := func(r *os.File) { log.follow(r, "start", 0) }
	var pid int
	_, err := startGated(sh("touch %s", p.path("effect")).Args, os.Environ(), new(cgroup), follow, func(p int) error {
		pid = p
		return context.Canceled
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	await.That(t, "the shell ends", func() bool { return !alive(pid) })
	if p.exists("effect") {
		t.Error("it was started")
	}
}

func TestOutputIsBounded(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(`echo hello; echo world >&2; exec sleep 1000`)})
	check(t, g.Start(t.Context(), nil))
	await.That(t, "both lines are in the log", func() bool {
		return strings.Contains(p.said.String(), "line=hello") && strings.Contains(p.said.String(), "line=world")
	})

	now := time.Unix(0, 0)
	var got []string
	in := strings.Repeat("x", 5000) + "\nshort\xff\r\n" + strings.Repeat("many\n", 1000) + "tail"
	copyLines(strings.NewReader(in), func(line string, dropped int) {
		got = append(got, fmt.Sprintf("%.8s/%d/%d", line, len(line), dropped))
		now = now.Add(time.Millisecond)
	}, func() time.Time { return now })
	if len(got) != linesPerPeriod || got[0] != "xxxxxxxx/1024/0" || got[1] != "short?/6/0" || got[2] != "many/4/0" {
		t.Errorf("%d lines: %q", len(got), got[:3])
	}
	got, now = nil, time.Unix(0, 0)
	copyLines(strings.NewReader(strings.Repeat("a\n", linesPerPeriod+60)), func(line string, dropped int) {
		got = append(got, line+"/"+strconv.Itoa(dropped))
	}, func() time.Time { now = now.Add(linePeriod / (linesPerPeriod + 50)); return now })
	if last := got[linesPerPeriod]; last != "a/50" {
		t.Errorf("the first line of the next period is %q", last)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("1 (sh) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 77 1 1")
	f.Add("12 (a) b) Z 0 1 2 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 78 1 1")
	f.Add("12 (a")
	f.Fuzz(func(_ *testing.T, s string) { _, _ = parseStat(s) })
}

func TestParseStat(t *testing.T) {
	got, err := parseStat("12 (a) Z (b) Z 0 34 56 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 78 1 1\n")
	check(t, err)
	if want := (process{pid: 12, group: 34, session: 56, ticks: 78, dead: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "1", "1 (a)", "1 )(", "x (a) S 0 1 1 0 -1 0 1 1 1 1 1 1 1 1 20 0 1 0 77 1"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
