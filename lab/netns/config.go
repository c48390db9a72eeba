package netns

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/solovip/solovip/lab/scenario"
)

const (
	clusterName = "lab" // of the mesh
	routerID    = 77    // of the first instance; the others count on from it
)

// claim returns by which name solovip knows what moves with an instance.
func (s *setup) claim(instance string) string {
	return cmp.Or(s.job.Scenario.Group, instance)
}

// settings returns the lines of a block of a node that runs a system: what the lab writes
// by itself and what the scenario sets, which takes the place of a line with the same keyword.
func (s *setup) settings(h *host, system scenario.System, blocks []string, own ...string) []string {
	lines := own
	for _, set := range s.job.Scenario.Settings {
		if !set.On(system, h.Name) || !slices.Contains(blocks, set.Block) {
			continue
		}
		same := func(line string) bool { return scenario.Setting{Line: line}.Keyword() == set.Keyword() }
		if i := slices.IndexFunc(own, same); i >= 0 {
			lines[i] = set.Line
			continue
		}
		lines = append(lines, set.Line)
	}
	return lines
}

// block writes a block of a configuration.
func block(b *strings.Builder, head string, lines []string, inner ...string) {
	fmt.Fprintf(b, "%s {\n", head)
	for _, line := range lines {
		fmt.Fprintf(b, "    %s\n", line)
	}
	for _, text := range inner {
		b.WriteString(text)
	}
	b.WriteString("}\n")
}

// list returns a block within a block, nothing if it has no lines.
func list(head string, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("    %s {\n        %s\n    }\n", head, strings.Join(lines, "\n        "))
}

// config returns the text of a node's configuration: for all systems the same instances.
func (s *setup) config(h *host, system scenario.System) string {
	if text, ok := s.job.Scenario.File(system, h.Name); ok {
		return strings.NewReplacer(
			"%key_file%", s.keyFile(), "%fifo%", s.fifo(h),
			"%start%", s.service("start", h), "%stop%", s.service("stop", h), "%status%", s.service("status", h),
		).Replace(text)
	}
	var b strings.Builder
	global := []string{"router_id " + h.Name, "vrrp_version 3"}
	if system == scenario.Keepalived {
		global = append(global, "vrrp_notify_fifo "+s.fifo(h))
	}
	block(&b, "global_defs", s.settings(h, system, []string{scenario.GlobalBlock}, global...))
	if s.job.Scenario.Group != "" {
		var names []string
		for _, c := range s.job.Scenario.Claims {
			names = append(names, c.Name)
		}
		block(&b, "vrrp_sync_group "+s.job.Scenario.Group, nil, list("group", names))
	}
	for i, c := range s.job.Scenario.Claims {
		own := []string{
			"state BACKUP", "interface " + s.job.Scenario.Link(c), fmt.Sprintf("virtual_router_id %d", routerID+i),
			fmt.Sprintf("priority %d", s.job.Scenario.Priority(c, h.Host)), "advert_int 1",
		}
		var extra []string
		addr := netip.MustParseAddr("10.78.0.1")
		for range c.Extra {
			extra = append(extra, addr.String()+"/32")
			addr = addr.Next()
		}
		block(&b, "vrrp_instance "+c.Name, s.settings(h, system, []string{scenario.InstanceBlock, c.Name}, own...),
			list("virtual_ipaddress", []string{c.VIP.String()}), list("virtual_ipaddress_excluded", extra))
	}
	if system.Solovip() {
		s.blocks(&b, h, system)
	}
	for _, line := range s.settings(h, system, []string{scenario.LastBlock}) {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// votes reports whether the scenario's witness takes part: in mode quorum two nodes need it
// to be three.
func (s *setup) votes() bool {
	return s.job.System == scenario.Lease || s.job.System == scenario.Quorum && len(s.job.Scenario.Named(scenario.Node)) < 3
}

// witnessFile is the configuration of the witness: that of a node that runs the system
// under test.
func (s *setup) witnessFile() string { return filepath.Join(s.dir, "witness.conf") }

// blocks writes what solovip adds to a keepalived.conf, as far as the mode has it.
func (s *setup) blocks(b *strings.Builder, h *host, system scenario.System) {
	if system.Clustered() {
		var own []string
		for _, n := range s.job.Scenario.Named(scenario.Node) {
			own = append(own, fmt.Sprintf("node %s %v", n.Name, n.Addr))
		}
		if s.votes() {
			for _, w := range s.job.Scenario.Named(scenario.Witness) {
				own = append(own, fmt.Sprintf("witness %s %v", w.Name, w.Addr))
			}
		}
		own = append(own, fmt.Sprintf("mesh_port %d", meshPort), "key_file "+s.keyFile())
		block(b, "cluster "+clusterName, s.settings(h, system, []string{scenario.ClusterBlock}, own...))
	}
	if system == scenario.Lease {
		endpoints := []string{"endpoints"}
		for _, role := range []scenario.Role{scenario.Witness, scenario.Etcd} {
			for _, w := range s.job.Scenario.Named(role) {
				endpoints = append(endpoints, fmt.Sprintf("http://%v:%d", w.Addr, witnessPort))
			}
		}
		block(b, "witness", s.settings(h, system, []string{scenario.WitnessBlock}, strings.Join(endpoints, " ")))
	}
	// So that a preferred node that was fenced comes back while the run lasts.
	block(b, "fencing", s.settings(h, system, []string{scenario.FencingBlock}, "clear_after 2", "gate on"), s.agents(h, system))
	if s.job.Scenario.Web {
		b.WriteString(h.webGuard(s.nginx, s.claim(s.job.Scenario.Claims[0].Name)))
		return
	}
	block(b, "guard echo", s.settings(h, system, []string{scenario.GuardBlock},
		"protects "+s.claim(s.job.Scenario.Claims[0].Name), "stop_timeout 0.5",
		fmt.Sprintf("start %q", s.service("start", h)), fmt.Sprintf("stop %q", s.service("stop", h)), fmt.Sprintf("status %q", s.service("status", h))))
}
