package etcd_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
	"github.com/solovip/solovip/witness/server"
)

const (
	// patience is how long a test waits for what must happen.
	patience = 20 * time.Second
	// slack is how much later than its deadline a call may return on a busy machine.
	slack = 300 * time.Millisecond
	// recovery is how long after the end of an outage the first answer may come. A second is aimed
	// at; a busy machine with a slow disk gets two.
	recovery = 2 * time.Second
)

// logs is a log that tests can read while it is being written.
type logs struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// serve runs a witness until stop is called or the test ends.
func serve(t testing.TB, cfg server.Config) (stop func()) {
	t.Helper()
	cfg.Name, cfg.Cluster = "w1", "edge"
	if cfg.Logger == nil {
		cfg.Logger = (&logs{}).logger()
	}
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("witness: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("witness: %v", err)
	case <-time.After(patience):
		t.Fatal("the witness is not ready")
	}
	return stop
}

// serveNew runs a witness with an empty data directory and returns its URL.
func serveNew(t testing.TB) (rawURL string, stop func()) {
	t.Helper()
	rawURL = "http://" + freeAddr(t)
	return rawURL, serve(t, server.Config{DataDir: t.TempDir(), ListenClient: []string{rawURL}})
}

func client(t testing.TB, cfg etcd.Config) *etcd.Client {
	t.Helper()
	if cfg.Cluster == "" {
		cfg.Cluster = "edge"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	if cfg.Logger == nil {
		cfg.Logger = (&logs{}).logger()
	}
	c, err := etcd.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// raw is a client for what solovip itself never does to an etcd.
func raw(t testing.TB, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	cfg.Logger = zap.NewNop()
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// do carries out a Swap that must be answered.
func do(t testing.TB, c *etcd.Client, s witness.Swap) witness.Outcome {
	t.Helper()
	out, err := c.Do(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// renew is a Swap of a node that has seen its own record at the given version.
func renew(node string, version int64, beat uint64) witness.Swap {
	return witness.Swap{
		IfNodes: map[string]int64{node: version},
		Nodes:   []witness.NodeRecord{{Node: node, Incarnation: 7, Beat: beat, HoldMS: 600, LateMS: 100}},
	}
}

// recovered calls Do until it is answered, and returns how long that took.
func recovered(t testing.TB, c *etcd.Client) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		_, err := c.Do(t.Context(), witness.Swap{})
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > patience {
			t.Fatalf("no answer any more: %v", err)
		}
	}
}

func waitFor(t testing.TB, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !happened(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen")
		}
	}
}

// proxy forwards TCP to one address until it is told to hold everything back, as a firewall does that
// drops packets, or a host that is frozen: connections stay, nothing comes.
type proxy struct {
	url    string
	target string

	gate  sync.RWMutex // held for writing while frozen
	mu    sync.Mutex   // guards bytes
	bytes int
}

func newProxy(t testing.TB, targetURL string) *proxy {
	t.Helper()
	target, err := url.Parse(targetURL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &proxy{url: target.Scheme + "://" + l.Addr().String(), target: target.Host}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.forward(c)
		}
	}()
	return p
}

func (p *proxy) forward(c net.Conn) {
	p.gate.RLock() // a frozen host accepts, but goes no further
	p.gate.RUnlock()
	d, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = c.Close()
		return
	}
	go p.copy(d, c)
	p.copy(c, d)
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.gate.RLock()
		_, err = to.Write(buf[:n])
		p.gate.RUnlock()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.bytes += n
		p.mu.Unlock()
	}
}

// freeze holds back everything until thaw is called.
func (p *proxy) freeze(t testing.TB) (thaw func()) {
	p.gate.Lock()
	thaw = sync.OnceFunc(p.gate.Unlock)
	t.Cleanup(thaw)
	return thaw
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}
