package etcd_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
)

// endsInTime calls Do with an impatient client and checks that it comes back when its time is
// up, and neither earlier nor later.
func endsInTime(t *testing.T, c *etcd.Client, timeout time.Duration, s witness.Swap) error {
	t.Helper()
	var err error
	took, stood := timed(func() { _, err = c.Do(t.Context(), s) })
	if err == nil || took < timeout-time.Millisecond || took-stood > timeout+slack {
		t.Errorf("Do = %v after %v, %v of that frozen, want an error after %v", err, took, stood, timeout)
	}
	return err
}

func TestStoppedWitness(t *testing.T) {
	const timeout = 300 * time.Millisecond
	u, stop := serveNew(t)
	c := client(t, etcd.Config{Endpoints: []string{u}, Timeout: timeout})
	recovered(t, c)
	stop()
	// The first one may still meet the connection that is just ending.
	_, _ = c.Do(t.Context(), witness.Swap{})
	err := endsInTime(t, c, timeout, renew("lb01", 0, 1))
	if !errors.Is(err, etcd.ErrRefused) || !strings.Contains(err.Error(), u+": ") || !strings.Contains(err.Error(), "connection refused: is the witness running") {
		t.Errorf("Do = %v, want it refused, with endpoint and remedy", err)
	}
}

func TestNewWhileWitnessIsDown(t *testing.T) {
	u := "http://" + freeAddr(t)
	c := client(t, etcd.Config{Endpoints: []string{u}, Timeout: 300 * time.Millisecond})
	err := endsInTime(t, c, 300*time.Millisecond, witness.Swap{})
	if !errors.Is(err, etcd.ErrRefused) {
		t.Errorf("Do = %v, want it refused", err)
	}
}

// A witness that takes what is sent and says nothing: the caller's time is kept, nothing
// is said for certain, and it goes on at once when the answers flow again.
func TestFrozenWitness(t *testing.T) {
	const timeout = 500 * time.Millisecond
	u, _ := serveNew(t)
	p := newProxy(t, u)
	c := client(t, etcd.Config{Endpoints: []string{p.url}, Timeout: timeout})
	version := do(t, c, renew("lb01", 0, 1)).Nodes["lb01"].Version
	thaw := p.freeze(t)
	err := endsInTime(t, c, timeout, renew("lb01", version, 2))
	if errors.Is(err, etcd.ErrRefused) || !strings.Contains(err.Error(), "did not answer within") {
		t.Errorf("Do = %v, want it in doubt", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout/2)
	defer cancel()
	took, stood := timed(func() { _, err = c.Do(ctx, witness.Swap{}) })
	if err == nil || took-stood > timeout/2+slack {
		t.Errorf("Do = %v after %v, %v of that frozen: the caller's deadline does not count", err, took, stood)
	}
	thaw()
	if took := recovered(t, c); took > recovery {
		t.Errorf("answered %v after the freeze, want at most %v", took, recovery)
	}
}

// Whoever connects must not wait for ever on a host that accepts and says nothing.
func TestSilentAtConnect(t *testing.T) {
	const timeout = 300 * time.Millisecond
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := client(t, etcd.Config{Endpoints: []string{"http://" + l.Addr().String()}, Timeout: timeout})
	err = endsInTime(t, c, timeout, witness.Swap{})
	if !errors.Is(err, etcd.ErrRefused) || !strings.Contains(err.Error(), "no answer to connecting") {
		t.Errorf("Do = %v, want it refused", err)
	}
}

// One of several endpoints is dead: the same call must get through to another.
func TestFailOver(t *testing.T) {
	const timeout = 1200 * time.Millisecond
	u, _ := serveNew(t)
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	tests := []struct {
		name string
		dead []string
		in   time.Duration
	}{
		{"one refuses", []string{"http://" + freeAddr(t)}, timeout / 4},
		{"one is silent", []string{"http://" + silent.Addr().String()}, timeout/2 + slack},
		{"one refuses, one is silent", []string{"http://" + freeAddr(t), "http://" + silent.Addr().String()}, timeout/2 + slack},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, etcd.Config{Endpoints: append(test.dead, u), Timeout: timeout})
			// And then it stays with the one that answered.
			for _, in := range []time.Duration{test.in, slack} {
				var err error
				took, stood := timed(func() { _, err = c.Do(t.Context(), witness.Swap{}) })
				if err != nil || took-stood > in {
					t.Errorf("Do = %v after %v, %v of that frozen, want an answer within %v", err, took, stood, in)
				}
			}
		})
	}
}

// The endpoint in use falls silent in the middle: that one call is in doubt and goes
// nowhere else, the next one is answered by the other endpoint.
func TestFailOverInUse(t *testing.T) {
	const timeout = 500 * time.Millisecond
	u, _ := serveNew(t)
	a, b := newProxy(t, u), newProxy(t, u)
	c := client(t, etcd.Config{Endpoints: []string{a.url, b.url}, Timeout: timeout})
	version := do(t, c, renew("lb01", 0, 1)).Nodes["lb01"].Version
	thaw := a.freeze(t)
	err := endsInTime(t, c, timeout, renew("lb01", version, 2))
	if errors.Is(err, etcd.ErrRefused) || !strings.Contains(err.Error(), a.url) {
		t.Errorf("Do = %v, want it in doubt, with the silent endpoint", err)
	}
	out := do(t, c, renew("lb01", version, 3))
	if !out.Done || b.count() == 0 {
		t.Errorf("done %v by the other endpoint (%d bytes)", out.Done, b.count())
	}
	// What was held back comes late, and must come to nothing.
	before := a.count()
	thaw()
	await.That(t, "the frozen endpoint gets more bytes", func() bool { return a.count() > before })
	if out := do(t, c, witness.Swap{}); out.Nodes["lb01"].Record.Beat != 3 {
		t.Errorf("record %+v, want the one written last", out.Nodes["lb01"])
	}
}

func TestCancelled(t *testing.T) {
	u, _ := serveNew(t)
	c := client(t, etcd.Config{Endpoints: []string{u}})
	do(t, c, witness.Swap{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Do(ctx, renew("lb01", 0, 1)); !errors.Is(err, etcd.ErrRefused) {
		t.Errorf("Do = %v, want it refused: it was never sent", err)
	}
	c.Close()
	if _, err := c.Do(t.Context(), renew("lb01", 0, 1)); !errors.Is(err, etcd.ErrRefused) {
		t.Errorf("Do after Close = %v, want it refused", err)
	}
}
