package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/report"
	"github.com/solovip/solovip/lab/scenario"
)

// Exit codes of the lab's commands.
const (
	exitFailed = 1 // two held where they must not, or an expectation failed
	exitBroken = 2 // the lab itself could not run
)

// runsEach is how many runs a processor carries: they wait for timers most of the time.
const runsEach = 2

// Command returns the lab command with its sub-commands. Some are hidden: with them the
// lab calls its own binary, so they belong to every binary that has the others.
func Command() *cli.Command {
	return &cli.Command{
		Name:        "lab",
		Usage:       "play split-brain scenarios on real daemons, without root, and judge them from outside",
		Subcommands: append([]*cli.Command{listCommand(), runCommand(), demoCommand()}, helperCommands()...),
	}
}

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the scenarios",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print them whole, as JSON"},
			&cli.StringFlag{Name: "text", Usage: "print the scenario `NAME` as a file"},
		},
		Action: func(c *cli.Context) error {
			if name := c.String("text"); name != "" {
				s, err := find(name)
				if err != nil {
					return cli.Exit(err, exitBroken)
				}
				_, err = io.WriteString(c.App.Writer, scenario.Print(s))
				return err
			}
			if c.Bool("json") {
				return writeJSON(c.App.Writer, scenario.Shipped())
			}
			w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
			for _, s := range scenario.Shipped() {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Text) // Flush returns the error
			}
			return w.Flush()
		},
	}
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run scenarios and judge them; exits with 1 when two nodes hold or an expectation fails, 2 when the lab cannot run",
		ArgsUsage: "NAME|FILE...",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "run every scenario"},
			&cli.StringFlag{Name: "match", Usage: "run those whose names match the regular expression `RE`"},
			&cli.StringSliceFlag{Name: "system", Usage: "what to test: solovip in the `MODE` lease (the default; with --all or --match lease and quorum), quorum, veto or vrrp; or keepalived; may be given again"},
			&cli.BoolFlag{Name: "compare", Usage: "print the systems side by side, in scenarios that each of them plays"},
			&cli.BoolFlag{Name: "keepalived", Usage: "test keepalived too, beside it"},
			&cli.IntFlag{Name: "repeat", Value: 1, Usage: "run each `N` times"},
			&cli.Float64Flag{Name: "ratio", Usage: "fail when the first system's median take-over is more than `X` times another one's"},
			&cli.DurationFlag{Name: "window", Usage: "let a fault that may last for any time, as a stopped witness, last `TIME`"},
			&cli.Uint64Flag{Name: "seed", Usage: "draw what is left to chance from `N`, to play a run again (default: drawn)"},
			&cli.IntFlag{Name: "jobs", Value: runsEach * runtime.NumCPU(), Usage: "run `N` at the same time, but for those in which milliseconds count"},
			&cli.BoolFlag{Name: "keep", Usage: "leave each network with its daemons, and configurations, logs and history in a directory; tell how to get in and how to remove them"},
			&cli.BoolFlag{Name: "brief", Usage: "print only the verdict of each run that passed"},
			&cli.BoolFlag{Name: "json", Usage: "print everything as JSON; progress goes to stderr"},
			&cli.StringFlag{Name: "html", Usage: "write a page with timelines and the comparison to `FILE`"},
			&cli.StringFlag{Name: "binary", Usage: "test the solovip at `PATH` instead of this one"},
			&cli.BoolFlag{Name: "machine", Usage: "play each run in a virtual machine of its own, as those that move the clock always are; wants qemu, and no namespaces"},
		},
		Action: func(c *cli.Context) error {
			p, err := plan(c)
			if err != nil {
				return cli.Exit(err, exitBroken)
			}
			return perform(c, p, c.Bool("json"))
		},
	}
}

// perform makes the runs, prints the reports and returns the exit status.
func perform(c *cli.Context, p program, asJSON bool) error {
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := report.Printer{Out: c.App.Writer, Progress: c.App.Writer, Color: isTerminal(c.App.Writer), Brief: c.Bool("brief")}
	if asJSON {
		out = report.Printer{Out: io.Discard, Progress: c.App.ErrWriter}
	}
	page, err := newPage(c.String("html"))
	if err != nil {
		return cli.Exit(err, exitBroken)
	}
	defer page.drop()
	live, board := withBoard(out, len(p.runs))
	p.perform(ctx, live, board)
	board.Close()
	if err := context.Cause(ctx); err != nil {
		return cli.Exit("interrupted", exitBroken)
	}
	if asJSON {
		if err := writeJSON(c.App.Writer, p.reports()); err != nil {
			return cli.Exit(err, exitBroken)
		}
	}
	if err := page.write(p.reports(), p.ratios()); err != nil {
		return cli.Exit(err, exitBroken)
	}
	switch {
	case c.Bool("compare"):
		out.Compare(p.reports())
	case len(p.runs) > 1:
		out.Table(p.reports())
		out.Ratios(p.ratios())
	}
	out.Kept(p.reports())
	if code := p.exitCode(); code != 0 {
		return cli.Exit("", code)
	}
	return nil
}

// withBoard puts a line at the end of a terminal, where progress goes to one, that says how
// far the runs are. One run needs none.
func withBoard(out report.Printer, runs int) (report.Printer, *report.Board) {
	if runs < 2 || !isTerminal(out.Progress) {
		return out, nil
	}
	board := report.NewBoard(out.Progress, runs)
	if out.Out == out.Progress {
		out.Out = board
	}
	out.Progress = board
	return out, board
}

// helperCommands are those by which a run calls this binary again.
func helperCommands() []*cli.Command {
	var commands []*cli.Command
	for _, name := range netns.Helpers() {
		commands = append(commands, &cli.Command{
			Name:            name,
			Usage:           "for the lab's own use",
			Hidden:          true,
			SkipFlagParsing: true,
			Action: func(c *cli.Context) error {
				return netns.Helper(c.Context, append([]string{name}, c.Args().Slice()...), c.App.Reader, c.App.Writer)
			},
		})
	}
	return append(commands, machineCommand())
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
