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

// Listen makes the run directory if there is none, takes it for this process, and
// listens on its socket, which only the owner may use. What a dead daemon left there is
// replaced. That of one that lives, even of one that is stopped or hangs, is refused:
// a lock on a file tells the two apart, which the kernel drops with the process.
// Closing the listener removes the socket and gives the directory back.
func Listen(runDir string) (net.Listener, error) {
	path := SocketPath(runDir)
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w; run this as root, or name another directory with --run-dir", err)
	}
	lock, err := lockDir(runDir)
	if err != nil {
		return nil, err
	}
	l, err := listen(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &listener{Listener: l, lock: lock}, nil
}

// listener is a listening socket together with the lock of its directory.
type listener struct {
	net.Listener
	lock *os.File
}

// Close removes the socket and then drops the lock, in this order: another daemon must
// not make its socket before ours is gone, or we would remove the wrong one. More than
// one Close does no harm.
func (l *listener) Close() error {
	err := l.Listener.Close()
	if lockErr := l.lock.Close(); !errors.Is(lockErr, fs.ErrClosed) {
		err = errors.Join(err, lockErr)
	}
	return err
}

// listen listens on the socket of a directory that is locked: what stands there is of
// a daemon that has died.
func listen(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is not a socket: remove it, or name another directory with --run-dir", path)
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of a dead daemon: %w", err)
	}
	lc := net.ListenConfig{Control: ownerOnly}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for control requests: %w", err)
	}
	return l, nil
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
