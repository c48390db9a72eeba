package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/internal/boottime"
)

// ServicePort is where the guarded service answers, by UDP and by HTTP.
const ServicePort = 8077

// Service is the guarded service of the lab: it says which node it runs on. It may run
// on one node only, and it tells the oracle when it runs.
type Service struct {
	Node   string
	Dir    string // for its pid and log files
	Report string // the oracle's unix socket
}

// ErrNotRunning is what Status returns of a service that does not run.
var ErrNotRunning = errors.New("the service is not running")

// report is what the service tells the oracle, one a line. The connection stays open as
// long as the service runs, so that its end is noticed however it comes.
type report struct {
	Node  string        `json:"node"`
	Event string        `json:"event"` // start, stop
	Boot  time.Duration `json:"boot_ns"`
}

// stopPatience is how long Stop waits for the service to go.
const stopPatience = 5 * time.Second

// args returns the arguments with which the lab's binary carries out a verb.
func (s Service) args(verb string) []string {
	return []string{"lab", serviceName, "--do=" + verb, "--node=" + s.Node, "--dir=" + s.Dir, "--report=" + s.Report}
}

func (s Service) pidFile() string { return filepath.Join(s.Dir, "service.pid") }

// Start starts the service in the background, as an init script would, and returns when
// it answers. One that runs already is left alone.
func (s Service) Start() error {
	if pid, err := s.pid(); err != nil || pid != 0 {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the service's binary: %w", err)
	}
	ready, child, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe to the service: %w", err)
	}
	defer ready.Close()
	log, err := os.OpenFile(filepath.Join(s.Dir, "service.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the service's log: %w", err)
	}
	defer log.Close()
	// It stays in the caller's process group, so that a guard can kill it with that.
	cmd := exec.Command(self, s.args("run")...) //nolint:noctx // outlives this process
	cmd.Stderr = log
	cmd.ExtraFiles = []*os.File{child}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the service: %w", err)
	}
	_ = child.Close() // the service has its own
	if answer, _ := io.ReadAll(ready); string(answer) != "ready" {
		return fmt.Errorf("the service ended at once: %w", cmd.Wait())
	}
	return nil
}

// Stop stops the service and returns when it is gone.
func (s Service) Stop() error {
	pid, err := s.pid()
	if err != nil || pid == 0 {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if again, err := s.pid(); err != nil || again != pid {
		return err // it went by itself, and the number may be another's by now
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(stopPatience.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("process %d still runs %v after it was told to stop", pid, stopPatience)
		default:
			return nil
		}
	}
}

// Status returns nil while the service runs, else ErrNotRunning.
func (s Service) Status() error {
	pid, err := s.pid()
	if err == nil && pid == 0 {
		return ErrNotRunning
	}
	return err
}

// pid returns which process holds the lock on the pid file, zero for none. The lock is
// the truth and not the number in the file: the kernel takes it away with the process.
func (s Service) pid() (int, error) {
	f, err := os.OpenFile(s.pidFile(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return 0, fmt.Errorf("open the service's pid file: %w", err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("look at the lock of %s: %w", f.Name(), err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(lock.Pid), nil
}

// Run is the service: it answers until ctx is done. When it answers, it writes "ready"
// to started and closes it.
func (s Service) Run(ctx context.Context, started io.WriteCloser) error {
	f, err := os.OpenFile(s.pidFile(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("open the service's pid file: %w", err)
	}
	defer f.Close() // and with it, only now, the lock
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return fmt.Errorf("lock %s, is the service running already: %w", f.Name(), err)
	}
	oracle, err := net.Dial("unix", s.Report) //nolint:noctx // a local socket answers or refuses at once
	if err != nil {
		return fmt.Errorf("reach the oracle: %w", err)
	}
	defer oracle.Close()
	tell := func(event string) error {
		return json.NewEncoder(oracle).Encode(report{s.Node, event, time.Duration(boottime.Now().UnixNano())})
	}
	// Started before the first answer, stopped after the last: the oracle must not think
	// that it runs for a shorter time than it does.
	if err := tell("start"); err != nil {
		return fmt.Errorf("tell the oracle: %w", err)
	}
	if err := s.serve(ctx, started); err != nil {
		return err
	}
	return tell("stop")
}

func (s Service) serve(ctx context.Context, started io.WriteCloser) error {
	datagrams, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", ServicePort)) //nolint:noctx // local
	if err != nil {
		return fmt.Errorf("open the service's datagram socket: %w", err)
	}
	defer datagrams.Close()
	listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", ServicePort)) //nolint:noctx // local
	if err != nil {
		return fmt.Errorf("open the service's listener: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, s.Node) // a client that went away does not matter
		}),
	}
	defer server.Close()
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	go func() { failed <- s.echo(ipv4.NewPacketConn(datagrams)) }()
	if _, err := io.WriteString(started, "ready"); err != nil {
		return fmt.Errorf("say that the service is ready: %w", err)
	}
	if err := started.Close(); err != nil {
		return fmt.Errorf("say that the service is ready: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// echo answers each datagram from the address it was sent to, with the node's name added.
func (s Service) echo(conn *ipv4.PacketConn) error {
	if err := conn.SetControlMessage(ipv4.FlagDst, true); err != nil {
		return fmt.Errorf("ask for the datagrams' destinations: %w", err)
	}
	buf := make([]byte, 64)
	for {
		n, to, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		// The VIP may be gone by now: then nobody gets an answer, and rightly so.
		_, _ = conn.WriteTo(append(buf[:n:n], s.Node...), &ipv4.ControlMessage{Src: to.Dst}, from)
	}
}
