package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
)

// dial connects as a checker wants it: from bindto and bind_port, out of bind_if, with
// fwmark. network is "tcp" or "udp". The error names what was connected to.
func dial(ctx context.Context, c config.Checker, network string) (net.Conn, error) {
	conn, err := dialer(c, network).DialContext(ctx, network, c.Target.String())
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", c.Target, bare(err))
	}
	return conn, nil
}

// dialer returns what dial connects with.
func dialer(c config.Checker, network string) *net.Dialer {
	// No keep-alive: an attempt is shorter than its first interval.
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	if c.Bind.Addr().IsValid() || c.Bind.Port() != 0 {
		from := c.Bind
		if !from.Addr().IsValid() {
			from = netip.AddrPortFrom(unspecified(c.Target.Addr()), from.Port())
		}
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
	}
	if d.LocalAddr != nil || c.Iface != "" || c.FWMark != 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return control(raw, func(fd int) error { return prepare(c, fd) })
		}
	}
	return d
}

// prepare sets the options of a socket that a checker wants.
func prepare(c config.Checker, fd int) error {
	if c.Iface != "" {
		if err := unix.BindToDevice(fd, c.Iface); err != nil {
			return fmt.Errorf("bind_if %s: %w", c.Iface, hint(err))
		}
	}
	if c.FWMark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(c.FWMark)); err != nil {
			return fmt.Errorf("fwmark %d: %w", c.FWMark, hint(err))
		}
	}
	if c.Bind.Port() != 0 {
		// The connection before may still be in TIME_WAIT.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fmt.Errorf("SO_REUSEADDR: %w", err)
		}
	} else if c.Bind.Addr().IsValid() {
		// The port is chosen when the target is known, so that checks of many targets
		// from one address do not use up its ports.
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
	}
	return nil
}

// control calls f with the descriptor of a connection.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// hint says what is missing when an option is not permitted.
func hint(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: this needs CAP_NET_ADMIN or CAP_NET_RAW", err)
	}
	return err
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// bare takes off an error of package net what only says again what was tried: "dial tcp
// 10.0.0.1:80: connect: connection refused" becomes "connection refused".
func bare(err error) error {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) && call.Syscall != "bind" { // then it is about bindto
		err = call.Err
	}
	return err
}

// errTimeout says that an attempt took longer than it may.
var errTimeout = errors.New("no answer in time")
