package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/node/daemon"
	"github.com/solovip/solovip/witness"
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
				file, err := oneFile(c)
				if err != nil {
					return err
				}
				return checkConfig(c, file, c.Bool("strict"))
			},
		}, timingCommand()},
	}
}

func timingCommand() *cli.Command {
	return &cli.Command{
		Name:      "timing",
		Usage:     "show the timing of permission that a configuration comes to, the inequality that makes it safe, and how long a take-over takes",
		ArgsUsage: "[FILE]",
		Flags:     []cli.Flag{configIDFlag()},
		Action: func(c *cli.Context) error {
			file, err := oneFile(c)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c, file)
			if err != nil {
				return cli.Exit(err, exitUsage)
			}
			t, err := daemon.Timing(cfg)
			if err != nil {
				return cli.Exit(err, exitUsage)
			}
			text := timingText(t)
			if cfg.Cluster == nil {
				text = "no cluster block: mode vrrp, no permission is needed and nothing of it is timed\n"
			}
			text += takeoverText(daemon.Takeovers(cfg, t))
			if cfg.Cluster != nil && cfg.Fencing.Watchdog.Mode != config.WatchdogOff {
				more, err := watchdogText(cfg)
				if err != nil {
					return cli.Exit(err, exitUsage)
				}
				text += more
			}
			_, err = fmt.Fprint(c.App.Writer, text)
			return err
		},
	}
}

// timingText names the numbers as docs/safety.md does.
func timingText(t witness.Timing) string {
	return fmt.Sprintf(`P  %-6v  renew: from one renewal to the next
R  %-6v  hold: how long a renewal lets the holder serve
L  %-6v  wait: how long a candidate waits
X  %-6v  late: how late the stop can be
L >= (R + X)(1 + 2 rho): %v >= %v
`, t.Renew, t.Hold, t.Wait, t.Late, t.Wait, witness.WaitFor(t.Hold, t.Late))
}

// takeoverText says how long the addresses are gone when their holder loses power.
func takeoverText(all []daemon.Takeover) string {
	var text strings.Builder
	for _, x := range all {
		fmt.Fprintf(&text, "%s is taken over %v after its holder loses power", x.Instance, x.Expected)
		if x.Expected != x.VRRPAlone {
			fmt.Fprintf(&text, " (by VRRP alone: %v)", x.VRRPAlone)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// watchdogText says how long the watchdog counts, and the sum that it comes from.
func watchdogText(cfg *config.Config) (string, error) {
	timeout, most, err := daemon.Watchdog(cfg)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("T  %-6v  watchdog: from the last time that it is petted to the reset\n", timeout)
	switch {
	case most == 0:
		return text + "no guarded service has to be stopped by it, so nothing bounds T\n", nil
	case timeout > most:
		return text + fmt.Sprintf("T <= R + X + G - P, G being how long the guarded services take to stop: %v is MORE than %v\n"+
			"A watchdog counts whole seconds, so another node could start the guarded services first: raise hold, or the guards' stop_timeout.\n", timeout, most), nil
	}
	return text + fmt.Sprintf("T <= R + X + G - P, G being how long the guarded services take to stop: %v <= %v\n", timeout, most), nil
}

// checkWatchdog adds a finding where no watchdog can count as short as it would have to.
func checkWatchdog(cfg *config.Config, report *config.Report) {
	timeout, most, err := daemon.Watchdog(cfg)
	if err != nil || most == 0 || timeout <= most {
		return // what else is wrong, the daemon says
	}
	f := config.Finding{
		Pos: cfg.Fencing.Pos, Severity: config.Warning,
		Text:   fmt.Sprintf("a watchdog counts %v at the least, and may count %v here: it could reset this machine after another node has started the guarded services", timeout, most),
		Remedy: "raise hold in the witness's timing, or the guards' stop_timeout: `solovip config timing` shows the sum",
	}
	if cfg.Fencing.Watchdog.Mode == config.WatchdogRequired {
		f.Severity = config.Error
		f.Text += "; as it is required, nothing would ever be held"
	}
	report.Add(f)
}

// oneFile returns the FILE of the command line, or the default.
func oneFile(c *cli.Context) (string, error) {
	switch c.Args().Len() {
	case 0:
		return defaultFile, nil
	case 1:
		return c.Args().First(), nil
	}
	return "", cli.Exit(fmt.Sprintf("one FILE at a time: '%s --help' shows the usage", c.Command.HelpName), exitUsage)
}

// loadConfig returns a configuration that has no errors.
func loadConfig(c *cli.Context, file string) (*config.Config, error) {
	cfg, report := config.Load(file, config.Options{ConfigID: c.String("config-id")})
	if report.HasErrors() {
		return nil, fmt.Errorf("%s has errors: 'solovip config check %s' shows them", file, file)
	}
	return cfg, nil
}

// checkConfig prints every finding, then a line that sums them up.
func checkConfig(c *cli.Context, file string, strict bool) error {
	cfg, report := config.Load(file, config.Options{ConfigID: c.String("config-id")})
	if !report.HasErrors() && cfg.Permits() {
		if _, err := daemon.Timing(cfg); err != nil {
			at := cfg.Cluster.Pos
			if cfg.Witness != nil {
				at = cfg.Witness.Timing.Pos
			}
			report.Add(config.Finding{Pos: at, Severity: config.Error, Text: errors.Unwrap(err).Error()})
		}
	}
	if !report.HasErrors() && cfg.Cluster != nil && cfg.Fencing.Watchdog.Mode != config.WatchdogOff {
		checkWatchdog(cfg, report)
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
