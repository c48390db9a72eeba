package vmtest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// inside is what the tests below run in.
var inside = vmtest.Shared{Name: "network", Machine: vm.Machine{
	Modules: []string{"ip_vs_rr", "sch_netem"}, Spare: []string{"dummy", "nf_tables", "nft_ct"}, Programs: []string{"ip", "nft"},
}}

func TestVMHasModulesAndPrograms(t *testing.T) {
	vmtest.Test(t, &inside, func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Error("not root")
		}
		data, err := os.ReadFile("/proc/modules")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"ip_vs ", "ip_vs_rr ", "sch_netem "} {
			if !strings.Contains(string(data), want) {
				t.Errorf("module %s is not loaded", want)
			}
		}
		// The kernel loads by itself what it needs.
		for _, command := range []string{
			"ip netns add a", "ip link add d0 type dummy", "ip netns exec a ip link set lo up",
			"nft add table inet t", "nft list ruleset",
		} {
			command := strings.Fields(command)
			if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%q: %v: %s", command, err, out)
			}
		}
	})
}

// TestVMSharesTheBoot: the second test of a package finds what the first has left.
func TestVMSharesTheBoot(t *testing.T) {
	vmtest.Test(t, &inside, func(t *testing.T) {
		if _, err := os.Stat("/run/netns/a"); err != nil {
			t.Error(err)
		}
	})
}
