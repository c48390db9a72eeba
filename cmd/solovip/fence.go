package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/control/text"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/fencing/ledger"
	"github.com/solovip/solovip/fencing/selftest"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/node/daemon"
)

func fenceCommand() *cli.Command {
	return &cli.Command{
		Name:  "fence",
		Usage: "show how safe the node is and why it was fenced; fence and clear it",
		Subcommands: []*cli.Command{
			fenceStatusCommand(), fenceWhyCommand(), fenceHistoryCommand(), fenceNowCommand(), fenceClearCommand(), fenceSelftestCommand(),
		},
	}
}

func fenceStatusCommand() *cli.Command {
	return &cli.Command{
		Name:   "status",
		Usage:  "show whether two nodes could hold; exits with 0 when safe, 3 when this node is fenced, else 4 when degraded or unsafe",
		Flags:  statusFlags(),
		Before: noArguments,
		Action: func(c *cli.Context) error {
			snap, err := show(c, view{text: text.Fence})
			switch {
			case err != nil || c.Bool("watch"):
				return err
			case slices.ContainsFunc(snap.Claims, func(c node.ClaimSnapshot) bool { return c.Fenced != nil }):
				return cli.Exit("", exitFenced)
			case snap.Safety != node.Safe:
				return cli.Exit("", exitNotSafe)
			}
			return nil
		},
	}
}

func fenceWhyCommand() *cli.Command {
	return &cli.Command{
		Name:      "why",
		Usage:     "show the present decision about a claim, all evidence with its source and age, and what would have to change",
		ArgsUsage: "CLAIM",
		Flags:     []cli.Flag{runDirFlag(), &cli.BoolFlag{Name: "json", Usage: "print the claim of the snapshot as JSON"}},
		Action: func(c *cli.Context) error {
			client, err := control.Dial(c.String("run-dir"))
			if err != nil {
				return err
			}
			snap, err := client.Snapshot(c.Context)
			if err != nil {
				return err
			}
			claim, err := claimOf(c, snap)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, claim)
			}
			width, _ := terminalWidth(c.App.Writer)
			_, err = io.WriteString(c.App.Writer, text.Why(snap, claim, width))
			return err
		},
	}
}

// claimOf returns the claim that the command names; a node with one claim needs no name.
func claimOf(c *cli.Context, snap node.Snapshot) (node.ClaimSnapshot, error) {
	var names []string
	for _, claim := range snap.Claims {
		if claim.Name == c.Args().First() || !c.Args().Present() && len(snap.Claims) == 1 {
			return claim, nil
		}
		names = append(names, claim.Name)
	}
	return node.ClaimSnapshot{}, cli.Exit("name one CLAIM of: "+strings.Join(names, ", "), exitUsage)
}

func fenceHistoryCommand() *cli.Command {
	return &cli.Command{
		Name:   "history",
		Usage:  "show the fencings of this node, from its ledger: no daemon needs to run",
		Before: noArguments,
		Flags: []cli.Flag{
			stateDirFlag(),
			&cli.StringFlag{Name: "claim", Usage: "only those of `CLAIM`"},
			&cli.StringFlag{Name: "since", Usage: "only those since `WHEN`: a duration ago (90m, 48h), or a time (2026-11-21, 2026-11-21 03:00:00)"},
			&cli.BoolFlag{Name: "json", Usage: "print one object a line, as in the ledger"},
		},
		Action: func(c *cli.Context) error {
			since, err := sinceWhen(c.String("since"), time.Now())
			if err != nil {
				return err
			}
			history, err := ledger.Read(daemon.LedgerDir(c.String("state-dir")))
			if err != nil {
				return fmt.Errorf("%w: run this command as root", err)
			}
			for _, damage := range history.Damaged {
				if _, err := fmt.Fprintf(c.App.ErrWriter, "solovip: %v\n", damage); err != nil {
					return err
				}
			}
			records := slices.DeleteFunc(history.Records, func(r fencing.Record) bool {
				return c.IsSet("claim") && r.Claim != c.String("claim") || r.Time.Before(since)
			})
			if !c.Bool("json") {
				for i := range records {
					records[i].Time = records[i].Time.Local()
				}
				width, _ := terminalWidth(c.App.Writer)
				_, err := io.WriteString(c.App.Writer, text.History(records, width))
				return err
			}
			enc := json.NewEncoder(c.App.Writer)
			for _, r := range records {
				if err := enc.Encode(r); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// sinceWhen reads a duration back from now, or a time of this host's time zone.
func sinceWhen(word string, now time.Time) (time.Time, error) {
	if word == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(word); err == nil {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.DateOnly, time.DateTime, time.RFC3339} {
		if at, err := time.ParseInLocation(layout, word, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, cli.Exit(fmt.Sprintf("--since %q is neither a duration (90m) nor a time (%s)", word, time.DateTime), exitUsage)
}

func fenceNowCommand() *cli.Command {
	return &cli.Command{
		Name:      "now",
		Usage:     "let go of a claim by force, in favour of the best other node, and stay out of it until 'fence clear'",
		ArgsUsage: "CLAIM",
		Flags:     []cli.Flag{runDirFlag(), yesFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return cli.Exit("name one CLAIM: 'solovip status' shows them", exitUsage)
			}
			claim := c.Args().First()
			effect := fmt.Sprintf("%s is taken off this node at once: gate shut, addresses off, guarded services stopped. This node stays out of it until 'solovip fence clear %s'.", claim, claim)
			if err := confirm(c, effect); err != nil {
				return err
			}
			return operate(c, func(ctx context.Context, client *control.Client) (string, error) {
				return client.Fence(ctx, claim)
			}, func(s node.Snapshot) (string, bool) { return fencedFrom(s, claim) })
		},
	}
}

// fencedFrom says who holds a claim once this node has let go of it, all verified.
func fencedFrom(s node.Snapshot, name string) (string, bool) {
	for _, c := range s.Claims {
		if c.Name != name || c.Fenced == nil || c.Fenced.Result != fencing.Done || c.Phase != node.Idle.String() {
			continue
		}
		if c.Holder != "" {
			return fmt.Sprintf("fenced; %s is held by %s", name, c.Holder), true
		}
		if len(s.Peers) == 0 {
			return "fenced", true // nobody can say who has it now
		}
	}
	return "", false
}

func fenceClearCommand() *cli.Command {
	return &cli.Command{
		Name:      "clear",
		Usage:     "let this node take part again in a claim that it was fenced from, or in all",
		ArgsUsage: "[CLAIM]",
		Flags:     []cli.Flag{runDirFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Len() > 1 {
				return cli.Exit("name one CLAIM, or none for all", exitUsage)
			}
			return operate(c, func(ctx context.Context, client *control.Client) (string, error) {
				return client.ClearFence(ctx, c.Args().First())
			}, func(node.Snapshot) (string, bool) { return "", true })
		},
	}
}

func fenceSelftestCommand() *cli.Command {
	return &cli.Command{
		Name:   "selftest",
		Usage:  "show on this kernel that an address falls silent in time when its daemon is frozen; needs no daemon, touches nothing of the host",
		Before: noArguments,
		Flags:  []cli.Flag{&cli.IntFlag{Name: "rounds", Value: 3, Usage: "freeze `N` times"}},
		Action: func(c *cli.Context) error {
			rounds := max(1, c.Int("rounds"))
			return selftest.Run(c.Context, selftest.Options{
				Again: []string{"fence", "selftest", "--rounds", strconv.Itoa(rounds)}, Rounds: rounds, Out: c.App.Writer,
			})
		},
	}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
