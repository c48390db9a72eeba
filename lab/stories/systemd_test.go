package stories_test

import (
	"bytes"
	"crypto/rand"
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

// systemd is a real one, the first process of namespaces of its own, with the unit that
// solovip ships.
type systemd struct {
	b   *bench
	pid int
}

// bootScript makes the namespaces ready for a systemd that finds nothing of this system to
// start, and a link with a virtual address on it.
const bootScript = `set -e
ip link set lo up
ip link add eth0 type veth peer name peer
ip addr add 192.168.61.11/24 dev eth0
ip link set eth0 up
ip link set peer up
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i PATH="$PATH" container=lab SYSTEMD_UNIT_PATH="$1" SYSTEMD_LOG_TARGET=console /lib/systemd/systemd --system --unit=lab.target
`

const unitConf = `vrrp_instance VI_1 {
    interface eth0
    state BACKUP
    priority 100
    virtual_router_id 21
    virtual_ipaddress {
        192.168.61.30/24 dev eth0
    }
}
guard web {
    protects VI_1
    systemd web.service
}
`

// bootSystemd boots it, or skips where that cannot be (never in CI).
func bootSystemd(t *testing.T) *systemd {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	need(t, "ip", "nsenter", "systemctl", "/lib/systemd/systemd")
	if os.Geteuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("this story wants root")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	units := filepath.Join(b.dir, "units")
	for name, text := range map[string]string{
		"solovip.conf":          unitConf,
		"units/lab.target":      "[Unit]\nDefaultDependencies=no\n",
		"units/web.service":     "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 100000\n",
		"units/solovip.service": shippedUnit(t, bin, filepath.Join(b.dir, "solovip.conf"), filepath.Join(b.dir, "state")),
	} {
		path := filepath.Join(b.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	group := controlGroup(t)
	var said bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", bootScript, "boot", units)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, UseCgroupFD: true, CgroupFD: int(group.Fd()),
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP | syscall.CLONE_NEWNET,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all that is in its namespaces
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("systemd says:\n%s", said.String())
		}
	})
	s := &systemd{b, cmd.Process.Pid}
	b.await(20*time.Second, "systemd answers", func() bool { _, err := s.in("systemctl", "is-active", "lab.target"); return err == nil })
	return s
}

// shippedUnit is the unit for the program and the file under test. What it needs of a
// whole system is left out.
func shippedUnit(t *testing.T, bin, conf, state string) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/systemd/solovip.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.NewReplacer("/usr/bin/solovip", bin, "/etc/solovip/solovip.conf", conf+" --state-dir "+state,
		"[Unit]\n", "[Unit]\nDefaultDependencies=no\n", "\nProtect", "\n#Protect", "\nStateDirectory", "\n#StateDirectory").Replace(string(text))
	if !strings.Contains(unit, "ExecStart="+bin) {
		t.Fatal("the unit does not start /usr/bin/solovip")
	}
	return unit
}

// controlGroup makes one below that of version 2, and removes it with all that systemd made.
func controlGroup(t *testing.T) *os.File {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		words := strings.Fields(line)
		if words[2] != "cgroup2" {
			continue
		}
		path := filepath.Join(words[1], "stories-"+rand.Text())
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = exec.Command("find", path, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run() })
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		return dir
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no control groups of version 2 are mounted")
	}
	t.Skip("no control groups of version 2 are mounted")
	return nil
}

// in runs a command in its namespaces.
func (s *systemd) in(args ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(s.pid), "-n", "-m", "-p", "-i", "-u", "-C", "--"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// property returns a property of the unit.
func (s *systemd) property(name string) string {
	text, err := s.in("systemctl", "show", "solovip", "-p", name, "--value")
	if err != nil {
		return err.Error()
	}
	return text
}

// holds reports whether the address is on and the guarded unit runs.
func (s *systemd) holds() (address, service bool) {
	addrs, err := s.in("ip", "-o", "addr", "show", "eth0")
	active, _ := s.in("systemctl", "is-active", "web")
	return err == nil && strings.Contains(addrs, "192.168.61.30"), active == "active"
}

func (s *systemd) awaitHeld(held bool) time.Duration {
	s.b.t.Helper()
	return s.b.await(30*time.Second, fmt.Sprintf("address and service: %t", held), func() bool {
		address, service := s.holds()
		return address == held && service == held
	})
}

// TestShippedUnit runs the unit under a real systemd: an upgrade keeps address and service, a
// killed worker is no affair of systemd's, and when guardian and worker both stand still
// systemd stops the service, which nobody else can, and starts them anew.
func TestShippedUnit(t *testing.T) {
	t.Parallel()
	s := bootSystemd(t)
	if out, err := s.in("systemctl", "start", "solovip"); err != nil {
		t.Fatalf("start: %v: %s", err, out)
	}
	s.awaitHeld(true)
	guardian := s.property("MainPID")
	bin, _ := binary()
	worker := func() string { pid, _ := s.in("cat", "/run/solovip/control.lock"); return pid }

	if out, err := s.in(bin, "node", "--take-over"); err != nil {
		t.Fatalf("take over: %v: %s", err, out)
	}
	if address, service := s.holds(); !address || !service {
		t.Errorf("after the take-over: address on: %t, service runs: %t", address, service)
	}
	former := worker()
	if out, err := s.in("kill", "-KILL", former); err != nil {
		t.Fatalf("kill the worker: %v: %s", err, out)
	}
	s.b.await(20*time.Second, "another worker", func() bool { now := worker(); return now != "" && now != former })
	s.awaitHeld(true)
	if now := s.property("MainPID"); now != guardian || s.property("NRestarts") != "0" {
		t.Errorf("systemd has had to start it %s times, main process %s, want %s", s.property("NRestarts"), now, guardian)
	}

	if out, err := s.in("kill", "-STOP", guardian, worker()); err != nil {
		t.Fatalf("freeze both: %v: %s", err, out)
	}
	took := s.awaitHeld(false)
	t.Logf("frozen, all was stopped after %v", took.Round(time.Millisecond))
	s.b.await(20*time.Second, "a restart", func() bool { return s.property("NRestarts") == "1" && s.property("ActiveState") == "active" })
	s.awaitHeld(true)

	if out, err := s.in("systemctl", "stop", "solovip"); err != nil {
		t.Fatalf("stop: %v: %s", err, out)
	}
	if address, service := s.holds(); address || service || s.property("Result") != "success" {
		t.Errorf("stopped with %s; address on: %t, service runs: %t", s.property("Result"), address, service)
	}
}
