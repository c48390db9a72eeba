package port

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// tries bounds how often a port is looked for that is free over TCP and UDP.
const tries = 100

// Hold returns a port of the address at which nobody listens, over TCP or UDP: who connects to it is
// refused. Until the test ends the kernel gives it to nobody. Only who asks for it by its number
// and sets SO_REUSEADDR can have it, as Go does to listen over TCP, and nginx and dnsmasq do.
func Hold(tb testing.TB, addr string) netip.AddrPort {
	tb.Helper()
	at, err := hold(tb, netip.MustParseAddr(addr))
	for n := 1; errors.Is(err, unix.EADDRINUSE) && n < tries; n++ {
		at, err = hold(tb, netip.MustParseAddr(addr))
	}
	if err != nil {
		tb.Fatalf("hold a port of %s: %v", addr, err)
	}
	return at
}

// hold holds a port of the address until the test ends.
func hold(tb testing.TB, addr netip.Addr) (netip.AddrPort, error) {
	tb.Helper()
	_, at, err := bind(tb, unix.SOCK_STREAM, netip.AddrPortFrom(addr, 0))
	if err != nil {
		return at, err
	}
	udp, at, err := bind(tb, unix.SOCK_DGRAM, at)
	if err != nil {
		return at, err
	}
	// Connected to itself it hears nobody else, and the kernel refuses what comes.
	return at, unix.Connect(udp, sockaddr(at))
}

// bind returns a socket that does not listen, and where it is. It is closed when the test ends.
func bind(tb testing.TB, kind int, to netip.AddrPort) (int, netip.AddrPort, error) {
	tb.Helper()
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, to, err
	}
	tb.Cleanup(func() { _ = unix.Close(fd) }) // nothing was sent that could be lost
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, to, err
	}
	if err := unix.Bind(fd, sockaddr(to)); err != nil {
		return 0, to, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, to, err
	}
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		to = netip.AddrPortFrom(to.Addr(), uint16(bound.Port))
	case *unix.SockaddrInet6:
		to = netip.AddrPortFrom(to.Addr(), uint16(bound.Port))
	}
	return fd, to, nil
}

// sockaddr returns an address as the kernel wants it.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
