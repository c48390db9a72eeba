package netns

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// shoots reports whether nodes have fence agents.
func (s *setup) shoots() bool {
	return s.job.Scenario.Sets(scenario.FencingBlock, "on_isolation fence")
}

// agentFile is the fence agent of a host: a script that calls this binary.
func (s *setup) agentFile(h *host) string { return filepath.Join(h.dir, "fence_lab") }

func (s *setup) writeAgent(h *host) error {
	text := fmt.Sprintf("#!/bin/sh\nexec %s lab %s --report=%s\n", s.job.Lab, agentName, s.report)
	return os.WriteFile(s.agentFile(h), []byte(text), 0o755) //nolint:gosec // a program
}

// agents returns the agent blocks of a host: one that switches off each other node.
func (s *setup) agents(h *host, system scenario.System) string {
	if !s.shoots() || system != scenario.Veto {
		return ""
	}
	var b strings.Builder
	for _, n := range s.job.Scenario.Named(scenario.Node) {
		fmt.Fprintf(&b, "    agent %s {\n        node %s\n        delay 2\n    }\n", s.agentFile(h), n.Name)
	}
	return b.String()
}

// agentOrder is what a fence agent asks the player for: the lab's power switch.
type agentOrder struct {
	Agent string `json:"agent"` // the action
	Node  string `json:"node"`
}

// agentMetadata describes the agent as ClusterLabs' agents do.
const agentMetadata = `<?xml version="1.0"?>
<resource-agent name="fence_lab">
<parameters><parameter name="nodename"/></parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
`

// runAgent is the fence agent: it reads what to do, has the player do it over a socket,
// which is as a power switch on a network of its own, and returns its exit status.
func runAgent(report string, in io.Reader, out io.Writer) (status int, err error) {
	order := agentOrder{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "="); key {
		case "action":
			order.Agent = value
		case "nodename":
			order.Node = value
		}
	}
	if order.Agent == "metadata" {
		_, err := io.WriteString(out, agentMetadata)
		return 0, err
	}
	conn, err := net.Dial("unix", report) //nolint:noctx // a local socket answers or refuses at once
	if err != nil {
		return 1, fmt.Errorf("reach the power switch: %w", err)
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(order); err != nil {
		return 1, fmt.Errorf("ask the power switch: %w", err)
	}
	if err := json.NewDecoder(conn).Decode(&status); err != nil {
		return 1, fmt.Errorf("hear from the power switch: %w", err)
	}
	return status, nil
}

// Exit statuses of a fence agent.
const (
	agentDone   = 0 // for status: it is on
	agentFailed = 1
	agentOff    = 2 // for status alone
)

// power carries out what a fence agent asks for, and returns the agent's exit status.
func (p *player) power(order agentOrder) int {
	h := p.net.hosts[order.Node]
	switch {
	case order.Agent == "monitor":
		return agentDone
	case h == nil:
		return agentFailed
	case order.Agent == "status" && h.off.Load():
		return agentOff
	case order.Agent == "status":
		return agentDone
	case order.Agent == "off":
		p.seen.mark(verify.Notice, h.Name, "a fence agent switches "+h.Name+" off")
		if err := h.powerOff(); err != nil {
			p.seen.mark(verify.Missed, h.Name, "the power switch: "+err.Error())
			return agentFailed
		}
		return agentDone
	}
	return agentFailed
}
