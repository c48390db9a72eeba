package etcd_test

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/port"
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

// timed runs f and says how long that took, and how much of it this process stood still: that long
// f may be late without having done wrong.
func timed(f func()) (took, stood time.Duration) {
	const grain = 10 * time.Millisecond
	done, told := make(chan struct{}), make(chan time.Duration)
	go func() {
		var lost time.Duration
		for running := true; running; {
			start := time.Now()
			select {
			case <-done:
				running = false
			case <-time.After(grain):
			}
			if late := time.Since(start) - grain; late > grain {
				lost += late
			}
		}
		told <- lost
	}()
	start := time.Now()
	f()
	took = time.Since(start)
	close(done)
	return took, <-told
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	return port.Hold(tb, "127.0.0.1").String()
}

// serve runs a witness until stop is called or the test ends.
func serve(tb testing.TB, cfg server.Config) (stop func()) {
	tb.Helper()
	cfg.Name, cfg.Cluster = "w1", "edge"
	if cfg.Logger == nil {
		cfg.Logger = (&await.Log{}).Logger()
	}
	s, err := server.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("witness: %v", err)
		}
	})
	tb.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		tb.Fatalf("witness: %v", err)
	case <-time.After(patience):
		tb.Fatal("the witness is not ready")
	}
	return stop
}

// serveNew runs a witness with an empty data directory and returns its URL.
func serveNew(tb testing.TB) (rawURL string, stop func()) {
	tb.Helper()
	rawURL = "http://" + freeAddr(tb)
	return rawURL, serve(tb, server.Config{DataDir: tb.TempDir(), ListenClient: []string{rawURL}})
}

func client(tb testing.TB, cfg etcd.Config) *etcd.Client {
	tb.Helper()
	if cfg.Cluster == "" {
		cfg.Cluster = "edge"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	if cfg.Logger == nil {
		cfg.Logger = (&await.Log{}).Logger()
	}
	c, err := etcd.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// raw is a client for what solovip itself never does to an etcd.
func raw(tb testing.TB, cfg clientv3.Config) *clientv3.Client {
	tb.Helper()
	cfg.Logger = zap.NewNop()
	c, err := clientv3.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func within(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// do carries out a Swap that must be answered.
func do(tb testing.TB, c *etcd.Client, s witness.Swap) witness.Outcome {
	tb.Helper()
	out, err := c.Do(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
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
func recovered(tb testing.TB, c *etcd.Client) time.Duration {
	tb.Helper()
	start := time.Now()
	for {
		_, err := c.Do(tb.Context(), witness.Swap{})
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > patience {
			tb.Fatalf("no answer any more: %v", err)
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

func newProxy(tb testing.TB, targetURL string) *proxy {
	tb.Helper()
	target, err := url.Parse(targetURL)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
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
	d, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	p.gate.RUnlock()
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
func (p *proxy) freeze(tb testing.TB) (thaw func()) {
	tb.Helper()
	p.gate.Lock()
	thaw = sync.OnceFunc(p.gate.Unlock)
	tb.Cleanup(thaw)
	return thaw
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}
