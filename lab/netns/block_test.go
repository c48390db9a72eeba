package netns

import (
	"testing"

	"github.com/solovip/solovip/lab/scenario"
)

// The switch stops what it should, in the direction it should and between the two hosts
// alone; and carries it again.
func TestSwitchBlocksTraffic(t *testing.T) {
	const all = "vrrp mesh other witness arp"
	tests := []struct {
		name    string
		step    scenario.Step
		out, in string // what still comes from n1 to n2, and from n2 to n1
	}{
		{"vrrp", scenario.Step{Traffic: scenario.VRRPAdverts}, "mesh other witness arp", "mesh other witness arp"},
		{"vrrp out", scenario.Step{Traffic: scenario.VRRPAdverts, Way: scenario.Out}, "mesh other witness arp", all},
		{"mesh in", scenario.Step{Traffic: scenario.MeshTraffic, Way: scenario.In}, all, "vrrp other witness arp"},
		// Both directions are needed to connect.
		{"witness out", scenario.Step{Traffic: scenario.WitnessTraffic, Way: scenario.Out}, "vrrp mesh other arp", "vrrp mesh other arp"},
		{"ip", scenario.Step{Traffic: scenario.IPTraffic}, "arp", "arp"},
		{"arp out", scenario.Step{Traffic: scenario.ARPTraffic, Way: scenario.Out}, "", ""},
		{"everything", scenario.Step{Traffic: scenario.AllTraffic}, "", ""},
	}
	inPrivateNetwork(t, func(n *network) {
		n1, n2, w1 := n.hosts["n1"], n.hosts["n2"], n.hosts["w1"]
		check := func(what string, from, to *host, want string) {
			t.Helper()
			forget(t, n1, n2, w1)
			if got := passing(t, from, to, want); got != want {
				t.Errorf("%s: from %s to %s come %q, want %q", what, from.Name, to.Name, got, want)
			}
		}
		for _, tt := range tests {
			tt.step.Host, tt.step.Peer = "n1", "n2"
			if err := n.block(tt.step); err != nil {
				t.Fatal(err)
			}
			check(tt.name, n1, n2, tt.out)
			check(tt.name, n2, n1, tt.in)
			check(tt.name, n1, w1, all)
			if err := n.unblock(tt.step); err != nil {
				t.Fatal(err)
			}
		}
		check("nothing", n1, n2, all)
	})
}
