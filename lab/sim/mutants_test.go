package sim_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/solovip/solovip/lab/sim"
)

// mutant is a bug that is planted to prove that the simulation would find it.
type mutant struct {
	name  string
	rule  sim.Rule // that it must be seen to break
	edits []edit
}

// edit replaces a text that its file has exactly once. When the source has changed so that it
// does not, the edit has to follow.
type edit struct{ file, old, planted string }

var mutants = []mutant{
	{"the wait is below the inequality", sim.OneHolder, []edit{
		{"witness/timing.go", "Hold: hold, Wait: wait, Late: lateDefault}", "Hold: hold, Wait: hold, Late: lateDefault}"},
		{"witness/timing.go", "case t.Wait < need:", "case t.Wait < need/2:"},
		{"witness/record.go", "return max(own, WaitFor(", "return min(own, WaitFor("},
	}},
	{"the hold is counted from the reply", sim.OneHolder, []edit{
		{"witness/lease.go", "l.until = later(l.until, f.sent.Add(l.cfg.Timing.Hold))", "l.until = later(l.until, now.Add(l.cfg.Timing.Hold))"},
	}},
	{"a lost reply is taken for a failure", sim.BoundPromise, []edit{
		{"witness/lease.go", "if !refused && f.renews && l.stores == f.stores {", "if false && !refused {"},
	}},
	{"a promise is given while a swap is in flight", sim.BoundPromise, []edit{
		{"witness/lease.go", "if _, ok := l.flight.takes[claim]; ok {", "if _, ok := l.flight.takes[claim]; ok && false {"},
	}},
	{"no wait after the start", sim.OneHolder, []edit{
		{"arbiter/promise.go", "return now.Before(p.started.Add(p.wait)) }", "return false }"},
		{"witness/view.go", "s.At = later(l.freeAt(now, c), l.since.Add(l.cfg.Timing.Wait))", "s.At = l.freeAt(now, c)"},
	}},
	{"a node record is renewed without noticing that a claim was taken", sim.OneHolder, []edit{
		{"witness/lease.go", "if r.Holder == \"\" || r.Holder == l.cfg.Node || r.Released {", "if true {"},
		{"witness/view.go", "if r.Holder != l.cfg.Node || r.Incarnation != l.cfg.Incarnation || r.Token != token || r.Released {", "if r.Token > token+1_000_000 {"},
	}},
	{"the address is added before the gate is armed", sim.GateFirst, []edit{
		{
			"node/claim.go",
			"	n.emit(ArmGate{Claim: c.cfg.Name, Until: until})\n	n.emit(AddAddresses{Claim: c.cfg.Name, Until: until})\n",
			"	n.emit(AddAddresses{Claim: c.cfg.Name, Until: until})\n	n.emit(ArmGate{Claim: c.cfg.Name, Until: until})\n",
		},
	}},
	{"the claim is released before the guard has stopped", sim.GuardsFirst, []edit{
		{"node/claim.go", "if !c.off || c.guards.state != guardsOff ||", "if !c.off ||"},
	}},
	{"a token is used again after the witness was wiped", sim.TokensGrow, []edit{
		{"witness/lease.go", "token := max(rec.Record.Token, w.floor) + 1", "token := rec.Record.Token + 1"},
	}},
}

// TestPlantedBugs plants one bug after the other and plays stories until one of the first
// thousand breaks the rule that it must break.
func TestPlantedBugs(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), plant(t, m.edits), "-test.run=^TestSimStories$", "-find="+m.rule.String(), "-seeds=1000")
			out, err := cmd.CombinedOutput()
			found := regexp.MustCompile(`(?m)^found: seed (\d+) .*$`).FindSubmatch(out)
			if err != nil || found == nil {
				t.Fatalf("the simulation does not find it: %v\n%s", err, out)
			}
			seed, err := strconv.ParseUint(string(found[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if w := play(seed, m.rule, false); !w.Check.Fine() {
				t.Errorf("seed %d breaks the rule without the bug, too: %v", seed, w.Check.Problems)
			}
			t.Logf("%s", found[0])
		})
	}
}

// plant builds this package's tests with the edits and returns the binary.
func plant(t *testing.T, edits []edit) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, e := range edits {
		path := filepath.Join(root, e.file)
		from := path
		if edited, ok := overlay.Replace[path]; ok {
			from = edited
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte(e.old)); n != 1 {
			t.Fatalf("%s has this %d times, not once; let the planted bug follow the source:\n%s", e.file, n, e.old)
		}
		to := filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		if err := os.WriteFile(to, bytes.Replace(text, []byte(e.old), []byte(e.planted), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = to
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", file, "-o", binary, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build with the planted bug: %v\n%s", err, out)
	}
	return binary
}
