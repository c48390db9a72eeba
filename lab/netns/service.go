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
	Lab    string // the lab's binary
}

// report is what the service tells the oracle, one a line. The connection stays open as
// long as the service runs, so that its end is noticed however it comes.
type report struct {
	Node  string        `json:"node"`
	Event string        `json:"event"` // start, stop
	Boot  time.Duration `json:"boot_ns"`
}

// The scripts that control the service, apart from its start. A guard waits for them
// while nobody answers for the VIP, so they are not this binary, of which the start alone
// takes 10 ms. The service has the lock of its pid file until it is gone, however it
// goes; the number in the file means nothing without it.
const (
	stopScript = `#!/bin/sh
flock --shared --nonblock %[1]s true && exit 0
read -r pid < %[1]s && kill -TERM "$pid"
exec flock --shared --timeout 5 %[1]s true
`
	statusScript = `#!/bin/sh
# 0: the lock is held, it runs; 1: it does not
exec flock --shared --nonblock --conflict-exit-code 0 %[1]s false
`
)

// Install writes the scripts.
func (s Service) Install() error {
	if _, err := exec.LookPath("flock"); err != nil {
		return fmt.Errorf("find flock: %w (install the package util-linux)", err)
	}
	for name, text := range map[string]string{"stop": stopScript, "status": statusScript} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), fmt.Appendf(nil, text, s.pidFile()), 0o755); err != nil { //nolint:gosec // a program
			return fmt.Errorf("write the service's script: %w", err)
		}
	}
	return nil
}

// Command returns the command that carries out start, stop or status. The status is 0
// while the service runs.
func (s Service) Command(verb string) []string {
	if verb == "start" {
		return append([]string{s.Lab}, s.args(verb)...)
	}
	return []string{filepath.Join(s.Dir, verb)}
}

// args returns the arguments with which the lab's binary carries out a verb.
func (s Service) args(verb string) []string {
	return []string{"lab", serviceName, "--do=" + verb, "--node=" + s.Node, "--dir=" + s.Dir, "--report=" + s.Report}
}

func (s Service) pidFile() string { return filepath.Join(s.Dir, "service.pid") }

// Start starts the service in the background, as an init script would, and returns when
// it answers. One that runs already is left alone.
func (s Service) Start() error {
	f, err := s.lock(unix.LOCK_SH, 0)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	_ = f.Close() // nothing was written
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

// lock opens the pid file and locks it, in the given way. While others hold it, it tries
// again for the given time, and then returns EWOULDBLOCK.
func (s Service) lock(how int, patience time.Duration) (*os.File, error) {
	f, err := os.OpenFile(s.pidFile(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the service's pid file: %w", err)
	}
	const pause = 2 * time.Millisecond
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case patience <= 0:
			_ = f.Close() // nothing was written
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		patience -= pause
		time.Sleep(pause) // a script lets go of the lock without telling
	}
}

// Run is the service: it answers until ctx is done. When it answers, it writes "ready"
// to started and closes it.
func (s Service) Run(ctx context.Context, started io.WriteCloser) error {
	const scripts = 500 * time.Millisecond // status and stop have the lock for a moment too
	f, err := s.lock(unix.LOCK_EX, scripts)
	if err != nil {
		return fmt.Errorf("is the service running already? %w", err)
	}
	defer f.Close() // and with it, only now, the lock
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("empty the service's pid file: %w", err)
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return fmt.Errorf("write the service's pid file: %w", err)
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
