package vm_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
)

// run boots a machine, or skips.
func run(t *testing.T, m vm.Machine) vm.Result {
	t.Helper()
	r, err := m.Run(t.Context())
	if err != nil {
		vm.Missing(t, err)
	}
	return r
}

func TestEnds(t *testing.T) {
	const frozen = `printf frozen\\n; exec 3>/dev/watchdog; printf . >&3; sleep 60`
	tests := []struct {
		name    string
		machine vm.Machine
		end     vm.End
		exit    int
		prints  string
	}{
		{
			name:    "in order, with a status and no line break",
			machine: vm.Machine{Command: []string{"sh", "-c", "echo it\\'s $WORD; printf 'to stderr' >&2; exit 3"}, Env: []string{"WORD=two words"}},
			end:     vm.PoweredOff, exit: 3, prints: "it's two words\nto stderr",
		},
		{
			name:    "a panic of the kernel",
			machine: vm.Machine{Command: []string{"sh", "-c", "echo before; echo c >/proc/sysrq-trigger"}},
			end:     vm.Reset, exit: -1, prints: "before\n",
		},
		{
			name: "by the watchdog",
			machine: vm.Machine{
				Modules: []string{"i6300esb heartbeat=2"}, Devices: []string{"i6300esb"},
				Command: []string{"sh", "-c", frozen},
			},
			end: vm.WatchdogReset, exit: -1, prints: "frozen\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, tt.machine)
			if r.End != tt.end || r.Exit != tt.exit {
				t.Errorf("the machine has %v, status %d; want %v, %d\n%v", r.End, r.Exit, tt.end, tt.exit, r.Err())
			}
			if tt.prints != "" && r.Output != tt.prints {
				t.Errorf("printed %q, want %q", r.Output, tt.prints)
			}
			if clean := tt.end == vm.PoweredOff && tt.exit == 0; (r.Err() == nil) != clean {
				t.Errorf("Err is %v", r.Err())
			}
			t.Logf("%v", r.Took.Round(10*time.Millisecond))
		})
	}
}

// inside is what the tests below run in.
var inside = vm.Shared{Name: "network", Machine: vm.Machine{
	Modules: []string{"ip_vs_rr", "sch_netem"}, Spare: []string{"dummy", "nf_tables", "nft_ct"}, Programs: []string{"ip", "nft"},
}}

func TestVMHasModulesAndPrograms(t *testing.T) {
	vm.Test(t, &inside, func(t *testing.T) {
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
	vm.Test(t, &inside, func(t *testing.T) {
		if _, err := os.Stat("/run/netns/a"); err != nil {
			t.Error(err)
		}
	})
}
