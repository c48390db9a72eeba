package guard

import (
	"os"
	"strings"
	"testing"

	"github.com/solovip/solovip/internal/await"
)

// hasCgroups reports whether this process may make control groups.
func hasCgroups(t *testing.T) bool {
	t.Helper()
	g, err := newCgroup("probe", "x")
	if err != nil {
		t.Log("no control groups here:", err)
		return false
	}
	g.remove()
	return true
}

// A daemon that leaves its session, and has neither a stop command nor a pid file, stays
// in its control group: it is known to run, stopped, and shown to be. A successor that
// has its run file alone can do the same. Where there are no control groups it is
// refused, as nothing could stop it.
func TestControlGroupFollowsADaemon(t *testing.T) {
	p := newPlace(t)
	p.cgroups = true
	g := p.guard(Config{Start: sh(daemon, p.path("pid"))})
	if !hasCgroups(t) {
		wantError(t, g.Start(t.Context(), nil), "left its session")
		killed(t, p.pid("pid"))
		return
	}
	for _, end := range []string{"stop", "kill", "successor"} {
		check(t, g.Start(t.Context(), nil))
		pid := p.pid("pid")
		wantState(t, g, Running)
		dir := string(g.driver.(*commands).rec.Cgroup)
		g = p.end(g, end)
		if alive(pid) {
			t.Errorf("%s: the daemon lives", end)
		}
		wantState(t, g, Stopped)
		await.That(t, "the control group is removed", func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
		check(t, os.Remove(p.path("pid")))
	}
}

// end ends what a guard guards, in one of three ways, and returns who guards it then.
func (p *place) end(g *Guard, how string) *Guard {
	p.t.Helper()
	switch how {
	case "stop":
		check(p.t, g.Stop(p.t.Context()))
	case "kill":
		check(p.t, g.Kill(p.t.Context()))
	case "successor":
		g.Close()
		left, err := Adopt(p.dir, nil, nil)
		check(p.t, err)
		g = left[0]
		p.t.Cleanup(g.Close)
		wantState(p.t, g, Running)
		check(p.t, g.Kill(p.t.Context()))
	}
	return g
}

// killed ends a process that a test has left on purpose.
func killed(t *testing.T, pid int) {
	t.Helper()
	s, err := stat(pid)
	check(t, err)
	signalOne(s, 9)
	await.That(t, "it ends", func() bool { return !alive(pid) })
}

// A service that somebody else starts, as an init script that asks an init system, is
// not in the control group: an empty group is no proof that it is stopped.
func TestEmptyControlGroupIsNoProof(t *testing.T) {
	p := newPlace(t)
	p.cgroups = true
	g := p.guard(Config{Start: sh("true"), Stop: sh("exit 1")})
	check(t, g.Start(t.Context(), nil))
	wantState(t, g, Unknown)
	wantError(t, g.Stop(t.Context()), "cannot be shown to be stopped")
	g.driver.(*commands).rec.Cgroup.remove()
	check(t, os.Remove(p.path("guard-web.json")))
}

// The main process of a pid file is the service: no stop and no status command is needed.
func TestPIDFile(t *testing.T) {
	for _, end := range []string{"stop", "kill", "successor", "without its file"} {
		t.Run(end, func(t *testing.T) {
			p := newPlace(t)
			g := p.guard(Config{Start: sh(daemon, p.path("pid")), PIDFile: p.path("pid")})
			wantState(t, g, Stopped)
			check(t, g.Start(t.Context(), nil))
			pid := p.pid("pid")
			wantState(t, g, Running)
			check(t, g.Start(t.Context(), nil)) // it runs: once is enough
			if p.pid("pid") != pid {
				t.Error("it was started twice")
			}
			if end == "without its file" {
				check(t, os.Remove(p.path("pid")))
				wantState(t, g, Running)
				end = "stop"
			}
			g = p.end(g, end)
			await.That(t, "the daemon ends", func() bool { return !alive(pid) })
			wantState(t, g, Stopped)
		})
	}
}

// A pid file that was left behind names a process that has nothing to do with it, or
// nothing at all. That process is not killed and the service can be started.
func TestStalePIDFile(t *testing.T) {
	p := newPlace(t)
	check(t, os.WriteFile(p.path("pid"), []byte("999999999\n"), 0o600))
	g := p.guard(Config{Start: sh(daemon, p.path("pid")), PIDFile: p.path("pid")})
	wantState(t, g, Stopped)
	check(t, os.WriteFile(p.path("pid"), []byte("nginx\n"), 0o600))
	wantState(t, g, Unknown)
	if os.Geteuid() == 0 {
		check(t, os.WriteFile(p.path("pid"), []byte("2\n"), 0o600))
		check(t, os.Chown(p.path("pid"), 65534, 65534))
		wantError(t, g.Kill(t.Context()), "no plain file of root's")
		check(t, os.Remove(p.path("pid")))
	}

	other := p.guard(Config{Start: sh(stays, p.path("other"))})
	check(t, other.Start(t.Context(), nil))
	pid := p.pid("other")
	text, err := os.ReadFile(p.path("other"))
	check(t, err)
	check(t, os.WriteFile(p.path("pid"), text, 0o600))
	s, err := stat(pid)
	check(t, err)
	old := s.started().Add(-2 * staleAfter)
	check(t, os.Chtimes(p.path("pid"), old, old))
	wantState(t, g, Stopped)
	check(t, g.Kill(t.Context()))
	if !alive(pid) {
		t.Error("a process was killed that has only the number")
	}
	check(t, other.Kill(t.Context()))
	check(t, g.Start(t.Context(), nil))
	if text, _ := os.ReadFile(p.path("pid")); strings.TrimSpace(string(text)) == "" {
		t.Error("it was not started")
	}
}
