package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/control"
	lvsdaemon "github.com/solovip/solovip/lvs/daemon"
	"github.com/solovip/solovip/node/daemon"
	"github.com/solovip/solovip/node/guardian"
)

// workerFlag makes a node the worker of a guardian. It stands last in the worker's command
// line, where ps shows it.
const workerFlag = "worker"

// takeOverFlag makes a running node start its program anew, and keep what it holds.
const takeOverFlag = "take-over"

// cleanUpFlag takes off what a node that has ended left behind.
const cleanUpFlag = "clean-up"

// keepTableFlag leaves the table of IPVS as it is at the end, as keepalived has it.
const keepTableFlag = "dont-release-ipvs"

// cleanUpLimit is how long that may take: guarded services are killed.
const cleanUpLimit = 30 * time.Second

// The workers: vrrpWorker is the one for VRRP and claims, lvsWorker the one for IPVS and checks.
const (
	vrrpWorker = "vrrp"
	lvsWorker  = "lvs"
)

// runNode runs a node: the guardian, which runs this program again as its worker.
func runNode(c *cli.Context, opt daemon.Options) error {
	switch {
	case c.String(workerFlag) == lvsWorker:
		return runLVSWorker(c, opt)
	case c.IsSet(workerFlag):
		return runWorker(c.Context, opt)
	case c.Bool(takeOverFlag):
		return takeOver(c)
	case c.Bool(cleanUpFlag):
		ctx, cancel := context.WithTimeout(c.Context, cleanUpLimit)
		defer cancel()
		// As ExecStopPost= systemd says so by this variable that the service is over.
		return daemon.CleanUp(ctx, opt, os.Getenv("SERVICE_RESULT") != "")
	}
	signals := make(chan os.Signal, 16)
	defer signal.Stop(signals)
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		opt.Logger.Warn("the service manager's watchdog is not served: its settings cannot be read", "err", err)
	}
	for {
		signal.Notify(signals, nodeSignals()...)
		code := guardian.Run(guardian.Config{
			Workers:  []guardian.Worker{worker(vrrpWorker), worker(lvsWorker)},
			Signals:  signals,
			Notify:   notifySystemd(opt.Logger),
			Watchdog: watchdog / 3,
			Logger:   opt.Logger,
		})
		switch code {
		case 0:
			return nil
		case guardian.Again:
			// It does not return, unless it fails; then the present program goes on.
			opt.Logger.Error("the program's file cannot be run; going on with the present one", "err", execSelf())
		default:
			return cli.Exit("", code) // the worker has said why
		}
	}
}

// worker returns how this program is run as one of its workers. Trouble with balancing and checks is
// to touch no address, so that worker is one beside.
func worker(name string) guardian.Worker {
	args := append(os.Args[1:len(os.Args):len(os.Args)], "--"+workerFlag, name)
	return guardian.Worker{Name: name, Args: args, Beside: name == lvsWorker}
}

// nodeSignals are those that reach a node's worker, by the guardian.
func nodeSignals() []os.Signal {
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, guardian.TakeOver}
}

// execSelf replaces this program by what its file is now.
func execSelf() error {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return err
	}
	// Until the new program listens these would end it. It reads the configuration anyway.
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, guardian.TakeOver)
	return syscall.Exec(path, os.Args, os.Environ())
}

// notifySystemd returns what tells the service manager; outside systemd it does nothing.
func notifySystemd(log *slog.Logger) func(state string) {
	return func(state string) {
		if _, err := sd.SdNotify(false, state); err != nil {
			log.Warn("telling systemd", "state", state, "err", err)
		}
	}
}

// wishes are what the guardian asks of a worker; more than one wish that waits is one.
type wishes struct{ reload, leave chan struct{} }

// inherit returns the link to the guardian, a context that ends when it wants the worker to stop
// or has died, and its other wishes.
func inherit(parent context.Context, log *slog.Logger) (*guardian.Link, context.Context, wishes, error) {
	link, err := guardian.Inherit()
	if err != nil {
		return nil, nil, wishes{}, cli.Exit(err, exitUsage)
	}
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, nodeSignals()...)
	wants := wishes{make(chan struct{}, 1), make(chan struct{}, 1)}
	go func() {
		for {
			select {
			case s := <-signals:
				switch s {
				case syscall.SIGTERM, syscall.SIGINT:
					cancel() // a second one is the guardian's affair
				case syscall.SIGHUP:
					wish(wants.reload)
				case guardian.TakeOver:
					wish(wants.leave)
				}
			case <-link.Gone():
				log.Error("the guardian has died: stopping in order")
				cancel()
				return
			}
		}
	}()
	link.Here()
	return link, ctx, wants, nil
}

// runWorker runs the worker for VRRP and claims, which the guardian watches.
func runWorker(parent context.Context, opt daemon.Options) error {
	link, ctx, wants, err := inherit(parent, opt.Logger)
	if err != nil {
		return err
	}
	opt.Reload, opt.TakeOver = wants.reload, wants.leave
	opt.Notify, opt.Beat, opt.Pause = link.Notify, link.Beat, link.Pause
	err = daemon.Run(ctx, opt)
	switch {
	case errors.Is(err, daemon.ErrLeft):
		link.Again()
		return nil
	case err == nil, errors.Is(err, daemon.ErrConfig):
		link.Final()
	}
	return err
}

// runLVSWorker runs the worker for IPVS and checks, beside that one.
func runLVSWorker(c *cli.Context, opt daemon.Options) error {
	link, ctx, wants, err := inherit(c.Context, opt.Logger)
	if err != nil {
		return err
	}
	err = lvsdaemon.Run(ctx, lvsdaemon.Options{
		File: opt.File, RunDir: opt.RunDir, StateDir: opt.StateDir, ConfigID: opt.ConfigID, KeepTable: c.Bool(keepTableFlag),
		Logger: opt.Logger, Reload: wants.reload, Leave: wants.leave, Beat: link.Beat, Pause: link.Pause,
	})
	switch {
	case errors.Is(err, lvsdaemon.ErrRest):
		link.Rest()
		return nil
	case err == nil:
		link.Final()
	}
	return err
}

// wish puts a value into a channel of one, unless there is one.
func wish(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// takenOver is how long a take-over may take.
const takenOver = 10 * time.Second

// takeOver asks the node that runs with the run directory to start its program anew, and waits
// until it has.
func takeOver(c *cli.Context) error {
	dir := c.String("run-dir")
	old, err := control.Owner(dir)
	if err != nil {
		return err
	}
	parent, err := guardianOf(old)
	if err != nil {
		return err
	}
	if err := syscall.Kill(parent, guardian.TakeOver); err != nil {
		return fmt.Errorf("signal the guardian, process %d: %w", parent, err)
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	late := time.After(takenOver)
	for {
		select {
		case <-look.C:
		case <-late:
			return fmt.Errorf("process %d has not been replaced within %v: its log says why", old, takenOver)
		case <-c.Done():
			return c.Err()
		}
		now, err := control.Owner(dir)
		if err != nil || now == old {
			continue // it is between the two, or has not begun
		}
		if client, err := control.Dial(dir); err == nil {
			if _, err = client.Snapshot(c.Context); err == nil {
				_, err = fmt.Fprintf(c.App.Writer, "process %d has taken over from %d\n", now, old)
				return err
			}
		}
	}
}

// guardianOf returns the parent of a worker.
func guardianOf(worker int) (int, error) {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", worker))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", worker, err)
	}
	if !strings.Contains(string(cmdline), "\x00--"+workerFlag+"\x00") {
		return 0, fmt.Errorf("process %d is no node's worker", worker)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", worker))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", worker, err)
	}
	// PID (NAME) STATE PPID ...; see proc(5). The name may hold anything.
	words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(words) < 2 {
		return 0, fmt.Errorf("look at process %d: its stat has no parent", worker)
	}
	return strconv.Atoi(words[1])
}
