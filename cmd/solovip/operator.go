package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/node"
)

// moveLimit is how long a handover is followed: longer than a guarded service is
// usually given to stop.
const moveLimit = 30 * time.Second

func handoverCommand() *cli.Command {
	return &cli.Command{
		Name:      "handover",
		Usage:     "give a claim that this node holds to another node, and wait until that one holds it",
		ArgsUsage: "CLAIM",
		Flags: []cli.Flag{
			runDirFlag(), yesFlag(),
			&cli.StringFlag{Name: "to", Usage: "give it to `NODE` (default: the best one)"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return cli.Exit("name one CLAIM: 'solovip status' shows them", exitUsage)
			}
			claim, to := c.Args().First(), c.String("to")
			whom := "another node"
			if to != "" {
				whom = to
			}
			if err := confirm(c, fmt.Sprintf("%s and its guarded services move from this node to %s.", claim, whom)); err != nil {
				return err
			}
			return operate(c, func(ctx context.Context, client *control.Client) (string, error) {
				return client.Handover(ctx, claim, to)
			}, func(s node.Snapshot) (string, bool) { return moved(s, claim) })
		},
	}
}

// moved says who holds the claim now, once it is another node.
func moved(s node.Snapshot, claim string) (string, bool) {
	for _, c := range s.Claims {
		if c.Name == claim && c.Phase == node.Idle.String() && c.Holder != "" && c.Holder != s.Node {
			return fmt.Sprintf("%s is held by %s", claim, c.Holder), true
		}
	}
	return "", false
}

func standbyCommand() *cli.Command {
	return &cli.Command{
		Name:      "standby",
		Usage:     "on: give away what this node holds and take nothing, over restarts too; off: end that",
		ArgsUsage: "on|off",
		Flags:     []cli.Flag{runDirFlag(), yesFlag()},
		Action: func(c *cli.Context) error {
			word := c.Args().First()
			if c.Args().Len() != 1 || word != "on" && word != "off" {
				return cli.Exit("say 'solovip standby on' or 'solovip standby off'", exitUsage)
			}
			on := word == "on"
			if on {
				if err := confirm(c, "This node gives away all it holds, and takes nothing until 'solovip standby off'."); err != nil {
					return err
				}
			}
			return operate(c, func(ctx context.Context, client *control.Client) (string, error) {
				return client.Standby(ctx, on)
			}, func(s node.Snapshot) (string, bool) {
				if !on {
					return "", true
				}
				return holdsNothing(s)
			})
		},
	}
}

func trustWitnessCommand() *cli.Command {
	return &cli.Command{
		Name: "trust-witness",
		Usage: "take the witness as it is now: another etcd cluster after the old one is gone, " +
			"or after this node left while it was silent",
		Flags: []cli.Flag{runDirFlag(), yesFlag()},
		Action: func(c *cli.Context) error {
			if err := confirm(c, "You vouch for it: every node that 'solovip status' does not show as heard is off, or holds nothing. "+
				"If one still serves, there are two holders."); err != nil {
				return err
			}
			return operate(c, func(ctx context.Context, client *control.Client) (string, error) {
				return client.TrustWitness(ctx)
			}, func(node.Snapshot) (string, bool) { return "", true })
		},
	}
}

func holdsNothing(s node.Snapshot) (string, bool) {
	for _, c := range s.Claims {
		if c.Phase != node.Idle.String() {
			return "", false
		}
	}
	return "this node holds nothing", true
}

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

// confirm names the effect and asks, unless --yes is given. Who cannot be asked has to
// give it.
func confirm(c *cli.Context, effect string) error {
	if c.Bool("yes") {
		return nil
	}
	if !isTerminal(c.App.Reader) {
		return cli.Exit(effect+" Nothing was done: give --yes where nobody can be asked", exitUsage)
	}
	if _, err := fmt.Fprintf(c.App.Writer, "%s Go on? [y/N] ", effect); err != nil {
		return err
	}
	answer := bufio.NewScanner(c.App.Reader)
	if answer.Scan() && strings.EqualFold(strings.TrimSpace(answer.Text()), "y") {
		return nil
	}
	return cli.Exit("nothing was done", exitFailed)
}

// operate has a command carried out and prints what the node says, then follows the
// node until done tells the outcome.
func operate(c *cli.Context, do func(context.Context, *control.Client) (string, error), done func(node.Snapshot) (string, bool)) error {
	client, err := control.Dial(c.String("run-dir"))
	if err != nil {
		return err
	}
	begun := time.Now()
	text, err := do(c.Context, client)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c.App.Writer, text); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, moveLimit)
	defer cancel()
	var outcome string
	errDone := errors.New("done") // ends the watch
	err = client.Watch(ctx, func(s node.Snapshot) error {
		var ok bool
		if outcome, ok = done(s); ok {
			return errDone
		}
		return nil
	})
	switch {
	case errors.Is(err, errDone) && outcome == "":
		return nil
	case errors.Is(err, errDone):
		_, err := fmt.Fprintf(c.App.Writer, "%s, after %v\n", outcome, time.Since(begun).Round(time.Millisecond))
		return err
	case err == nil:
		return fmt.Errorf("it is not done after %v: 'solovip status' shows how far it is", moveLimit)
	}
	return err
}
