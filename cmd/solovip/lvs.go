package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/control/text"
	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/node"
)

func lvsCommand() *cli.Command {
	return &cli.Command{
		Name:  "lvs",
		Usage: "show virtual and real servers; take a real server out of service and back, without a reload",
		Subcommands: []*cli.Command{
			lvsListCommand(),
			lvsOperateCommand("drain", "give a real server no new connections; those that are there go on", lvs.Drain),
			lvsWeightCommand(),
			lvsOperateCommand("disable", "take a real server out of the table; its connections end", lvs.Disable),
			lvsOperateCommand("enable", "let checks and configuration decide again, after drain, weight or disable", lvs.NoOverride),
		},
	}
}

func lvsListCommand() *cli.Command {
	return &cli.Command{
		Name:   "list",
		Usage:  "show each virtual server with its real servers, their checks and connections",
		Before: noArguments,
		Flags:  []cli.Flag{runDirFlag(), &cli.BoolFlag{Name: "json", Usage: "print it as JSON, with each check"}},
		Action: func(c *cli.Context) error {
			client, err := control.DialLVS(c.String("run-dir"))
			if err != nil {
				return err
			}
			snap, err := client.LVS(c.Context)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, snap)
			}
			width, _ := terminalWidth(c.App.Writer)
			_, err = io.WriteString(c.App.Writer, text.LVS(snap, width))
			return err
		},
	}
}

func lvsFlags() []cli.Flag {
	return []cli.Flag{
		runDirFlag(), yesFlag(),
		&cli.StringFlag{Name: "server", Usage: "only in the virtual server `NAME`, as 'solovip lvs list' shows it (default: in all that have the real server)"},
	}
}

func lvsOperateCommand(name, usage string, kind lvs.OverrideKind) *cli.Command {
	return &cli.Command{
		Name:      name,
		Usage:     usage,
		ArgsUsage: "ADDRESS[:PORT]",
		Flags:     lvsFlags(),
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return cli.Exit("name one real server: ADDRESS or ADDRESS:PORT, as 'solovip lvs list' shows it", exitUsage)
			}
			return sayOf(c, lvs.Override{Kind: kind})
		},
	}
}

func lvsWeightCommand() *cli.Command {
	return &cli.Command{
		Name:      "weight",
		Usage:     "give a real server this weight while it is up, whatever configuration and checks say",
		ArgsUsage: "ADDRESS[:PORT] WEIGHT",
		Flags:     lvsFlags(),
		Action: func(c *cli.Context) error {
			weight, err := strconv.Atoi(c.Args().Get(1))
			if c.Args().Len() != 2 || err != nil || weight < 0 || weight > lvs.MaxWeight {
				return cli.Exit(fmt.Sprintf("name one real server, ADDRESS or ADDRESS:PORT, and a WEIGHT from 0 to %d", lvs.MaxWeight), exitUsage)
			}
			return sayOf(c, lvs.Override{Kind: lvs.OverrideWeight, Weight: weight})
		},
	}
}

// sayOf tells the node what the operator says of the real server in the command line.
func sayOf(c *cli.Context, o lvs.Override) error {
	said := control.OperateRequest{Server: c.String("server"), Override: o}
	word := c.Args().First()
	var err error
	if said.Real, err = netip.ParseAddrPort(word); err != nil {
		addr, err := netip.ParseAddr(word)
		if err != nil {
			return cli.Exit(fmt.Sprintf("%q is no real server: write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT", word), exitUsage)
		}
		said.Real = netip.AddrPortFrom(addr, 0)
	}
	if o.Kind == lvs.Disable {
		if err := confirm(c, word+" goes out of the table, and the connections to it end."); err != nil {
			return err
		}
	}
	client, err := control.DialLVS(c.String("run-dir"))
	if err != nil {
		return err
	}
	answer, err := client.Operate(c.Context, said)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, answer)
	return err
}

// lvsStanding is how the virtual servers of a node stand; empty: it has none.
type lvsStanding struct {
	snap *lvs.Snapshot // nil: not known
	err  error         // why not
}

// lvsOf asks the worker for virtual servers, if the node has one.
func lvsOf(ctx context.Context, runDir string) lvsStanding {
	client, err := control.DialLVS(runDir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return lvsStanding{}
		}
		return lvsStanding{err: err}
	}
	snap, err := client.LVS(ctx)
	if err != nil {
		return lvsStanding{err: err}
	}
	return lvsStanding{snap: &snap}
}

// text returns what `solovip status` says of it.
func (l lvsStanding) text(width int) string {
	switch {
	case l.err != nil:
		return fmt.Sprintf("balances NOT KNOWN: %v\n", l.err)
	case l.snap != nil:
		return text.LVSStatus(*l.snap, width)
	}
	return ""
}

// beside returns the snapshot of a node with this beside its own fields.
func (l lvsStanding) beside(s node.Snapshot) any {
	both := struct {
		node.Snapshot
		LVS   *lvs.Snapshot `json:"lvs,omitempty"`
		Error string        `json:"lvs_error,omitempty"`
	}{Snapshot: s, LVS: l.snap}
	if l.err != nil {
		both.Error = l.err.Error()
	}
	return both
}
