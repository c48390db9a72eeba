package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/node/daemon"
)

const (
	defaultFile     = "/etc/solovip/solovip.conf"
	defaultRunDir   = "/run/solovip"
	defaultStateDir = "/var/lib/solovip"
)

func nodeCommand() *cli.Command {
	c := daemonCommand("node", "run a node: hold virtual addresses as the configuration says, in the foreground", runNode)
	c.Flags = append(c.Flags, &cli.BoolFlag{Name: takeOverFlag, Usage: "make the node that runs with the run directory start its program anew, as after an upgrade, and keep what it holds"},
		&cli.BoolFlag{Name: cleanUpFlag, Usage: "take off what a node that has ended left on this host (addresses, guarded services), and start nothing"},
		&cli.BoolFlag{Name: keepTableFlag, Aliases: []string{"I"}, Usage: "leave the table of IPVS as it is at the end"},
		&cli.StringFlag{Name: workerFlag, Hidden: true, Usage: "for the guardian: be its worker `NAME`"})
	return c
}

func witnessCommand() *cli.Command {
	return daemonCommand("witness", "run the witness of a cluster, on its third host, in the foreground", func(c *cli.Context, opt daemon.Options) error {
		ctx, reload, stop := catchSignals(c.Context, opt.Logger)
		defer stop()
		opt.Reload = reload
		return daemon.RunWitness(ctx, opt)
	})
}

// daemonCommand has the flags of keepalived that make sense here, with keepalived's names.
func daemonCommand(name, usage string, runDaemon func(*cli.Context, daemon.Options) error) *cli.Command {
	return &cli.Command{
		Name:  name,
		Usage: usage,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "use-file", Aliases: []string{"f"}, Value: defaultFile, Usage: "read the configuration from `FILE`"},
			runDirFlag(),
			stateDirFlag(),
			configIDFlag(),
			&cli.BoolFlag{Name: "config-test", Aliases: []string{"t"}, Usage: "check the configuration and exit, as 'solovip config check' does"},
			&cli.BoolFlag{Name: "log-detail", Aliases: []string{"D"}, Usage: "log at the debug level too"},
			&cli.BoolFlag{Name: "dont-fork", Aliases: []string{"n"}, Usage: "accepted as keepalived has it: it never forks"},
			&cli.BoolFlag{Name: "log-console", Aliases: []string{"l"}, Usage: "accepted as keepalived has it: it always logs to stderr"},
		},
		Before: noArguments,
		Action: func(c *cli.Context) error {
			if c.Bool("config-test") {
				return checkConfig(c, c.String("use-file"), false)
			}
			err := runDaemon(c, daemon.Options{
				File: c.String("use-file"), RunDir: c.String("run-dir"), StateDir: c.String("state-dir"),
				ConfigID: c.String("config-id"), Logger: newLogger(c.App.ErrWriter, c.Bool("log-detail"), os.Getenv("JOURNAL_STREAM")),
			})
			if errors.Is(err, daemon.ErrConfig) {
				return cli.Exit(err, exitUsage) // to start again would not help
			}
			return err
		},
	}
}

func runDirFlag() cli.Flag {
	return &cli.StringFlag{Name: "run-dir", Value: defaultRunDir, Usage: "`DIR` of the control socket: one for each daemon on a host"}
}

func stateDirFlag() cli.Flag {
	return &cli.StringFlag{Name: "state-dir", Value: defaultStateDir, Usage: "`DIR` of what must survive a reboot"}
}

func configIDFlag() cli.Flag {
	return &cli.StringFlag{Name: "config-id", Aliases: []string{"i"}, Usage: "use the lines of the configuration marked @`ID` (default: the host's name)"}
}

// newLogger logs for people and for the journal, which has a clock of its own.
func newLogger(w io.Writer, debug bool, journalStream string) *slog.Logger {
	opt := &slog.HandlerOptions{Level: slog.LevelInfo}
	if debug {
		opt.Level = slog.LevelDebug
	}
	if toJournal(w, journalStream) {
		opt.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// toJournal reports whether w is what systemd has connected to the journal: the
// variable alone is not enough, it is inherited by everything a service starts. See
// systemd.exec(5), $JOURNAL_STREAM.
func toJournal(w io.Writer, journalStream string) bool {
	f, ok := w.(*os.File)
	if !ok || journalStream == "" {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return journalStream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// catchSignals returns a context that the first SIGTERM or SIGINT ends, and a channel
// that gets a value for SIGHUPs. A second SIGTERM or SIGINT ends the program at once:
// the gate and the lifetimes of addresses then do what an orderly stop would have done.
func catchSignals(parent context.Context, log *slog.Logger) (ctx context.Context, reload <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 4)
	wishes := make(chan struct{}, 1) // more than one waiting SIGHUP is one reload
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
					select {
					case wishes <- struct{}{}:
					default:
					}
				case ctx.Err() == nil:
					log.Info("signal: stopping in order; a second one ends at once", "signal", s.String())
					cancel()
				default:
					log.Error("second signal: ended without releasing anything", "signal", s.String())
					os.Exit(exitFailed)
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, wishes, func() {
		signal.Stop(signals)
		close(done)
		<-ended
		cancel()
	}
}
