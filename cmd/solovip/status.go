package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/control/text"
	"github.com/solovip/solovip/node"
)

// plainWidth is the width of what is not printed on a terminal.
const plainWidth = 80

// retryEvery is how often a watch on a terminal looks for a daemon that has gone.
const retryEvery = time.Second

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:   "status",
		Usage:  "show who holds what, since when and by which permission",
		Flags:  statusFlags(),
		Before: noArguments,
		Action: func(c *cli.Context) error {
			_, err := show(c, view{
				text: func(s node.Snapshot, width int) string {
					return text.Status(s, time.Now(), width) + lvsOf(c.Context, c.String("run-dir")).text(width)
				},
				object: func(s node.Snapshot) any { return lvsOf(c.Context, c.String("run-dir")).beside(s) },
			})
			return err
		},
	}
}

func statusFlags() []cli.Flag {
	return []cli.Flag{
		runDirFlag(),
		&cli.BoolFlag{Name: "json", Usage: "print the snapshot as JSON; with --watch one a line"},
		&cli.BoolFlag{Name: "watch", Usage: "go on, with each change and each second: in place on a terminal, else one below the other"},
	}
}

// view is how a snapshot is shown.
type view struct {
	text   func(s node.Snapshot, width int) string // for people
	object func(s node.Snapshot) any               // for JSON; nil: the snapshot itself
}

// show prints the daemon's snapshot once, or for as long as it is watched, and returns it;
// a watch returns none.
func show(c *cli.Context, v view) (node.Snapshot, error) {
	s := screen{out: c.App.Writer, json: c.Bool("json"), watch: c.Bool("watch"), view: v}
	s.width, s.terminal = terminalWidth(c.App.Writer)
	if s.watch {
		ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
		defer stop()
		return node.Snapshot{}, s.follow(ctx, c.String("run-dir"))
	}
	client, err := control.Dial(c.String("run-dir"))
	if err != nil {
		return node.Snapshot{}, err
	}
	snap, err := client.Snapshot(c.Context)
	if err != nil {
		return node.Snapshot{}, err
	}
	return snap, s.print(snap)
}

// screen is where and how snapshots are printed.
type screen struct {
	out      io.Writer
	json     bool
	watch    bool
	terminal bool
	width    int
	view     view
	printed  bool
}

// follow prints snapshots until ctx ends. On a terminal it outlives the daemon: who
// watches a restart wants to see its end.
func (s *screen) follow(ctx context.Context, runDir string) error {
	for {
		err := s.watchOnce(ctx, runDir)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is the end that was asked for
		}
		if err == nil || !s.terminal || s.json {
			return err
		}
		if err := s.draw(fmt.Sprintf("%v\n", err)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

func (s *screen) watchOnce(ctx context.Context, runDir string) error {
	client, err := control.Dial(runDir)
	if err != nil {
		return err
	}
	return client.Watch(ctx, s.print)
}

// print prints one snapshot.
func (s *screen) print(snap node.Snapshot) error {
	if s.json {
		enc := json.NewEncoder(s.out)
		if !s.watch {
			enc.SetIndent("", "  ")
		}
		if s.view.object != nil {
			return enc.Encode(s.view.object(snap))
		}
		return enc.Encode(snap)
	}
	if s.watch && s.terminal {
		s.width, _ = terminalWidth(s.out) // the window may have changed
		return s.draw(s.view.text(snap, s.width))
	}
	page := s.view.text(snap, s.width)
	if s.watch {
		page = fmt.Sprintf("--- %s\n%s\n", time.Now().Format(time.DateTime+".000"), page)
	}
	_, err := io.WriteString(s.out, page)
	return err
}

// draw puts a page in the place of the one before. Each line is overwritten and then
// cleared to its end, so that nothing flickers.
func (s *screen) draw(page string) error {
	const home, clearLine, clearBelow, clearAll = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"
	page = home + strings.ReplaceAll(page, "\n", clearLine+"\n") + clearBelow
	if !s.printed {
		page = clearAll + page
		s.printed = true
	}
	_, err := io.WriteString(s.out, page)
	return err
}

// isTerminal reports whether r is a terminal, on which somebody can be asked.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// terminalWidth returns the columns to use, and whether w is a terminal.
func terminalWidth(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok {
		return plainWidth, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return plainWidth, false
	}
	if size.Col == 0 { // a terminal that does not know
		return plainWidth, true
	}
	return int(size.Col), true
}
