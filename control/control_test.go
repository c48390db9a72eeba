package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/node"
)

// deadline is how long a test waits for what must happen.
const deadline = 10 * time.Second

// loop stands in for the daemon's loop: it tells the snapshot that a test sets.
type loop struct {
	mu   sync.Mutex
	snap node.Snapshot
	hung chan struct{} // nil: it answers; else until it is closed
}

func (l *loop) set(f func(*loop)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

func (l *loop) snapshot() node.Snapshot {
	l.mu.Lock()
	snap, hung := l.snap, l.hung
	l.mu.Unlock()
	if hung != nil {
		<-hung
	}
	return snap
}

func sample() node.Snapshot {
	return node.Snapshot{
		Node: "lb01", Mode: "veto", Safety: node.Unsafe, Peers: []node.PeerSnapshot{{Name: "lb02", Alive: "yes", AgeMS: 5}},
		Claims: []node.ClaimSnapshot{{
			Name: "VI_1", State: "BACKUP", Phase: "idle", RemainingMS: -1,
			Instances: []node.InstanceSnapshot{{Name: "VI_1", State: "BACKUP", VRID: 51}},
		}},
	}
}

// start runs a server in a directory of its own and returns the directory, the loop
// behind it, and what ends it.
func start(t *testing.T) (dir string, l *loop, stop func()) {
	t.Helper()
	dir = t.TempDir()
	l = &loop{snap: sample()}
	socket, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&Server{Snapshot: l.snapshot}).Serve(ctx, socket) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server ended with %v", err)
			}
		case <-time.After(deadline):
			t.Error("the server does not end")
		}
	})
	t.Cleanup(stop)
	return dir, l, stop
}

func dial(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSnapshotArrivesAsItIs(t *testing.T) {
	dir, _, _ := start(t)
	got, err := dial(t, dir).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

func TestOnlyTheOwnerMayUseTheSocket(t *testing.T) {
	old := syscall.Umask(0) // the mode must not depend on it
	defer syscall.Umask(old)
	dir, _, _ := start(t)
	info, err := os.Stat(SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("socket has mode %04o, want 0600", got)
	}
}

func TestSocketOfALiveDaemonIsRefused(t *testing.T) {
	dir, _, stop := start(t)
	_, err := Listen(dir)
	wantError(t, err, fmt.Sprintf("another solovip (process %d) runs with run directory %s", os.Getpid(), dir), "--run-dir")
	if _, err := dial(t, dir).Snapshot(t.Context()); err != nil {
		t.Errorf("the first daemon lost its socket: %v", err)
	}
	stop()
	next, err := Listen(dir)
	if err != nil {
		t.Fatalf("the directory is not free after the daemon has ended: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketOfADeadDaemonIsReplaced(t *testing.T) {
	dir := t.TempDir()
	leaveDeadSocket(t, dir)
	_, err := Dial(dir)
	wantError(t, err, "no solovip runs", "has died", "--run-dir")
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// leaveDeadSocket leaves what a killed daemon leaves: a socket nobody listens on.
func leaveDeadSocket(t *testing.T, dir string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketPath(dir), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnythingButASocketInItsPlaceIsKept(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(SocketPath(dir), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(dir)
	wantError(t, err, "is not a socket", SocketPath(dir))
	if b, err := os.ReadFile(SocketPath(dir)); string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}

func TestStopEndsWatchersAndRemovesTheSocket(t *testing.T) {
	dir, _, stop := start(t)
	watching := make(chan struct{})
	ended := make(chan error, 1)
	first := sync.OnceFunc(func() { close(watching) })
	c := dial(t, dir)
	go func() {
		ended <- c.Watch(t.Context(), func(node.Snapshot) error { first(); return nil })
	}()
	wait(t, watching)
	stop()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("the watch ended with %v, want ErrUnreachable", err)
		}
	case <-time.After(deadline):
		t.Fatal("the watch does not end with the daemon")
	}
	if _, err := os.Stat(SocketPath(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestNoDaemonSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(dir)
	wantError(t, err, "no solovip runs", dir, "control.sock", "start it with", "--run-dir")
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v does not wrap ErrUnreachable", err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 120))
	_, err = Dial(long)
	wantError(t, err, "at most 107", "--run-dir")
}

// A connection that is refused for lack of rights cannot be had as root, so the
// explanation is asked for by itself.
func TestNoRightsSaysRoot(t *testing.T) {
	c := &Client{runDir: "/run/solovip"}
	err := c.explain(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)})
	wantError(t, err, "/run/solovip/control.sock", "as root")
}

func TestWatchTellsAChangeAtOnceAndOtherwiseEachSecond(t *testing.T) {
	t.Parallel()
	dir, l, _ := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	snaps := make(chan node.Snapshot)
	go func() {
		_ = dial(t, dir).Watch(ctx, func(s node.Snapshot) error {
			snaps <- s
			return nil
		})
		close(snaps)
	}()
	next := func() (node.Snapshot, time.Time) {
		s, ok := <-snaps
		if !ok {
			t.Fatal("the watch has ended")
		}
		return s, time.Now()
	}
	first, at := next()
	if first.Claims[0].State != "BACKUP" {
		t.Fatalf("first state %q, want BACKUP", first.Claims[0].State)
	}
	// What only ages is not told before its second is over.
	l.set(func(l *loop) {
		l.snap = sample()
		l.snap.Peers[0].AgeMS, l.snap.UptimeMS = 900, 900
	})
	aged, agedAt := next()
	if got := agedAt.Sub(at); got < tellEvery/2 || aged.UptimeMS != 900 {
		t.Errorf("a line with nothing new but ages (uptime %d ms) came after %v, want about %v", aged.UptimeMS, got, tellEvery)
	}
	changed := time.Now()
	l.set(func(l *loop) {
		l.snap = sample()
		l.snap.Claims[0].State = "MASTER"
	})
	s, at := next()
	if got := at.Sub(changed); s.Claims[0].State != "MASTER" || got > tellEvery-lookEvery {
		t.Errorf("state %q was told after %v, want MASTER within some %v", s.Claims[0].State, got, lookEvery)
	}
	cancel()
	if _, ok := <-snaps; ok {
		<-snaps // a line was under way
	}
}

func TestWatchEndsWithTheErrorOfItsCaller(t *testing.T) {
	dir, _, _ := start(t)
	enough := errors.New("enough")
	if err := dial(t, dir).Watch(t.Context(), func(node.Snapshot) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Watch returned %v, want %v", err, enough)
	}
}

func TestLoopThatHangsIsSaid(t *testing.T) {
	t.Parallel()
	dir, l, _ := start(t)
	hung := make(chan struct{})
	defer close(hung)
	l.set(func(l *loop) { l.hung = hung })
	_, err := dial(t, dir).Snapshot(t.Context())
	wantError(t, err, "cannot answer", "the daemon's loop has not answered within 2s")
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v does not wrap ErrUnreachable", err)
	}
}

// A daemon that is stopped (SIGSTOP) accepts, because the kernel does, and says nothing.
func TestDaemonThatIsStoppedIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("unix", SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = dial(t, dir).Snapshot(t.Context())
	wantError(t, err, "does not answer", "hangs or is stopped")
	err = dial(t, dir).Watch(t.Context(), func(node.Snapshot) error { return nil })
	wantError(t, err, "does not answer", "hangs or is stopped")
}

// Clients that connect and send nothing must not keep an operator out.
func TestStuckClientsDoNotBlockOthers(t *testing.T) {
	t.Parallel()
	dir, _, _ := start(t)
	for range maxConns + 4 {
		conn, err := net.Dial("unix", SocketPath(dir))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /v1/snap"); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	if _, err := dial(t, dir).Snapshot(t.Context()); err != nil {
		t.Fatalf("not answered after %v: %v", time.Since(begun), err)
	}
}

func TestWatchersAreBounded(t *testing.T) {
	dir, _, _ := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	c := dial(t, dir)
	told := make(chan struct{}, 1024)
	for range maxWatchers {
		group.Go(func() {
			first := sync.OnceFunc(func() { told <- struct{}{} })
			_ = c.Watch(ctx, func(node.Snapshot) error { first(); return nil })
		})
	}
	for range maxWatchers {
		wait(t, told)
	}
	err := c.Watch(t.Context(), func(node.Snapshot) error { return nil })
	wantError(t, err, "16 clients watch already")
	if _, err := c.Snapshot(t.Context()); err != nil {
		t.Errorf("watchers keep out who asks once: %v", err)
	}
}

func TestRequests(t *testing.T) {
	dir, _, _ := start(t)
	for _, c := range []struct {
		name, request string
		status        int
		body          string
	}{
		{"health", "GET /v1/healthz", 200, `{"status":"ok"}`},
		{"snapshot", "GET /v1/snapshot", 200, `"node":"lb01"`},
		{"no watch", "GET /v1/snapshot?watch=0", 200, `"node":"lb01"`},
		{"odd watch", "GET /v1/snapshot?watch=maybe", 400, `{"error":"watch must be 0 or 1"}`},
		{"wrong method", "POST /v1/snapshot", 405, ""},
		{"commands are not for browsers", "GET /v1/handover", 404, ""},
		{"unknown", "GET /v1/claims", 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := raw(t, dir, c.request+" HTTP/1.1\r\nHost: solovip\r\nConnection: close\r\n\r\n")
			if status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %s, want %d with %s", status, body, c.status, c.body)
			}
		})
	}
}

// raw sends bytes and returns the status and body of the answer.
func raw(t *testing.T, dir, request string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("unix", SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	s := Server{
		Snapshot: func() node.Snapshot { return sample() },
		Handover: func(_ context.Context, claim, to string) (string, error) {
			if claim != "VI_1" {
				return "", fmt.Errorf("there is no claim %q", claim)
			}
			got = append(got, "handover "+claim+" "+to)
			return "handing VI_1 over to lb02", nil
		},
		Standby: func(ctx context.Context, on bool) (string, error) {
			if !on {
				<-ctx.Done()
				return "", errors.New("the loop does not answer")
			}
			got = append(got, "standby")
			return "standby", nil
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	c := dial(t, dir)
	if text, err := c.Handover(t.Context(), "VI_1", "lb02"); err != nil || text != "handing VI_1 over to lb02" {
		t.Errorf("handover: %q, %v", text, err)
	}
	if text, err := c.Standby(t.Context(), true); err != nil || text != "standby" {
		t.Errorf("standby: %q, %v", text, err)
	}
	_, err = c.Handover(t.Context(), "VI_9", "")
	wantError(t, err, `there is no claim "VI_9"`)
	if errors.Is(err, ErrUnreachable) {
		t.Errorf("a refusal is not an unreachable daemon: %v", err)
	}
	_, err = c.Standby(t.Context(), false)
	wantError(t, err, "the loop does not answer")
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("a loop that does not answer is an unreachable daemon: %v", err)
	}
	for _, body := range []string{``, `{`, `{"claim":"VI_1","all":true}`, `{"claim":"VI_1"}{}`, `{"claim":"` + strings.Repeat("x", maxCommandBytes) + `"}`} {
		request := fmt.Sprintf("POST /v1/handover HTTP/1.1\r\nHost: solovip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if status, answer := raw(t, dir, request); status != http.StatusBadRequest {
			t.Errorf("body %.40q: %d %s, want 400", body, status, answer)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"handover VI_1 lb02", "standby"}, got); diff != "" {
		t.Errorf("carried out (-want +got):\n%s", diff)
	}
}

// Scripts rely on the fields: each has to stand in the documentation.
func TestEveryFieldIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{reflect.TypeFor[netip.AddrPort](): true} // a text in JSON
	for _, name := range append(fields(reflect.TypeFor[node.Snapshot](), seen), fields(reflect.TypeFor[lvs.Snapshot](), seen)...) {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("field %s of the JSON is not in docs/operations.md: add it to the contract there", name)
		}
	}
}

// fields returns the JSON names of a struct and of what it contains.
func fields(typ reflect.Type, seen map[reflect.Type]bool) []string {
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || seen[typ] {
		return nil
	}
	seen[typ] = true
	var names []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		names = append(names, fields(f.Type, seen)...)
	}
	return names
}

// FuzzReadCommand holds that a command is read whole or not at all.
func FuzzReadCommand(f *testing.F) {
	f.Add([]byte(`{"claim":"VI_1","to":"lb02"}`))
	f.Add([]byte(`{"claim":"VI_1"} {"claim":"VI_2"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c HandoverRequest
		if readCommand(bytes.NewReader(b), &c) != nil {
			return
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again HandoverRequest
		if err := readCommand(bytes.NewReader(text), &again); err != nil || again != c {
			t.Errorf("%q was read as %+v, and printed and read again as %+v, %v", b, c, again, err)
		}
	})
}

// FuzzDecode holds that no answer breaks the client, and that what it reads it can
// print again without loss.
func FuzzDecode(f *testing.F) {
	b, err := json.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"claims":[{"remaining_ms":1e99}]}`))
	f.Add([]byte(`{"unknown":1,"peers":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		snap, err := decode[node.Snapshot](b)
		if err != nil {
			return
		}
		text, err := json.Marshal(snap)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode[node.Snapshot](text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(snap, again); diff != "" {
			t.Errorf("printed and read again:\n%s", diff)
		}
	})
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(deadline):
		t.Fatal("waited for too long")
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}
