package settings

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/lvs/ipvs"
)

// machine is where there is IPVS, and keepalived.
var machine = vm.Shared{Name: "keepalived", Machine: vm.Machine{
	Modules: []string{"ip_vs"},
	Spare: []string{
		"ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_sh", "ip_vs_mh", "ip_vs_dh",
		"ip_vs_fo", "ip_vs_ovf", "ip_vs_sed", "ip_vs_nq", "ip_vs_pe_sip", "nf_conntrack_sip", "dummy",
	},
	Programs: []string{"ip", "ipvsadm", "/usr/sbin/keepalived"},
}}

// TestVMKeepalivedAgrees: for each file of testdata the kernel's table is the same, line by
// line, under keepalived and under us.
func TestVMKeepalivedAgrees(t *testing.T) {
	vm.Test(t, &machine, func(t *testing.T) {
		for _, command := range []string{"ip link set lo up", "ip link add eth0 type dummy", "ip link set eth0 up", "ip address add 10.5.0.1/24 dev eth0"} {
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
		}
		files, err := filepath.Glob("testdata/vm-*.conf")
		if err != nil || len(files) == 0 {
			t.Fatal("no files", err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				ours := balance(t, filepath.Base(file))
				theirs := keepalived(t, file, ours)
				if diff := cmp.Diff(theirs, ours); diff != "" {
					t.Errorf("-keepalived +ours:\n%s", diff)
				}
			})
		}
	})
}

// table returns what `ipvsadm -Sn` says, sorted.
func table(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("ipvsadm", "-Sn").CombinedOutput()
	if err != nil {
		t.Fatalf("ipvsadm: %v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

// keepalived runs it with a file until the table is as expected, and stays so for a moment, or
// for ten seconds; and returns the table.
func keepalived(t *testing.T, file string, expected []string) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, "/usr/sbin/keepalived", "--dont-fork", "--log-console", "--check", "--use-file="+file,
		"--pid="+dir+"/pid", "--checkers_pid="+dir+"/checkers")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	const enough = 5 // looks at the table that find it as expected
	for seen, deadline := 0, time.Now().Add(10*time.Second); seen < enough && time.Now().Before(deadline); {
		if got = table(t); slices.Equal(got, expected) {
			seen++
		} else {
			seen = 0
		}
		waitABit(ctx)
	}
	cancel()
	_ = cmd.Wait() // ended by our signal
	if !slices.Equal(got, expected) {
		said := strings.Split(log.String(), "\n")
		t.Log(strings.Join(said[:min(len(said), 40)], "\n"))
	}
	if err := exec.Command("ipvsadm", "-C").Run(); err != nil {
		t.Fatal(err)
	}
	return got
}

func waitABit(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// balance lets our balancer make the table of a file, and takes it away again.
func balance(t *testing.T, file string) []string {
	t.Helper()
	b, err := lvs.New(load(t, file).LVS)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ipvs.Open(t.Context(), ipvs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var send func(ev lvs.Event)
	send = func(ev lvs.Event) {
		for _, a := range b.Step(time.Now(), ev) {
			switch a := a.(type) {
			case lvs.ReadKernel:
				state, err := conn.Read()
				if err != nil {
					t.Fatal(err)
				}
				send(lvs.Kernel{ID: a.ID, State: state})
			case lvs.Apply:
				if err := conn.Apply(a.Steps); err != nil {
					t.Fatal(err)
				}
				send(lvs.Applied{})
			case lvs.StartCheck, lvs.StopCheck, lvs.Notify, lvs.StoreOverrides, lvs.Respond, lvs.Tell, lvs.Stopped:
			}
		}
	}
	send(lvs.Start{})
	got := table(t)
	send(lvs.Stop{})
	if left := table(t); len(left) > 1 || left[0] != "" {
		t.Errorf("left at the end: %v", left)
	}
	return got
}
