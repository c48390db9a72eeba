package netns_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/turns"
	"github.com/solovip/solovip/lab/verify"
)

// TestMain makes the test binary a binary of the lab, as runs start their own again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "lab" {
		if err := netns.Helper(context.Background(), os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Under the race detector a program sleeps for a second before it ends: the guarded
	// service would look as if it did not stop.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	flag.Parse()
	// Scenarios wait for timers most of the time: more of them than processors go well
	// together. Who gives the flag knows better.
	const together = 6
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && runtime.GOMAXPROCS(0) < together {
		if err := flag.Set("test.parallel", strconv.Itoa(together)); err != nil {
			panic(err) // there is no such flag
		}
	}
	os.Exit(m.Run())
}

// unavailable skips the test, unless in CI, where everything has to be there.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needKeepalived(t *testing.T) {
	t.Helper()
	if _, err := netns.KeepalivedPath(); err != nil {
		unavailable(t, "%v", err)
	}
}

func needEtcd(t *testing.T) {
	t.Helper()
	if _, err := netns.EtcdPath(); err != nil {
		unavailable(t, "%v", err)
	}
}

func needNginx(t *testing.T) {
	t.Helper()
	if _, err := netns.NginxPath(); err != nil {
		unavailable(t, "%v", err)
	}
}

// crowd is what plays in these tests.
var crowd turns.Turns

// play runs a scenario and judges it by what it expects of the system. A run in which
// the machine held the lab up proves nothing and is repeated, alone.
func play(t *testing.T, s scenario.Scenario, system scenario.System, solovip string) verify.Verdict {
	t.Helper()
	binary := solovip // has the lab's commands, as the one that people run
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const attempts = 4
	for i := range attempts {
		job := netns.Job{Scenario: s, System: system, Solovip: solovip, Lab: binary}
		var result netns.Result
		var err error
		crowd.Take(i > 0, func() { result, err = netns.Run(ctx, job, func(verify.Mark) {}) })
		if err != nil {
			t.Fatal(err)
		}
		v := verify.Judge(result.History, s.Expect[system])
		if v.Inconclusive {
			t.Logf("held up for %v, processes waited for %v: once more (%q)", v.Figures.Blind, result.History.Waiting, v.Failures)
			continue
		}
		t.Log(v)
		if !v.Pass() {
			t.Errorf("%q", v.Failures)
			for _, m := range result.History.Marks {
				t.Logf("%8.3f s %s: %s", m.At.Seconds(), m.Kind, m.Text)
			}
			for _, log := range result.Logs {
				for _, line := range log.Tail {
					t.Logf("%s: %s", log.Host, line)
				}
			}
		}
		wantShown(t, s, system, result, v.Figures.Start)
		return v
	}
	t.Fatalf("the machine held the lab up %d times", attempts)
	return verify.Verdict{}
}

// wantShown asserts that what a report shows beside what is judged is there: what the first
// holder's daemon said, and the gate that let its VIP speak.
func wantShown(t *testing.T, s scenario.Scenario, system scenario.System, result netns.Result, holder string) {
	t.Helper()
	if !slices.ContainsFunc(result.Said, func(is netns.Said) bool { return is.Node == holder && is.State == "MASTER" }) {
		t.Errorf("%s holds, and what it said is not kept: %v", holder, result.Said)
	}
	if system != scenario.Lease && system != scenario.Quorum || s.Sets(scenario.FencingBlock, "gate") || s.Begin != "" {
		return
	}
	if !slices.ContainsFunc(result.History.Spans, func(is verify.Span) bool { return is.Source == verify.Gate && is.Node == holder }) {
		t.Errorf("%s holds, and its gate was never seen open", holder)
	}
}

func shipped(t *testing.T, name string) scenario.Scenario {
	t.Helper()
	s, ok := scenario.Find(name)
	if !ok {
		t.Fatalf("no scenario %q is shipped", name)
	}
	return s
}
