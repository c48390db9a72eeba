package port

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestHold: who connects is refused, who wants the port without a word is not given it, and who
// says SO_REUSEADDR can serve there, more than once.
func TestHold(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		at := Hold(t, addr)
		if conn, err := net.Dial("tcp", at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connect to %s: %v, %v", at, conn, err)
		}
		conn, err := net.Dial("udp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("x")) // what comes of it is read
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("send to %s: %v", at, err)
		}
		_ = conn.Close()
		if other, err := net.ListenPacket("udp", at.String()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s taken: %v, %v", at, other, err)
		}
		for range 2 {
			l, err := net.Listen("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			_ = l.Close()
		}
	}
}

// TestHoldsAll: as many as are wanted, each another one.
func TestHoldsAll(t *testing.T) {
	seen := map[uint16]bool{}
	for range 300 {
		at := Hold(t, "0.0.0.0")
		if seen[at.Port()] {
			t.Fatalf("%s twice", at)
		}
		seen[at.Port()] = true
	}
}
