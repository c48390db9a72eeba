package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// Guard is a guarded service: one that may run only where its claim is held.
type Guard struct {
	Name         string
	Protects     string // an instance or a sync group
	Start        Command
	StopCmd      Command
	Status       Command
	PIDFile      string        // of the service's main process; empty: none
	Systemd      string        // unit; "" : commands
	Always       bool          // run_on always: stopped only by a fence
	StopTimeout  time.Duration // default 2 s
	StartTimeout time.Duration // default 10 s

	Health         Command       // exit 0: it is well; empty: it is, as long as it runs
	HealthInterval time.Duration // default 1 s
	HealthTimeout  time.Duration // default: HealthInterval
	HealthFall     int           // failures of Health in a row until it counts; default 2
	Restarts       int           // failures in a row that are mended here; default 2; -1: all

	Pos syntax.Pos
}

// The defaults of guards.
const (
	defaultStopTimeout  = 2 * time.Second
	defaultStartTimeout = 10 * time.Second
	defaultHealth       = time.Second
	defaultHealthFall   = 2
	defaultRestarts     = 2
)

// readGuard reads a guard block.
func (l *loader) readGuard(block *syntax.Node) {
	name := block.Args()[0]
	g := Guard{
		Name: name.Text, StopTimeout: defaultStopTimeout, StartTimeout: defaultStartTimeout,
		HealthInterval: defaultHealth, HealthFall: defaultHealthFall, Restarts: defaultRestarts, Pos: name.Pos,
	}
	l.plainName(name, "guard")
	if slices.ContainsFunc(l.cfg.Guards, func(o Guard) bool { return o.Name == g.Name }) {
		l.fail(name, "give each guard a name of its own", "guard %s is there twice", quote(g.Name))
	}
	l.fields(block, nil, []string{"start", "stop", "status", "health"}, func(n *syntax.Node, w syntax.Word) {
		switch n.Keyword() {
		case "protects":
			g.Protects = w.Text
			l.claim(w)
		case "systemd":
			if g.Systemd = w.Text; !strings.Contains(g.Systemd, ".") {
				g.Systemd += ".service"
			}
		case "start":
			g.Start = l.guardCommand(n)
		case "stop":
			g.StopCmd = l.guardCommand(n)
		case "status":
			g.Status = l.guardCommand(n)
		case "pid_file":
			g.PIDFile = w.Text
			l.absolute(w, "pid_file")
		case "run_on":
			if g.Always = w.Text == "always"; !g.Always && w.Text != "master" {
				l.fail(w, "write master or always", "run_on %s is neither master nor always", quote(w.Text))
			}
		default:
			l.readGuardCare(&g, n, w)
		}
	})
	if g.HealthTimeout == 0 {
		g.HealthTimeout = g.HealthInterval
	}
	l.guardComplete(block, name, g)
	l.cfg.Guards = append(l.cfg.Guards, g)
}

// readGuardCare reads how a guarded service is looked after.
func (l *loader) readGuardCare(g *Guard, n *syntax.Node, w syntax.Word) {
	const shortest = 100 * time.Millisecond
	times := map[string]*time.Duration{
		"stop_timeout": &g.StopTimeout, "start_timeout": &g.StartTimeout,
		"health_interval": &g.HealthInterval, "health_timeout": &g.HealthTimeout,
	}
	switch k := n.Keyword(); k {
	case "health":
		g.Health = l.guardCommand(n)
	case "health_fall":
		if v, ok := l.number(Error, k, w, 1, 100, "it cannot be used"); ok {
			g.HealthFall = v
		}
	case "restart":
		if w.Text == "always" {
			g.Restarts = -1
		} else if v, ok := l.number(Error, k, w, 0, 1000, "write always if the claim is never to be given up for it"); ok {
			g.Restarts = v
		}
	default:
		if t, ok := l.seconds(Error, k, w, shortest, time.Hour, "it cannot be used"); ok {
			*times[k] = t
		}
	}
}

// guardComplete checks that a guard has what it needs.
func (l *loader) guardComplete(block *syntax.Node, name syntax.Word, g Guard) {
	has := func(keyword string) bool {
		return slices.ContainsFunc(block.Children, func(n *syntax.Node) bool { return n.Keyword() == keyword })
	}
	if !has("protects") && !l.anyBad(block, "protects") {
		l.fail(name, "write protects and the name of an instance or a sync group", "guard %s protects nothing", quote(g.Name))
	}
	commands := has("start") || has("stop") || has("status") || has("pid_file")
	switch {
	case has("systemd") && commands:
		l.fail(name, "write one of the two", "guard %s has both a systemd unit and commands", quote(g.Name))
	case !has("systemd") && !commands && !l.anyBad(block, "systemd", "start", "stop"):
		l.fail(name, `write systemd UNIT, or start "..." and stop "..."`, "guard %s has no service", quote(g.Name))
	case commands && !has("start") && !l.anyBad(block, "start"):
		l.fail(name, `write start "..."`, "guard %s has no start command", quote(g.Name))
	case commands && !has("stop") && !has("pid_file") && !l.anyBad(block, "stop"):
		l.fail(name, `write stop "...", or pid_file and the file with the number of its process`, "guard %s has no stop command", quote(g.Name))
	}
}

// guardCommand reads a command of a guard.
func (l *loader) guardCommand(n *syntax.Node) Command {
	c, more, ok := l.command(n)
	if !ok {
		return Command{}
	}
	if len(more) > 0 {
		l.fail(more[0], fmt.Sprintf("put the whole command in double quotes: %s %s", n.Keyword(), quote(c.Text+" "+more[0].Text)), "%s takes one command", n.Keyword())
	}
	if err := l.opt.Program(c.Args[0]); err != nil {
		l.warn(n.Args()[0], "write its full path; it must exist and be executable on the nodes", "%s %s: %v", n.Keyword(), c.Args[0], err)
	}
	return c
}
