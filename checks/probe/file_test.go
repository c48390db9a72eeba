package probe

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/lvs"
)

func TestFileOutcome(t *testing.T) {
	add := func(n int) Outcome { return Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Add, Value: n}} }
	down := func(why string) Outcome { return Outcome{Why: "file /w: " + why} }
	for _, row := range []struct {
		weight  int
		reverse bool
		number  int64
		want    Outcome
	}{
		{1, false, 5, add(5)},
		{1, false, 0, add(0)},
		{-3, false, 5, add(-15)},
		{-3, true, 5, add(15)},
		{1, true, 5, add(-5)},
		{1, false, math.MinInt32 + 1, add(math.MinInt32 + 1)},
		{1, false, math.MinInt32, down("-2147483648 with weight 1")},
		{-2, false, math.MaxInt32, down("2147483647 with weight -2")},
		{math.MaxInt32, false, math.MaxInt32, add(math.MaxInt32)},
		{0, false, 0, Outcome{OK: true}},
		{0, false, 1, down("1 with weight 0")},
		{0, true, 0, down("0 with weight 0")},
		{0, true, 1, Outcome{OK: true}},
	} {
		check := config.FileCheck{File: config.TrackFile{Path: "/w"}, Weight: row.weight, Reverse: row.reverse}
		if got := fileOutcome(check, row.number); got != row.want {
			t.Errorf("weight %d, reverse %v, %d: %+v, want %+v", row.weight, row.reverse, row.number, got, row.want)
		}
	}
}

func TestFileNumber(t *testing.T) {
	for text, want := range map[string]int64{
		"5": 5, "-7\n": -7, " \n 12 \nand more": 12, "+3": 3, "5x": 5, "1.5": 1, "1 2": 1, "-0x10": -16, "0X1fg": 31, "010": 8, "09": 0, "0": 0,
		"-2147483648": math.MinInt32, "2147483647": math.MaxInt32,
		"": 0, "\n": 0, "up": 0, "- 5": 0, "0x": 0, "--5": 0, "0xg": 0,
	} {
		if got, err := fileNumber(text); got != want || err != nil {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"2147483648", "-2147483649", "99999999999999999999"} {
		if got, err := fileNumber(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

// reports watches a FILE_CHECK and hands on what it reports.
func reports(t *testing.T, check config.FileCheck, o Options) <-chan Outcome {
	t.Helper()
	w, err := NewWatcher(config.Checker{Check: check}, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(chan Outcome), make(chan struct{})
	go func() {
		defer close(ended)
		w.Watch(ctx, func(got Outcome) {
			select {
			case out <- got:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return out
}

// put replaces the file at once: one that is written in place is empty for a moment, and
// may be read then.
func put(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestFileReports: what is there at first, and each other number then; what cannot be used is
// told and changes nothing.
func TestFileReports(t *testing.T) {
	var log await.Log
	path := filepath.Join(t.TempDir(), "weight")
	out := reports(t, config.FileCheck{File: config.TrackFile{Path: path}, Weight: 2}, Options{Log: log.Logger()})
	next := func(want int) {
		t.Helper()
		if got := <-out; got != (Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Add, Value: want}}) {
			t.Errorf("%+v, want %d", got, want)
		}
	}
	next(0) // there is no file
	put(t, path, "5\n")
	next(10)
	put(t, path, "99999999999\n")
	await.That(t, "a word about it", func() bool { return len(log.String()) > 0 })
	put(t, path, "5") // as before: nothing to report
	put(t, path, "-3")
	next(-6)
	put(t, path, "no number")
	next(0)
	put(t, path, "1")
	next(2)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next(0)
}

// TestFileInit: init_file makes the file once in the life of a daemon.
func TestFileInit(t *testing.T) {
	dir := t.TempDir()
	seven := 7
	for _, row := range []struct {
		name      string
		before    string // empty: there is none
		overwrite bool
		want      string
	}{
		{"made", "", false, "7\n"},
		{"kept", "1\n", false, "1\n"},
		{"overwritten", "1\n", true, "7\n"},
	} {
		path := filepath.Join(dir, row.name)
		if row.before != "" {
			put(t, path, row.before)
		}
		o := Options{Files: new(Files)}
		check := config.FileCheck{File: config.TrackFile{Path: path, Init: &seven, Overwrite: row.overwrite}, Weight: 1}
		<-reports(t, check, o)
		if got, err := os.ReadFile(path); string(got) != row.want || err != nil {
			t.Errorf("%s: %q, %v", row.name, got, err)
		}
		put(t, path, "3")
		if got := <-reports(t, check, o); got.Adjust.Value != 3 {
			t.Errorf("%s: made again at a reload: %+v", row.name, got)
		}
	}
}

// TestFileIsNone: what is no file, as a pipe that nobody writes to, counts as 0 and holds nothing up.
func TestFileIsNone(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		check := config.FileCheck{File: config.TrackFile{Path: path}, Weight: 1}
		if got := <-reports(t, check, Options{}); got != (Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Add}}) {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestBFD(t *testing.T) {
	var log await.Log
	w, err := NewWatcher(config.Checker{Check: config.BFDCheck{Name: "router1"}}, Options{Log: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.Watch(ctx, func(got Outcome) {
		if got != (Outcome{OK: true}) {
			t.Errorf("%+v", got)
		}
		cancel()
	})
	if log.String() == "" {
		t.Error("no warning")
	}
}
