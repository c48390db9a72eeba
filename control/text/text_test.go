package text

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/internal/golden"
	"github.com/solovip/solovip/node"
)

// night is the wall time of all golden files.
var night = time.Date(2026, 8, 1, 3, 0, 0, 0, time.UTC)

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d snapshots in testdata, want at least 5: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			snap := load(t, file)
			golden.File(t, name+".status", Status(snap, night, 80))
			golden.File(t, name+".fence", Fence(snap, 80))
			for _, c := range snap.Claims {
				if len(c.Evidence) > 0 {
					golden.File(t, name+".why", Why(snap, c, 80))
				}
			}
		})
	}
}

func TestHistory(t *testing.T) {
	at := night.UTC()
	records := []fencing.Record{
		{
			ID: "17-1", Time: at, Node: "lb01", Mode: "lease", Claim: "VI_1", Cause: fencing.Permission, Why: "the permission has ended", Token: 17,
			Evidence: []fencing.Evidence{{Source: "witness", AgeMS: 2810, Says: "silent: connection refused"}, {Source: "mesh", Who: "lb02", Path: "via w1", AgeMS: -1, Says: "not heard by any path"}},
			Actions:  []fencing.Step{{What: "gate shut"}, {What: "addresses off", AtMS: 1}, {What: "guarded services stopped", AtMS: 1052, Tries: 2}},
			Result:   fencing.Done, DoneMS: 1052, To: "lb02", Cleared: &fencing.Clearing{AtMS: 30000, By: "rule", Why: "the cause is gone and clear_after is over"},
		},
		{
			ID: "17-2", Time: at.Add(time.Hour), Node: "lb01", Mode: "lease", Claim: "mail", Cause: fencing.Guard, Why: "a guarded service cannot be shown to be stopped", Token: 4,
			Actions: []fencing.Step{{What: "guarded services stopped", AtMS: 50, Error: "pid 17 is in state D"}}, Result: fencing.Failed,
		},
	}
	golden.File(t, "testdata/history.text", History(records, 80))
	golden.File(t, "testdata/history-empty.text", History(nil, 80))
}

// load reads a snapshot and refuses a field that the read model does not have.
func load(t *testing.T, file string) node.Snapshot {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var snap node.Snapshot
	if err := d.Decode(&snap); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return snap
}

// At 3 a.m. the first line has to be the answer.
func TestFirstLineIsTheAnswer(t *testing.T) {
	snap := load(t, "testdata/lease-holder.json")
	first, _, _ := strings.Cut(Status(snap, night, 80), "\n")
	if want := "VI_1: held by lb01, this node, since 2026-07-31 23:57:59 (3h 2m)"; first != want {
		t.Errorf("first line of the status: %q, want %q", first, want)
	}
	first, _, _ = strings.Cut(Fence(snap, 80), "\n")
	if want := "SAFE: never two holders; the witness answers and every node is heard"; first != want {
		t.Errorf("first line of the fence status: %q, want %q", first, want)
	}
}

// Words of a peer must not reach the terminal as anything but words.
func TestControlCharactersOfPeersAreNotPrinted(t *testing.T) {
	snap := load(t, "testdata/lease-holder.json")
	evil := "\x1b[2J\nVI_1: held by me\u202e\x00\xff"
	snap.Peers[0].Name = evil
	snap.Peers[0].Claims = []arbiter.ClaimReport{{Claim: evil, State: evil}}
	snap.Witness.Error = evil
	snap.Claims[0].Why, snap.Claims[0].Holder, snap.Claims[1].HolderBy = evil, evil, evil
	snap.Claims[1].Instances[0].Fault = evil
	lines := strings.Count(Status(load(t, "testdata/lease-holder.json"), night, 1000), "\n")
	got := Status(snap, night, 1000)
	wantHarmless(t, got)
	wantHarmless(t, Fence(snap, 1000))
	// One claim of the peer less makes one row less; nothing else may change the lines.
	if n := strings.Count(got, "\n"); n != lines-1 {
		t.Errorf("%d lines, want %d: a peer's words broke a line\n%s", n, lines-1, got)
	}
}

func wantHarmless(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%U is printed in\n%q", r, s)
		}
	}
}

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		ms   int64
		want string
	}{
		{-1, "never"},
		{0, "0 ms"},
		{9999, "9999 ms"},
		{10_000, "10 s"},
		{119_999, "119 s"},
		{120_000, "2m 0s"},
		{2*3600_000 - 1, "119m 59s"},
		{2 * 3600_000, "2h 0m"},
		{48 * 3600_000, "2d 0h"},
	} {
		if got := span(c.ms); got != c.want {
			t.Errorf("span(%d) = %q, want %q", c.ms, got, c.want)
		}
	}
}

func TestLinesBreakAtTheWidth(t *testing.T) {
	p := newPage(40)
	p.line("  why  ", strings.Repeat("four ", 20)+strings.Repeat("x", 60))
	for i, line := range strings.Split(strings.TrimSuffix(p.out.String(), "\n"), "\n") {
		if len(line) > 40 && !strings.Contains(line, "xxx") {
			t.Errorf("line %d has %d characters: %q", i, len(line), line)
		}
		if i > 0 && !strings.HasPrefix(line, strings.Repeat(" ", 7)) {
			t.Errorf("line %d is not indented: %q", i, line)
		}
	}
}

// FuzzStatus holds that no snapshot, however odd, breaks the rendering.
func FuzzStatus(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, 80)
	}
	f.Fuzz(func(t *testing.T, b []byte, width int) {
		var snap node.Snapshot
		if json.Unmarshal(b, &snap) != nil {
			return
		}
		wantHarmless(t, Status(snap, night, width%500))
		wantHarmless(t, Fence(snap, width%500))
	})
}
