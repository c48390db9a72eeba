package guard

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"
)

const often = 20 * time.Millisecond

// A service that runs is ill when its health command fails HealthFall times in a row, by
// its exit or by having no answer; once less is forgiven.
func TestWatchFindsAnIllService(t *testing.T) {
	p := newPlace(t)
	// It counts its calls. The second and third fail, then the fourth is well, and from the
	// seventh on it has no answer.
	g := p.guard(Config{
		Start: sh("exec sleep 1000"), HealthInterval: often, HealthTimeout: 300 * time.Millisecond, HealthFall: 3,
		Health: sh(`n=$(cat %[1]s 2>/dev/null || echo 0); n=$((n+1)); echo $n > %[1]s
			case $n in 1|4|5|6) exit 0;; 2|3) exit 1;; *) exec sleep 1000;; esac`, p.path("n")),
	})
	check(t, g.Start(t.Context(), nil))
	wantError(t, g.Watch(t.Context()), "not healthy, 3 times in a row: health command: /bin/sh was killed")
	if text, _ := os.ReadFile(p.path("n")); string(text) != "9\n" {
		t.Errorf("asked %s times", text)
	}
	wantState(t, g, Running) // looking changes nothing
}

// What ends where nobody is told is found by looking: by status command or by pid file.
func TestWatchFindsAnEnd(t *testing.T) {
	p := newPlace(t)
	rows := map[string]Config{
		"status":   {Stop: sh("true"), Status: sh(`kill -0 $(cat %s)`, p.path("pid"))},
		"pid file": {PIDFile: p.path("pid")},
	}
	for name, cfg := range rows {
		t.Run(name, func(t *testing.T) {
			cfg.Start, cfg.HealthInterval, cfg.HealthTimeout = sh(daemon, p.path("pid")), often, time.Second
			g := p.guard(cfg)
			check(t, g.Start(t.Context(), nil))
			found := make(chan error, 1)
			go func() { found <- g.Watch(t.Context()) }()
			killed(t, p.pid("pid"))
			wantError(t, <-found, "guard web has ended")
			check(t, g.Kill(t.Context()))
			check(t, os.Remove(p.path("pid")))
		})
	}
}

// A start is not done before the service is well, and fails when it does not get well.
func TestStartWaitsForHealth(t *testing.T) {
	p := newPlace(t)
	g := p.guard(Config{Start: sh(`(sleep 0.3; touch %s) & exec sleep 1000`, p.path("well")), Health: sh("test -f %s", p.path("well"))})
	check(t, g.Start(t.Context(), nil))
	if !p.exists("well") {
		t.Error("started before it was well")
	}
	check(t, g.Stop(t.Context()))
	g = p.guard(Config{Start: sh(stays, p.path("pid")), Health: sh("exit 1"), StartTimeout: 300 * time.Millisecond})
	wantError(t, g.Start(t.Context(), nil), "not healthy")
	if alive(p.pid("pid")) {
		t.Error("it was left running")
	}
	wantState(t, g, Stopped)
}

// A systemd that does not answer is no reason to take a service for ended; one that says
// so is.
func TestWatchOfAUnit(t *testing.T) {
	p := newPlace(t)
	pid1 := &systemd{active: "inactive", result: "done"}
	g, err := New(Config{Name: "web", RunDir: p.dir, Systemd: "nginx.service", Units: pid1.dial, HealthInterval: often})
	check(t, err)
	defer g.Close()
	check(t, g.Start(t.Context(), []string{"SOLOVIP_TOKEN=7"}))
	if env := g.driver.env(); !slices.Contains(env, "SOLOVIP_TOKEN=7") {
		t.Error("the health command does not get the token")
	}
	pid1.mu.Lock()
	pid1.down = true
	pid1.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*often)
	defer cancel()
	wantError(t, g.Watch(ctx), context.DeadlineExceeded.Error())
	pid1.mu.Lock()
	pid1.down, pid1.active = false, "failed"
	pid1.mu.Unlock()
	wantError(t, g.Watch(t.Context()), "guard web has ended")
}

// The first of a set that ends is told, and the others are looked after no longer.
func TestSetWatch(t *testing.T) {
	p := newPlace(t)
	one := p.guard(Config{Start: sh("exec sleep 1000")})
	two := p.guard(Config{Start: sh("exec sleep 1000"), Health: sh("test ! -f %s", p.path("ill")), HealthInterval: often})
	two.name = "two"
	check(t, two.Start(t.Context(), nil))
	found := make(chan error, 1)
	go func() { found <- NewSet(one, two).Watch(t.Context()) }()
	check(t, os.WriteFile(p.path("ill"), nil, 0o600))
	wantError(t, <-found, "guard two is not healthy")
}
