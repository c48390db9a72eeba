package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/node/daemon"
	"github.com/solovip/solovip/node/guardian"
)

// workerFlag makes a node the worker of a guardian. It stands last in the worker's command
// line, where ps shows it.
const workerFlag = "worker"

// vrrpWorker is the worker for VRRP and claims.
const vrrpWorker = "vrrp"

// runNode runs a node: the guardian, which runs this program again as its worker.
func runNode(c *cli.Context, opt daemon.Options) error {
	if c.IsSet(workerFlag) {
		return runWorker(c.Context, opt)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		opt.Logger.Warn("the service manager's watchdog is not served: its settings cannot be read", "err", err)
	}
	code := guardian.Run(guardian.Config{
		Workers:  []guardian.Worker{{Name: vrrpWorker, Args: append(os.Args[1:len(os.Args):len(os.Args)], "--"+workerFlag, vrrpWorker)}},
		Signals:  signals,
		Notify:   notifySystemd(opt.Logger),
		Watchdog: watchdog / 3,
		Logger:   opt.Logger,
	})
	if code != 0 {
		return cli.Exit("", code) // the worker has said why
	}
	return nil
}

// notifySystemd returns what tells the service manager; outside systemd it does nothing.
func notifySystemd(log *slog.Logger) func(state string) {
	return func(state string) {
		if _, err := sd.SdNotify(false, state); err != nil {
			log.Warn("telling systemd", "state", state, "err", err)
		}
	}
}

// runWorker runs what the guardian watches.
func runWorker(parent context.Context, opt daemon.Options) error {
	link, err := guardian.Inherit()
	if err != nil {
		return cli.Exit(err, exitUsage)
	}
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	reload := make(chan struct{}, 1) // more than one waiting SIGHUP is one reload
	go func() {
		for {
			select {
			case s := <-signals:
				switch s {
				case syscall.SIGTERM, syscall.SIGINT:
					cancel() // a second one is the guardian's affair
				case syscall.SIGHUP:
					select {
					case reload <- struct{}{}:
					default:
					}
				}
			case <-link.Gone():
				opt.Logger.Error("the guardian has died: stopping in order")
				cancel()
				return
			}
		}
	}()
	link.Here()
	opt.Reload, opt.Notify, opt.Beat, opt.Pause = reload, link.Notify, link.Beat, link.Pause
	err = daemon.Run(ctx, opt)
	if err == nil || errors.Is(err, daemon.ErrConfig) {
		link.Final()
	}
	return err
}
