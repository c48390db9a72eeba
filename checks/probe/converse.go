package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
)

// converse connects and talks; when ctx ends it has ended. The reason of a failure begins
// with the name of what was spoken, and the target.
func converse(ctx context.Context, c config.Checker, network, name string, talk func(net.Conn) error) Outcome {
	conn, err := dial(ctx, c, network)
	if err != nil {
		return failed(err)
	}
	defer func() { _ = conn.Close() }() // all that counts has been read
	defer endWith(ctx, conn)()
	if network == "udp" {
		err = reportErrors(conn, c)
	}
	if err == nil {
		err = talk(conn)
	}
	if err != nil {
		return failed(fmt.Errorf("%s %s: %w", name, c.Target, err))
	}
	return Outcome{OK: true}
}

// endWith ends all reads and writes of a connection when ctx ends, until stop is called.
func endWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// reportErrors makes each ICMP error an error of the socket. Otherwise the kernel keeps those
// to itself that may pass: a host that does not answer for its address, a network without a route.
func reportErrors(conn net.Conn, c config.Checker) error {
	raw, err := conn.(syscall.Conn).SyscallConn() //nolint:forcetypeassert // all of package net have it
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if c.Target.Addr().Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	return control(raw, func(fd int) error { return unix.SetsockoptInt(fd, level, option, 1) })
}

// heard returns the error of a read or write as people want to read it.
func heard(err error) error {
	if errors.Is(err, io.EOF) {
		return errClosed
	}
	return bare(err)
}

var errClosed = errors.New("connection closed by the server")

// quoted returns what a server said so that it fits into a line.
func quoted(said string) string {
	const most = 80
	if len(said) > most {
		said = said[:most] + "..."
	}
	return strconv.Quote(said)
}
