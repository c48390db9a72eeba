package probe

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/port"
)

// attempt makes one attempt, of five seconds at the most.
func attempt(t *testing.T, c config.Checker) Outcome {
	t.Helper()
	return soon(t, c, 5*time.Second)
}

// listen accepts connections on a port of its own and gives each to handle.
func listen(t *testing.T, addr string, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func closeIt(conn net.Conn) { _ = conn.Close() }

func TestTCP(t *testing.T) {
	open := listen(t, "127.0.0.1:0", closeIt)
	open6 := listen(t, "[::1]:0", closeIt)
	shut := port.Hold(t, "127.0.0.1")
	for _, row := range []struct {
		name string
		c    config.Checker
		why  string // empty: it succeeds
	}{
		{"open", config.Checker{Target: open}, ""},
		{"open by IPv6", config.Checker{Target: open6}, ""},
		{"shut", config.Checker{Target: shut}, "connect " + shut.String() + ": connection refused"},
		{"no such interface", config.Checker{Target: open, Iface: "nosuch0"}, "connect " + open.String() + ": bind_if nosuch0: "},
		{"address of another host", config.Checker{Target: open, Bind: netip.MustParseAddrPort("192.0.2.1:0")}, "cannot assign requested address"},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.c.Check = config.TCPCheck{}
			got := attempt(t, row.c)
			if got.OK != (row.why == "") || !strings.Contains(got.Why, row.why) {
				t.Errorf("%+v, want %q", got, row.why)
			}
		})
	}
}

// TestTCPComesFrom: bindto and bind_port are where the connection comes from, attempt
// after attempt.
func TestTCPComesFrom(t *testing.T) {
	from := make(chan netip.AddrPort, 1)
	target := listen(t, "127.0.0.1:0", func(conn net.Conn) {
		from <- netip.MustParseAddrPort(conn.RemoteAddr().String())
		_ = conn.Close()
	})
	ours := port.Hold(t, "0.0.0.0").Port()
	for _, bind := range []netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.8"), 0),
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), ours),
		netip.AddrPortFrom(netip.Addr{}, ours),
	} {
		for range 3 {
			if got := attempt(t, config.Checker{Check: config.TCPCheck{}, Target: target, Bind: bind}); !got.OK {
				t.Fatalf("bound to %s: %+v", bind, got)
			}
			got := <-from
			if bind.Addr().IsValid() && got.Addr() != bind.Addr() || bind.Port() != 0 && got.Port() != bind.Port() {
				t.Errorf("bound to %s, it came from %s", bind, got)
			}
		}
	}
}

// TestTCPTimeout: a target that does not answer fails when the time is up.
func TestTCPTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	p, err := New(config.Checker{Check: config.TCPCheck{}, Target: netip.MustParseAddrPort(l.Addr().String())})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Probe(ctx); got.OK || !strings.HasSuffix(got.Why, ": no answer in time") {
		t.Errorf("%+v", got)
	}
}
