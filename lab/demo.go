package lab

import (
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/scenario"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show in under a minute what solovip does where keepalived splits; exits with 1 when two hold on solovip",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "binary", Usage: "test the solovip at `PATH` instead of this one"},
			&cli.IntFlag{Name: "jobs", Value: runtime.NumCPU(), Usage: "run `N` at the same time"},
		},
		Action: Demo,
	}
}

// Demo runs failover, vrrp-blocked and power-off on solovip with a witness and, where
// keepalived is installed, vrrp-blocked on it too.
func Demo(c *cli.Context) error {
	p := program{jobs: max(c.Int("jobs"), 1)}
	for _, name := range []string{"vrrp-blocked", "failover", "power-off"} {
		s, _ := scenario.Find(name)
		p.runs = append(p.runs, newRun(s, scenario.Lease, 1, 1))
	}
	if _, err := netns.KeepalivedPath(); err == nil {
		s, _ := scenario.Find("vrrp-blocked")
		beside := newRun(s, scenario.Keepalived, 1, 1)
		p.runs = append(p.runs[:1], append([]*run{beside}, p.runs[1:]...)...)
	}
	if err := p.useBinary(c.String("binary"), false); err != nil {
		return cli.Exit(err, exitBroken)
	}
	return perform(c, p, false)
}
