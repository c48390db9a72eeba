package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what fits into sockaddr_un, see unix(7).
const maxSocketPath = 107

// SocketPath returns where the daemon that runs with the run directory listens.
func SocketPath(runDir string) string { return filepath.Join(runDir, "control.sock") }

func checkPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket path %s has %d bytes, at most %d are possible: choose a shorter run directory with --run-dir",
			path, len(path), maxSocketPath)
	}
	return nil
}

// listen listens on the socket, which only the owner may use. One that a dead daemon
// left there is replaced. One of a daemon that lives, even of one that is stopped, is
// refused: the kernel accepts for it.
func listen(path string) (net.Listener, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	conn, err := connect(context.Background(), path)
	switch {
	case err == nil:
		return nil, errors.Join(inUse(path), conn.Close())
	case errors.Is(err, unix.EAGAIN): // so many wait for it that no more may
		return nil, inUse(path)
	case errors.Is(err, unix.ECONNREFUSED):
		if err := removeSocket(path); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("see whether another daemon listens: %w", err)
	}
	lc := net.ListenConfig{Control: ownerOnly}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for control requests: %w", err)
	}
	return l, nil
}

// removeSocket removes what a dead daemon left, but nothing that it cannot have left.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket: remove it, or name another directory with --run-dir", path)
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("remove the socket of a dead daemon: %w", err)
	}
	return nil
}

func inUse(path string) error {
	return fmt.Errorf("another solovip listens on %s: stop it first, or name another directory with --run-dir", path)
}

// ownerOnly sets the mode of a socket before it has a name: bind(2) takes it from the
// socket, so that there is no instant at which others could connect.
func ownerOnly(_, _ string, c syscall.RawConn) error {
	var err error
	if ctlErr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); ctlErr != nil {
		return ctlErr
	}
	return err
}

// connect connects to a daemon within connectWithin.
func connect(ctx context.Context, path string) (net.Conn, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: connectWithin}
	return d.DialContext(ctx, "unix", path)
}
