package guard

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/internal/await"
)

// unitFiles are the units of the systemd that the tests boot, each with properties of its own.
var unitFiles = map[string]string{
	"lab.target": "[Unit]\nDefaultDependencies=no\n",
	"web.service": `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'sleep 1000 & exec sleep 1001'
`,
	"stubborn.service": `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'trap "" TERM; while :; do sleep 0.1; done'
TimeoutStopSec=600
`,
	"restarted.service": `[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sleep 1000
Restart=always
RestartSec=50ms
`,
	"never-ready.service": `[Unit]
DefaultDependencies=no
[Service]
Type=notify
ExecStart=/bin/sleep 1000
TimeoutStartSec=600
`,
	"broken.service": `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/false
Type=oneshot
`,
}

// bootScript makes the namespaces ready for a systemd: it finds nothing of this system
// to start, and reaches nothing of it.
const bootScript = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i PATH="$PATH" container=lab SYSTEMD_UNIT_PATH="$1" SYSTEMD_LOG_TARGET=console /lib/systemd/systemd --system --unit=lab.target
`

// bootSystemd boots a real systemd as the first process of namespaces of its own, and
// returns its process id. In there dbus.NewWithContext, which is what the daemon uses,
// reaches that one.
func bootSystemd(t *testing.T) int {
	t.Helper()
	unavailable := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if os.Geteuid() != 0 {
		unavailable("needs root, for namespaces")
	}
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		unavailable("needs systemd: %v", err)
	}
	group, err := newCgroup("systemd", rand.Text())
	if err != nil {
		unavailable("needs a control group: %v", err)
	}
	t.Cleanup(group.remove)
	dir, err := os.Open(string(group))
	check(t, err)
	defer dir.Close()

	units := t.TempDir()
	for name, text := range unitFiles {
		check(t, os.WriteFile(filepath.Join(units, name), []byte(text), 0o644))
	}
	var said bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", bootScript, "boot", units)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd()),
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP,
	}
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all that is in its namespace
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("systemd: %s", said.String())
		}
	})
	root := fmt.Sprintf("/proc/%d/root", cmd.Process.Pid)
	await.That(t, "systemd listens", func() bool { _, err := os.Stat(root + "/run/systemd/private"); return err == nil })

	return cmd.Process.Pid
}

// startInside starts a command in the namespaces of a process.
func startInside(pid int, cmd *exec.Cmd) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is in the wrong namespaces
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			for _, ns := range []struct {
				name string
				kind int
			}{{"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS}} { // the latter hides the former
				f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name))
				if err != nil {
					return err
				}
				defer f.Close()
				if err := unix.Setns(int(f.Fd()), ns.kind); err != nil {
					return err
				}
			}
			return cmd.Start()
		}()
	}()
	return <-failed
}

func dial(ctx context.Context) (Units, error) { return dbus.NewWithContext(ctx) }

// inside says to the test that it is the one that talks to the systemd: that does not
// let anybody in whose process id it cannot see.
const inside = "SOLOVIP_TEST_INSIDE"

// A real systemd, driven as the daemon drives it.
func TestRealSystemd(t *testing.T) {
	if os.Getenv(inside) == "" {
		var out bytes.Buffer
		cmd := exec.Command(os.Args[0], "-test.run", "^TestRealSystemd$", "-test.v")
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), inside+"=1"), &out, &out
		check(t, startInside(bootSystemd(t), cmd))
		if err := cmd.Wait(); err != nil || !bytes.Contains(out.Bytes(), []byte("--- PASS: TestRealSystemd")) {
			t.Errorf("%v", err)
		}
		t.Logf("inside:\n%s", &out)
		return
	}
	await.That(t, "systemd answers", func() bool {
		c, err := dial(t.Context())
		if err != nil {
			return false
		}
		defer c.Close()
		p, err := c.GetUnitPropertiesContext(t.Context(), "lab.target")
		return err == nil && p["ActiveState"] == "active"
	})
	p := newPlace(t)
	unit := func(name string) *Guard {
		g, err := New(Config{
			Name: "web", RunDir: p.dir, Systemd: name, Units: dial,
			StopTimeout: 500 * time.Millisecond, StartTimeout: 10 * time.Second, HealthInterval: often, HealthTimeout: 5 * time.Second,
		})
		check(t, err)
		t.Cleanup(g.Close)
		return g
	}
	crash := func(name string) {
		t.Helper()
		c, err := dial(t.Context())
		check(t, err)
		defer c.Close()
		c.KillUnitContext(t.Context(), name, int32(syscall.SIGKILL))
	}
	property := func(unit, name string) any {
		t.Helper()
		c, err := dbus.NewWithContext(t.Context())
		check(t, err)
		defer c.Close()
		v, err := c.GetServicePropertyContext(t.Context(), unit, name)
		check(t, err)
		return v.Value.Value()
	}

	// Started, ended by itself, found, started again, stopped with all its processes.
	g := unit("web.service")
	wantState(t, g, Stopped)
	check(t, g.Start(t.Context(), nil))
	wantState(t, g, Running)
	crash("web.service")
	wantError(t, g.Watch(t.Context()), "has ended")
	check(t, g.Start(t.Context(), nil))
	check(t, g.Stop(t.Context()))
	wantState(t, g, Stopped)
	if left := processesOf(t, "web.service"); left != "" {
		t.Errorf("left of it: %s", left)
	}
	check(t, g.Stop(t.Context())) // once more is no mistake

	// One that does not stop for ten minutes by its own settings is killed after ours.
	g = unit("stubborn.service")
	check(t, g.Start(t.Context(), nil))
	began := time.Now()
	check(t, g.Stop(t.Context()))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	wantState(t, g, Stopped)

	// One that systemd itself brings back has not ended; and stopped it stays.
	g = unit("restarted.service")
	check(t, g.Start(t.Context(), nil))
	before := property("restarted.service", "NRestarts")
	crash("restarted.service")
	await.That(t, "systemd has started it anew", func() bool { return property("restarted.service", "NRestarts") != before })
	ctx, cancel := context.WithTimeout(t.Context(), 10*often)
	wantError(t, g.Watch(ctx), context.DeadlineExceeded.Error())
	cancel()
	check(t, g.Kill(t.Context()))
	wantState(t, g, Stopped)

	g, err := New(Config{
		Name: "web", RunDir: p.dir, Systemd: "never-ready.service", Units: dial,
		StopTimeout: time.Second, StartTimeout: 300 * time.Millisecond,
	})
	check(t, err)
	t.Cleanup(g.Close)
	wantError(t, g.Start(t.Context(), nil), "not up")
	wantState(t, g, Stopped)

	wantError(t, unit("broken.service").Start(t.Context(), nil), `ended as "failed"`)
	wantError(t, unit("absent.service").Start(t.Context(), nil), "absent.service")
}

// processesOf lists the processes in a unit's control group.
func processesOf(t *testing.T, unit string) string {
	t.Helper()
	text, err := os.ReadFile("/sys/fs/cgroup/system.slice/" + unit + "/cgroup.procs")
	if os.IsNotExist(err) {
		return ""
	}
	check(t, err)
	return strings.Join(strings.Fields(string(text)), " ")
}
