package vm_test

import (
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// run boots a machine, or skips.
func run(t *testing.T, m vm.Machine) vm.Result {
	t.Helper()
	r, err := m.Run(t.Context())
	if err != nil {
		vmtest.Missing(t, err)
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
