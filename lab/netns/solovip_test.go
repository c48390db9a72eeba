package netns_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/solovip/solovip/lab/scenario"
)

// The scenarios on the real binary with a witness, of the matrix a part: never two holders,
// and every other bound that the scenarios declare; and what the other modes can promise.
// Lab run --all plays all of them in all modes.
func TestSolovip(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	solovip := filepath.Join(t.TempDir(), "solovip")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", solovip, "github.com/solovip/solovip/cmd/solovip")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build solovip: %v\n%s", err, out)
	}
	runs := map[scenario.System][]string{
		scenario.Quorum: {"three-nodes", "peers-cut", "master-isolated", "power-off", "freeze", "worker-killed", "orderly-stop", "handover"},
		scenario.Veto:   {"vrrp-blocked", "vrrp-blocked-inbound", "power-off", "freeze", "handover", "isolation-hold", "isolation-hold-power-off", "isolation-fence", "isolation-fence-power-off"},
		scenario.VRRP:   {"failover", "orderly-stop", "killed", "forged-advert"},
	}
	matrix := []string{"block-all-n1-to-n2", "block-arp-n1-n2", "block-witness-w1-to-n1", "block-all-n1-to-c1"}
	// Package stories plays what moves the clock. What others show as much: loss-30, default-firewall-both,
	// three-nodes, dual-master.
	beside := []string{"loss-5", "loss-15", "default-firewall", "default-firewall-witness", "three-nodes-last", "dual-master-blocked"}
	for _, s := range scenario.Shipped() {
		if s.On(scenario.Lease) && !s.MovesClock() && !slices.Contains(beside, s.Name) && (slices.Contains(matrix, s.Name) || !strings.HasPrefix(s.Name, "block-")) {
			runs[scenario.Lease] = append(runs[scenario.Lease], s.Name)
		}
	}
	// Not shipped are the one that stands in the documentation, and one that begins with two holders:
	// while a node's daemon is off, nobody takes an address off that somebody puts there.
	others := map[string]scenario.Scenario{}
	for _, s := range []scenario.Scenario{documented(t), parsed(t, "testdata/comes-up-holding.scenario")} {
		others[s.Name] = s
		runs[scenario.Lease] = append(runs[scenario.Lease], s.Name)
	}
	for system, names := range runs {
		for _, name := range names {
			s, other := others[name]
			if !other {
				s = shipped(t, name)
			}
			t.Run(string(system)+"/"+name, func(t *testing.T) {
				if !s.Expect[system].Delicate() { // nothing else may run beside those
					t.Parallel()
				}
				if s.Web {
					needNginx(t)
				}
				if s.Begin == scenario.Keepalived {
					needKeepalived(t)
				}
				if len(s.Named(scenario.Etcd)) > 0 {
					needEtcd(t)
				}
				play(t, s, system, solovip)
			})
		}
	}
}

func parsed(t *testing.T, file string) scenario.Scenario {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A scenario that is written from the documentation alone runs: the one that stands in it.
func documented(t *testing.T) scenario.Scenario {
	t.Helper()
	const file = "../../docs/scenarios.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "```\nscenario ")
	text, _, ended := strings.Cut(text, "```\n")
	if !found || !ended {
		t.Fatalf("no scenario stands in %s", file)
	}
	s, err := scenario.Parse(file, "scenario "+text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
