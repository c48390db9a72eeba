package stories_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const aloneConf = `global_defs {
    vrrp_version 3
}
vrrp_instance VI_1 {
    interface eth0
    state BACKUP
    priority 100
    virtual_router_id 21
    advert_int 0.3
    virtual_ipaddress {
        192.168.60.30/24 dev eth0
    }
}
guard sleeper {
    protects VI_1
    start "/bin/sh @DIR@/serve"
    stop "/bin/sh -c 'kill $(cat @DIR@/pid)'"
    status "/bin/sh -c 'kill -0 $(cat @DIR@/pid)'"
}
`

// serve is a service that says which process it is.
const serve = "echo $$ > @DIR@/pid\nexec sleep 1000\n"

// alone is one balancer that holds its address and guards a service.
func alone(t *testing.T) (m *machine, conf string) {
	t.Helper()
	b := newBench(t, "192.168.60")
	m = b.machine("n1", 11)
	m.write("serve", serve, 0o644)
	conf = m.write("solovip.conf", aloneConf, 0o644)
	m.solovip(conf)
	b.await(20*time.Second, "n1 holds the address, and its service runs", func() bool { return m.has("192.168.60.30", "") && m.serves() }, m)
	return m, conf
}

// number returns the process that a file names; 0: none.
func (m *machine) number(file string) int {
	text, _ := os.ReadFile(filepath.Join(m.dir, file))
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// serves reports whether the guarded service runs.
func (m *machine) serves() bool { return lives(m.number("pid")) }

// lives reports whether there is such a process, and not only what is left of one that
// nobody has collected.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return pid > 0 && err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestWorkerKilled kills the worker of a node that is alone: the next one takes everything
// off, and then on again.
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	m, _ := alone(t)
	worker, service := m.number("run/control.lock"), m.number("pid")
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.b.await(20*time.Second, "another worker holds it, and has started the service anew", func() bool {
		return m.number("run/control.lock") != worker && m.number("pid") != service && m.has("192.168.60.30", "") && m.serves()
	}, m)
	m.stop()
	if code := m.cmd.ProcessState.ExitCode(); code != 0 || m.has("192.168.60.30", "") || m.serves() {
		t.Errorf("stopped with %d; address on: %t, service runs: %t\n%s", code, m.has("192.168.60.30", ""), m.serves(), m.tail())
	}
}

// TestWorkerKilledAndConfigurationBroken is the same after somebody has broken the file: all is
// cleaned up by what the worker wrote down, and the node ends instead of trying for ever.
func TestWorkerKilledAndConfigurationBroken(t *testing.T) {
	t.Parallel()
	m, conf := alone(t)
	if err := os.WriteFile(conf, []byte("vrrp_instance VI_1 {\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(m.number("run/control.lock"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("the node does not end:\n%s", m.tail())
	}
	if code := m.cmd.ProcessState.ExitCode(); code != 2 || m.has("192.168.60.30", "") || m.serves() {
		t.Errorf("ended with %d, want 2; address on: %t, service runs: %t\n%s", code, m.has("192.168.60.30", ""), m.serves(), m.tail())
	}
}

// TestCleanUp kills everything of a daemon at once and cleans up behind it, as systemd does
// when a unit is over. Its service is another's child by then.
func TestCleanUp(t *testing.T) {
	t.Parallel()
	m, _ := alone(t)
	worker := m.number("run/control.lock")
	for _, pid := range []int{m.cmd.Process.Pid, worker} { // stopped first: neither sees the other go
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	cleanUp := func(env ...string) (string, error) {
		bin, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("ip", "netns", "exec", m.b.ns("n1"), bin, "node", "--clean-up", "--run-dir", filepath.Join(m.dir, "run"))
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := cleanUp(); err == nil || !strings.Contains(out, "another solovip") || !m.serves() {
		t.Errorf("a daemon that is there is not refused: %v, %s", err, out)
	}
	_ = syscall.Kill(m.cmd.Process.Pid, syscall.SIGKILL)
	<-m.done
	// The worker stands still and has the run directory.
	if out, err := cleanUp("SERVICE_RESULT=watchdog"); err != nil {
		t.Errorf("clean up: %v, %s", err, out)
	}
	if m.has("192.168.60.30", "") || m.serves() {
		t.Errorf("left: address %t, service %t", m.has("192.168.60.30", ""), m.serves())
	}
	m.b.await(10*time.Second, "the worker's end", func() bool { return !lives(worker) }, m)
}
