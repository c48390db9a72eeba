package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
)

// opened returns what the next run finds.
func opened(t *testing.T, dir string) *runState {
	t.Helper()
	r, err := openRunState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunStateSaysWhatMayBeOn(t *testing.T) {
	dir := t.TempDir()
	one := runClaim{
		Token: 7, Gated: true, Guards: []string{"web"},
		Addresses: []vip.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0", Label: "eth0:1"}},
	}
	r := opened(t, dir)
	for _, err := range []error{r.remember("VI_1", one), r.remember("VI_2", runClaim{Token: 3}), r.forget("VI_2"), r.settle("VI_1"), r.settle("VI_2")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	one.Settled = true
	want := map[string]runClaim{"VI_1": one}
	if diff := cmp.Diff(want, opened(t, dir).data.Claims, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("the next run finds (-want +got):\n%s", diff)
	}
}

// What cannot be written down must not take effect.
func TestRunStateThatCannotBeWritten(t *testing.T) {
	r := opened(t, t.TempDir())
	r.path = filepath.Join(filepath.Dir(r.path), "gone", "claims.json")
	if err := r.remember("VI_1", runClaim{}); err == nil || len(r.data.Claims) > 0 {
		t.Errorf("remembered all the same: %v, %v", err, r.data.Claims)
	}
}

// What was left in place is there for one successor alone.
func TestLeftInPlaceForOneSuccessor(t *testing.T) {
	dir := t.TempDir()
	r := opened(t, dir)
	if err := r.remember("VI_1", runClaim{Token: 7}); err != nil {
		t.Fatal(err)
	}
	if err := r.leave(&leftBehind{Mode: "lease", Claims: map[string]leftClaim{"VI_1": {Until: 5}}}, map[string]node.Kept{"VI_1": {Token: 8}}); err != nil {
		t.Fatal(err)
	}
	next := opened(t, dir)
	left, err := next.take()
	if err != nil || left == nil || left.Claims["VI_1"].Until != 5 || next.data.Claims["VI_1"].Token != 8 {
		t.Errorf("the successor finds %+v, %+v, %v", left, next.data, err)
	}
	after := opened(t, dir)
	if left, err := after.take(); left != nil || err != nil || len(after.data.Claims) != 1 {
		t.Errorf("the one after finds %+v, %+v, %v: want something to clean up, nothing to adopt", left, after.data, err)
	}
}

// A reboot has ended all that the file speaks of.
func TestRunStateOfAnotherBoot(t *testing.T) {
	dir := t.TempDir()
	r := opened(t, dir)
	if err := r.remember("VI_1", runClaim{Token: 7}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(text), r.data.Boot, "another", 1)
	if err := os.WriteFile(r.path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := opened(t, dir).data.Claims; len(found) > 0 {
		t.Errorf("claims of another boot: %v", found)
	}
}
