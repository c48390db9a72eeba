package etcd_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
	"github.com/solovip/solovip/witness/server"
)

// elsewhere is set in the process that runs a test in a network of its own.
const elsewhere = "SOLOVIP_TEST_ELSEWHERE"

// inOwnNetwork runs the calling test once more, in a process with its own network, and
// returns true there. Outside it reports how that went and returns false.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(elsewhere) != "" {
		tool(t, "ip", "link set lo up")
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), elsewhere+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("this user may not make a network: %v", err)
	}
	if err != nil {
		t.Fatalf("in its own network: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
	return false
}

// tool runs a command. A missing one fails the test where it must not be missing.
func tool(t *testing.T, name, args string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
}

// A firewall drops every packet between node and witness, in both directions, without a
// word; later it stops doing so. What the kernel makes of that cannot be played by a proxy.
func TestDroppedPackets(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	const timeout = 150 * time.Millisecond // as with timing fast
	cfg := server.Config{DataDir: t.TempDir(), ListenClient: []string{"http://127.0.0.1:2379"}}
	serve(t, cfg)
	tool(t, "nft", "add table inet t")
	// On input: a packet that is dropped on output is an error to its sender.
	tool(t, "nft", "add chain inet t c { type filter hook input priority 0 ; }")
	for _, outage := range []time.Duration{300 * time.Millisecond, 3300 * time.Millisecond} {
		t.Run(outage.String(), func(t *testing.T) {
			c := client(t, etcd.Config{Endpoints: cfg.ListenClient, Timeout: timeout})
			recovered(t, c)
			tool(t, "nft", "add rule inet t c tcp dport 2379 drop")
			tool(t, "nft", "add rule inet t c tcp sport 2379 drop")
			var last error
			for start := time.Now(); time.Since(start) < outage; {
				took, stood := timed(func() { _, last = c.Do(t.Context(), witness.Swap{}) })
				if last == nil || took-stood > timeout+slack {
					t.Fatalf("Do = %v after %v, %v of that frozen, want an error after %v at most", last, took, stood, timeout)
				}
			}
			t.Logf("during: %v", last)
			tool(t, "nft", "flush chain inet t c")
			took := recovered(t, c)
			t.Logf("answered %v after packets got through again", took)
			// Left to itself the kernel repeats what was lost 0.2, 0.6, 1.4, 3 and 6.2 s later.
			if took > recovery {
				t.Errorf("answered %v after packets got through again, want at most %v", took, recovery)
			}
		})
	}
}
