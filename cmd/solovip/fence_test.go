package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/fencing/ledger"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/node/daemon"
)

// fencer runs a control socket of a node that is fenced when it is told to be.
func fencer(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	snap := lease(node.Safe)
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	set := func(f *node.FencedSnapshot, phase, holder string) {
		next := *snap.Load()
		next.Claims = append([]node.ClaimSnapshot{}, next.Claims...)
		c := &next.Claims[0]
		c.Fenced, c.Phase, c.Holder, c.Needs = f, phase, holder, "an operator's word"
		c.Evidence = []fencing.Evidence{{Source: "mesh", Who: "lb02", Path: "via w1", AgeMS: 120, Says: "holds it"}}
		snap.Store(&next)
	}
	s := control.Server{
		Snapshot: func() node.Snapshot { return *snap.Load() },
		Fence: func(_ context.Context, claim string) (string, error) {
			set(&node.FencedSnapshot{Cause: fencing.Operator, Why: "an operator fenced it", Result: fencing.Done, RemainingMS: -1, WaitsFor: "an operator"}, "idle", "lb02")
			return "fencing " + claim, nil
		},
		ClearFence: func(_ context.Context, claim string) (string, error) {
			set(nil, "idle", "lb02")
			return "no longer fenced: " + claim, nil
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFenceNowAndClear(t *testing.T) {
	dir := fencer(t)
	if code, _, errOut := solovip(t, "fence", "now", "VI_1", "--run-dir", dir); code != exitUsage || !strings.Contains(errOut, "Nothing was done") {
		t.Errorf("without --yes: code %d, %s", code, errOut)
	}
	if code, _, _ := solovip(t, "fence", "status", "--run-dir", dir); code != 0 {
		t.Errorf("before: fence status exits with %d", code)
	}
	code, out, errOut := solovip(t, "fence", "now", "VI_1", "--yes", "--run-dir", dir)
	if code != 0 || !strings.Contains(out, "fenced; VI_1 is held by lb02, after") {
		t.Errorf("fence now: code %d, %s%s", code, out, errOut)
	}
	code, out, _ = solovip(t, "fence", "status", "--run-dir", dir)
	if code != exitFenced || !strings.Contains(out, "FENCED") {
		t.Errorf("fenced: fence status exits with %d, want %d:\n%s", code, exitFenced, out)
	}
	code, out, errOut = solovip(t, "fence", "why", "VI_1", "--run-dir", dir)
	for _, want := range []string{"FENCED", "cause operator", "change   an operator's word", "mesh    lb02  via w1  120 ms  holds it"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("fence why: code %d, no %q in:\n%s%s", code, want, out, errOut)
		}
	}
	if code, _, errOut := solovip(t, "fence", "why", "VI_9", "--run-dir", dir); code != exitUsage || !strings.Contains(errOut, "VI_1") {
		t.Errorf("why of an unknown claim: code %d, %s", code, errOut)
	}
	if code, out, _ := solovip(t, "fence", "clear", "--run-dir", dir); code != 0 || !strings.Contains(out, "no longer fenced") {
		t.Errorf("fence clear: code %d, %s", code, out)
	}
	if code, _, _ := solovip(t, "fence", "status", "--run-dir", dir); code != 0 {
		t.Errorf("cleared: fence status exits with %d", code)
	}
}

// History reads the ledger of a node that does not run, and skips what is damaged.
func TestFenceHistory(t *testing.T) {
	dir := t.TempDir()
	l := ledger.New(ledger.Config{Dir: daemon.LedgerDir(dir)}, nil)
	old := fencing.Record{ID: "1-1", Time: time.Now().Add(-100 * time.Hour), Claim: "VI_1", Cause: fencing.Guard, Why: "pid 17 hangs", Result: fencing.Failed}
	recent := fencing.Record{ID: "1-2", Time: time.Now().Add(-time.Hour), Claim: "VI_2", Cause: fencing.Permission, Why: "it has ended", Result: fencing.Done, DoneMS: 52}
	recent.Actions = []fencing.Step{{What: "gate shut"}, {What: "addresses off", AtMS: 1}}
	for _, r := range []fencing.Record{old, recent} {
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(daemon.LedgerDir(dir), "fencings.jsonl")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, "{\"id\":\"torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := solovip(t, "fence", "history", "--state-dir", dir)
	if code != 0 || !strings.Contains(out, "pid 17 hangs") || !strings.Contains(out, "+1ms  addresses off") || !strings.Contains(errOut, "damaged") {
		t.Errorf("code %d:\n%s%s", code, out, errOut)
	}
	for _, filter := range [][]string{{"--since", "2h"}, {"--claim", "VI_2"}} {
		code, out, _ := solovip(t, append([]string{"fence", "history", "--json", "--state-dir", dir}, filter...)...)
		var r fencing.Record
		if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || r.ID != "1-2" {
			t.Errorf("%v: code %d, %v:\n%s", filter, code, err, out)
		}
	}
	if code, _, _ := solovip(t, "fence", "history", "--since", "yesterday", "--state-dir", dir); code != exitUsage {
		t.Errorf("a strange --since: code %d", code)
	}
	if code, out, _ := solovip(t, "fence", "history", "--state-dir", t.TempDir()); code != 0 || !strings.Contains(out, "no fencing") {
		t.Errorf("without a ledger: code %d, %s", code, out)
	}
}
