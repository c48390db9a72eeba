package config

import (
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// The defaults of a fence agent.
const (
	defaultAgentTimeout = 20 * time.Second
	defaultAgentVerify  = 10 * time.Second
	defaultAgentDelay   = 5 * time.Second
	defaultAgentRetries = 1
)

// readAgent reads agent NAME { KEY VALUE ... }. Some keys are solovip's own; all others are
// handed to the agent as they are.
func (l *loader) readAgent(f *Fencing, block *syntax.Node) {
	name := block.Args()[0]
	a := Agent{
		Name: name.Text, Pos: name.Pos,
		Delay: defaultAgentDelay, Timeout: defaultAgentTimeout, Verify: defaultAgentVerify, Retries: defaultAgentRetries,
	}
	var seen []string
	for _, n := range l.good(block) {
		key := n.Words[0]
		switch {
		case n.Block || len(n.Words) != 2:
			l.fail(key, "write KEY VALUE, a value with blanks in double quotes", "agent %s: %s is not a key with a value", a.Name, quote(key.Text))
		case slices.Contains(seen, key.Text):
			l.fail(key, "take one of the two out", "agent %s: %s is given twice", a.Name, key.Text)
		default:
			l.agentKey(&a, key, n.Words[1])
			seen = append(seen, key.Text)
		}
	}
	if err := l.opt.Program(a.Name); err != nil {
		l.warn(name, "install it on the nodes, or write its full path", "agent %s: %v", a.Name, err)
	}
	f.Agents = append(f.Agents, a)
}

// agentKey reads one key of an agent.
func (l *loader) agentKey(a *Agent, key, value syntax.Word) {
	seconds := func(to *time.Duration, least time.Duration) {
		if t, ok := l.seconds(Error, key.Text, value, least, time.Hour, "it cannot be used"); ok {
			*to = t
		}
	}
	switch key.Text {
	case "node":
		a.Node = value.Text
		if c := l.cfg.Cluster; c != nil && !slices.ContainsFunc(c.Nodes, func(m Member) bool { return m.Name == a.Node }) {
			l.fail(value, "name the node that this agent switches off", "agent %s: there is no node %s in the cluster", a.Name, quote(a.Node))
		}
	case "action":
		if a.Reboot = value.Text == "reboot"; !a.Reboot && value.Text != "off" {
			l.fail(value, "write off or reboot", "agent %s: action %s is neither off nor reboot", a.Name, quote(value.Text))
		}
	case "delay":
		seconds(&a.Delay, 0)
	case "timeout":
		seconds(&a.Timeout, 100*time.Millisecond)
	case "verify":
		seconds(&a.Verify, 0)
	case "retries":
		if v, ok := l.number(Error, "retries", value, 0, 100, "it cannot be used"); ok {
			a.Retries = v
		}
	default:
		if strings.Contains(key.Text, "=") {
			l.fail(key, "write KEY VALUE, parted by a blank", "agent %s: %s is not a key", a.Name, quote(key.Text))
			return
		}
		a.Parameters = append(a.Parameters, Parameter{Key: key.Text, Value: value.Text})
	}
}
