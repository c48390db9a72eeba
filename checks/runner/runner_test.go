package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/port"
	"github.com/solovip/solovip/lvs"
)

// limit is how long a test waits for what has to come: a loaded machine is slow.
const limit = 20 * time.Second

// run runs a runner until the test ends.
func run(t *testing.T, cfg Config) *Runner {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// wait takes results until one of the check is as wanted, and returns it.
func wait(t *testing.T, r *Runner, id lvs.CheckID, up bool) lvs.Result {
	t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case results := <-r.Results():
			for _, result := range results {
				if result.Check == id && result.Up == up {
					return result
				}
			}
		case <-deadline:
			t.Fatalf("check %s is not up: %v after %v", id, up, limit)
		}
	}
}

// server accepts connections and counts them; it can be shut and opened.
type server struct {
	t      *testing.T
	l      net.Listener
	addr   netip.AddrPort
	opened atomic.Int64 // connections
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, addr: port.Hold(t, "127.0.0.1")}
	s.open()
	t.Cleanup(func() { _ = s.l.Close() })
	return s
}

func (s *server) open() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.addr.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.l = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.opened.Add(1)
			_ = conn.Close()
		}
	}()
}

func tcp(target netip.AddrPort) config.Checker {
	return config.Checker{Check: config.TCPCheck{}, Target: target, Interval: 20 * time.Millisecond, Timeout: 5 * time.Second}
}

func TestUpAndDown(t *testing.T) {
	s := serve(t)
	r := run(t, Config{})
	r.Add("a", tcp(s.addr))
	wait(t, r, "a", true)
	_ = s.l.Close()
	for deadline := time.Now().Add(limit); ; {
		got := wait(t, r, "a", false)
		if strings.Contains(got.Why, "connection refused") {
			break
		}
		if time.Now().After(deadline) { // one that was under way may be reset
			t.Fatalf("%+v", got)
		}
	}
	s.open()
	wait(t, r, "a", true)
}

// TestReload: adding, replacing and removing checks is not noticed by another.
func TestReload(t *testing.T) {
	kept, other := serve(t), serve(t)
	r := run(t, Config{})
	r.Add("kept", tcp(kept.addr))
	wait(t, r, "kept", true)
	for i := range 50 {
		before := kept.opened.Load()
		r.Add("other", tcp(other.addr))
		if i%2 == 0 {
			wait(t, r, "other", true)
			r.Remove("other")
		}
		for deadline := time.Now().Add(limit); kept.opened.Load() == before; {
			if time.Now().After(deadline) {
				t.Fatal("the other check is made no more")
			}
			wait(t, r, "kept", true)
		}
	}
	r.Remove("other")
	wait(t, r, "kept", true) // the turn after this has taken the removal in
	after := other.opened.Load()
	for range 5 {
		wait(t, r, "kept", true)
	}
	if got := other.opened.Load(); got > after+1 { // one may have been under way
		t.Errorf("%d attempts of a check that was removed", got-after)
	}
}

// TestCannotBeMade: a check that cannot be made is down and says why.
func TestCannotBeMade(t *testing.T) {
	r := run(t, Config{})
	r.Add("bad", config.Checker{Check: config.HTTPCheck{URLs: []config.URL{{Path: "/", Regex: &config.Regex{Source: "("}}}}})
	if got := wait(t, r, "bad", false); !strings.Contains(got.Why, "missing closing") {
		t.Errorf("%+v", got)
	}
}

// TestLatestResultCounts: who is slow to take results gets one of each check.
func TestLatestResultCounts(t *testing.T) {
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	r.report(lvs.Result{Check: "b", Up: true})
	r.report(lvs.Result{Check: "a", Up: true, Adjust: lvs.Adjust{Kind: lvs.Set, Value: 3}})
	r.report(lvs.Result{Check: "a", Up: false})
	r.report(lvs.Result{Check: "a", Up: true})
	want := "[{b true {0 0} } {a true {1 3} }]"
	if got := fmt.Sprint(r.pending); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestLogAllFailures: each failure is a line, not only the change.
func TestLogAllFailures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	s := serve(t)
	_ = s.l.Close()
	r := run(t, Config{Log: slog.New(slog.NewTextHandler(file, nil))})
	c := tcp(s.addr)
	c.LogAllFailures = true
	r.Add("a", c)
	for range 4 {
		wait(t, r, "a", false)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "connection refused"); n < 4 {
		t.Errorf("%d lines:\n%s", n, text)
	}
}

// TestStuckScriptDelaysNobody: scripts that hang fill their lane, and end at their timeout;
// meanwhile the network is checked as ever, and then the scripts behind them.
func TestStuckScriptDelaysNobody(t *testing.T) {
	s := serve(t)
	r := run(t, Config{Scripts: 2})
	script := func(line string, timeout time.Duration) config.Checker {
		return config.Checker{Interval: time.Hour, Check: config.MiscCheck{
			Command: config.Command{Text: line, Args: []string{"/bin/sh", "-c", line}}, Timeout: timeout,
		}}
	}
	// Due at one instant, they come in the order of their ids.
	r.Add("stuck 1", script("exec sleep 1000", time.Second))
	r.Add("stuck 2", script("exec sleep 1000", time.Second))
	r.Add("well", script("exit 0", time.Minute))
	r.Add("tcp", tcp(s.addr))
	down := map[lvs.CheckID]bool{}
	upBefore := 0 // results of the network while the scripts hang
	for deadline := time.After(limit); ; {
		select {
		case results := <-r.Results():
			for _, result := range results {
				switch {
				case !result.Up:
					down[result.Check] = true
				case result.Check == "tcp" && len(down) == 0:
					upBefore++
				}
				if result.Check == "well" {
					if upBefore < 2 || len(down) == 0 || down["tcp"] || down["well"] {
						t.Errorf("%d results of the network while scripts hang; down: %v", upBefore, down)
					}
					return
				}
			}
		case <-deadline:
			t.Fatalf("the script behind does not run; down: %v", down)
		}
	}
}

// TestRemovedScriptEnds: with the check a program of it ends that is running.
func TestRemovedScriptEnds(t *testing.T) {
	r := run(t, Config{})
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	line := "exec sleep 1000 >" + pipe
	r.Add("long", config.Checker{Interval: time.Hour, Check: config.MiscCheck{
		Command: config.Command{Text: line, Args: []string{"/bin/sh", "-c", line}}, Timeout: time.Hour,
	}})
	file, err := os.Open(pipe) // waits for the program
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r.Remove("long")
	ended := make(chan error, 1)
	go func() {
		_, err := file.Read(make([]byte, 1))
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Error("it runs on")
	}
}

// TestWatched: what reports without attempts reports once it is added, at each change, and no
// more when it is removed.
func TestWatched(t *testing.T) {
	r := run(t, Config{})
	path := filepath.Join(t.TempDir(), "weight")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put("-5")
	r.Add("file", config.Checker{Check: config.FileCheck{File: config.TrackFile{Path: path}, Weight: 2}})
	for _, row := range []struct {
		text string
		want int
	}{{"", -10}, {"7", 14}, {"0", 0}} {
		if row.text != "" {
			put(row.text)
		}
		if got := wait(t, r, "file", true); got.Adjust != (lvs.Adjust{Kind: lvs.Add, Value: row.want}) {
			t.Errorf("%q: %+v", row.text, got)
		}
	}
	r.Remove("file")
	s := serve(t)
	r.Add("tcp", tcp(s.addr))
	wait(t, r, "tcp", true) // so the removal is done
	put("9")
	for range 3 {
		select {
		case results := <-r.Results():
			for _, result := range results {
				if result.Check == "file" {
					t.Errorf("after it was removed: %+v", result)
				}
			}
		case <-time.After(limit):
			t.Fatal("no results")
		}
	}
}
