package guard

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// systemd is a stand-in for PID 1 with one unit; the real one does not run in a test.
type systemd struct {
	mu     sync.Mutex // guards all
	active string
	load   string
	calls  []string
	result string // of a start job; empty: it never ends
	deaf   bool   // a stop job gets nowhere without SIGKILL
	down   bool   // no connection
	open   int
}

func (s *systemd) dial(context.Context) (Units, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("no bus")
	}
	s.open++
	return s, nil
}

func (s *systemd) call(what, unit string, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, what+" "+unit)
	do()
}

func (s *systemd) StartUnitContext(_ context.Context, unit, _ string, result chan<- string) (int, error) {
	s.call("start", unit, func() {
		s.active = "activating"
		if s.result == "done" {
			s.active = "active"
		}
		if s.result != "" {
			result <- s.result
		}
	})
	return 1, nil
}

func (s *systemd) StopUnitContext(_ context.Context, unit, _ string, _ chan<- string) (int, error) {
	s.call("stop", unit, func() {
		if s.deaf {
			s.active = "deactivating"
		} else {
			s.active = "inactive"
		}
	})
	return 2, nil
}

func (s *systemd) KillUnitContext(_ context.Context, unit string, signal int32) {
	s.call("kill", unit, func() {
		if signal == 9 {
			s.active, s.deaf = "failed", false
		}
	})
}

func (s *systemd) GetUnitPropertiesContext(context.Context, string) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]any{"ActiveState": s.active, "LoadState": s.load}, nil
}

func (s *systemd) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

func TestSystemdUnit(t *testing.T) {
	rows := []struct {
		name   string
		pid1   *systemd
		do     func(g *Guard) error
		fails  string
		calls  []string
		state  State
		record bool
	}{
		{
			"start", &systemd{active: "inactive", result: "done"},
			func(g *Guard) error { return g.Start(t.Context(), nil) }, "",
			[]string{"start"},
			Running, true,
		},
		{
			"start fails", &systemd{active: "inactive", result: "failed"},
			func(g *Guard) error { return g.Start(t.Context(), nil) }, `ended as "failed"`,
			[]string{"start", "kill", "stop", "kill"},
			Stopped, false,
		},
		{
			"start hangs", &systemd{active: "inactive"},
			func(g *Guard) error { return g.Start(t.Context(), nil) }, "not up",
			[]string{"start", "kill", "stop", "kill"},
			Stopped, false,
		},
		{
			"stop", &systemd{active: "active"},
			func(g *Guard) error { return g.Stop(t.Context()) }, "",
			[]string{"stop"},
			Stopped, false,
		},
		{
			"stop hangs", &systemd{active: "active", deaf: true},
			func(g *Guard) error { return g.Stop(t.Context()) }, "",
			[]string{"stop", "kill", "stop", "kill"},
			Stopped, false,
		},
		{
			"kill", &systemd{active: "active", deaf: true},
			func(g *Guard) error { return g.Kill(t.Context()) }, "",
			[]string{"kill", "stop", "kill"},
			Stopped, false,
		},
		{
			"no such unit", &systemd{active: "inactive", load: "not-found"},
			func(g *Guard) error { return g.Kill(t.Context()) }, "is its name right",
			[]string{"kill", "stop", "kill"},
			Unknown, false,
		},
		{
			"no systemd", &systemd{down: true},
			func(g *Guard) error { return g.Stop(t.Context()) }, "no bus", nil, Unknown, false,
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t)
			pid1 := row.pid1
			g, err := New(Config{
				Name: "web", RunDir: p.dir, Systemd: "nginx.service", Units: pid1.dial,
				StopTimeout: 50 * time.Millisecond, StartTimeout: 50 * time.Millisecond,
			})
			check(t, err)
			defer g.Close()
			if err := row.do(g); row.fails == "" {
				check(t, err)
			} else {
				wantError(t, err, row.fails)
			}
			var calls []string
			for _, c := range row.calls {
				calls = append(calls, c+" nginx.service")
			}
			if !slices.Equal(pid1.calls, calls) {
				t.Errorf("systemd was told %q, want %q", pid1.calls, calls)
			}
			wantState(t, g, row.state)
			if p.exists("guard-web.json") != row.record {
				t.Errorf("run file there: %v", !row.record)
			}
			if pid1.open != 0 {
				t.Errorf("%d connections left open", pid1.open)
			}
			if row.record {
				guards, err := Adopt(p.dir, pid1.dial, nil)
				check(t, err)
				check(t, guards[0].Stop(t.Context()))
				wantState(t, g, Stopped)
			}
		})
	}
}
