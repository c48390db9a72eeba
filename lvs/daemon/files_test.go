package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/lvs"
)

// What operators have said is read as it was written, and a file that somebody has damaged is
// said to be, with what to do about it.
func TestOverridesAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if all, err := readOverrides(dir); err != nil || len(all) > 0 {
		t.Errorf("before anything was said: %v, %v", all, err)
	}
	for _, want := range [][]lvs.StoredOverride{
		{
			{Server: "10.0.0.1 80 TCP", Real: netip.MustParseAddrPort("10.0.0.2:80"), Override: lvs.Override{Kind: lvs.Drain}},
			{Server: "fwmark 7", Real: netip.MustParseAddrPort("[2001:db8::1]:0"), Override: lvs.Override{Kind: lvs.OverrideWeight, Weight: 9}},
		},
		{},
	} {
		if err := writeOverrides(dir, want); err != nil {
			t.Fatal(err)
		}
		all, err := readOverrides(dir)
		if diff := cmp.Diff(want, all, cmpopts.EquateComparable(netip.AddrPort{})); err != nil || diff != "" {
			t.Errorf("%v, -written +read:\n%s", err, diff)
		}
	}
	for _, text := range []string{"{", `[{"server":"x","real":"10.0.0.2:80","do":"dance"}]`} {
		if err := os.WriteFile(overridesFile(dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := readOverrides(dir); err == nil || !strings.Contains(err.Error(), "solovip lvs") {
			t.Errorf("%s: %v, %v; want an error that names the remedy", text, all, err)
		}
	}
}

// A successor goes on with the results of checks that it still has, and only in the same boot:
// they speak of the kernel's table.
func TestResultsAreForTheSuccessor(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(control.LVSDir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	checks := map[lvs.CheckID]config.Checker{"a": {}, "b": {}}
	if left := readResults(dir, checks); left != nil {
		t.Errorf("before there was a run: %v", left)
	}
	down := lvs.Result{Check: "b", Why: "refused"}
	weighed := lvs.Result{Check: "a", Up: true, Adjust: lvs.Adjust{Kind: lvs.Set, Value: 3}}
	if err := writeResults(dir, []lvs.Result{down, {Check: "gone", Up: true}, weighed}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]lvs.Result{weighed, down}, readResults(dir, checks)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	text, err := os.ReadFile(resultsFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := boottime.ID()
	if err != nil {
		t.Fatal(err)
	}
	for what, other := range map[string]string{
		"of another boot": strings.Replace(string(text), boot, "another", 1), "of half a file": string(text[:len(text)/2]),
	} {
		if err := os.WriteFile(resultsFile(dir), []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if left := readResults(dir, checks); left != nil {
			t.Errorf("%s: %v", what, left)
		}
	}
	if err := forgetResults(dir); err != nil || readResults(dir, checks) != nil {
		t.Errorf("after an orderly stop: %v", err)
	}
}
