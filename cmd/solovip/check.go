package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/node/daemon"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "look at a configuration",
		Subcommands: []*cli.Command{{
			Name:      "check",
			Usage:     "check a configuration; exits with 0 when it can run, 1 when --strict and there are warnings, 2 when there are errors",
			ArgsUsage: "[FILE]",
			Flags: []cli.Flag{
				configIDFlag(),
				&cli.BoolFlag{Name: "strict", Usage: "exit with 1 when there are warnings"},
			},
			Action: func(c *cli.Context) error {
				if c.Args().Len() > 1 {
					return cli.Exit("one FILE at a time: 'solovip config check --help' shows the usage", exitUsage)
				}
				file := defaultFile
				if c.Args().Present() {
					file = c.Args().First()
				}
				return checkConfig(c, file, c.Bool("strict"))
			},
		}},
	}
}

// checkConfig prints every finding, then a line that sums them up.
func checkConfig(c *cli.Context, file string, strict bool) error {
	cfg, report := config.Load(file, config.Options{ConfigID: c.String("config-id")})
	if !report.HasErrors() && cfg.Witness != nil {
		if _, err := daemon.Timing(cfg); err != nil {
			report.Add(config.Finding{Pos: cfg.Witness.Timing.Pos, Severity: config.Error, Text: errors.Unwrap(err).Error()})
		}
	}
	if err := report.Render(c.App.Writer); err != nil {
		return err
	}
	found, warned := len(report.Errors()), len(report.Warnings())
	if _, err := fmt.Fprintf(c.App.Writer, "%s: %s, %s\n", file, count(found, "error"), count(warned, "warning")); err != nil {
		return err
	}
	switch {
	case found > 0:
		return cli.Exit("", exitUsage)
	case strict && warned > 0:
		return cli.Exit("", exitFailed)
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
