package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/solovip/solovip/internal/await"
)

// elsewhere is set in the process that runs a test in namespaces of its own.
const elsewhere = "SOLOVIP_TEST_ELSEWHERE"

// inOwnNamespaces runs the calling test once more, in a process with its own network and mounts, and
// returns true there. Outside it reports how that went and returns false.
func inOwnNamespaces(t *testing.T) bool {
	t.Helper()
	if os.Getenv(elsewhere) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), elsewhere+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("this user may not make namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("in its own namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// ip runs ip(8). A missing tool fails the test where it must not be missing.
func ip(t *testing.T, args string) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// At boot the witness may be started before the network has its address.
func TestWaitsForItsAddress(t *testing.T) {
	if !inOwnNamespaces(t) {
		return
	}
	ip(t, "link set lo up")
	l := &await.Log{}
	cfg := config(t, l)
	cfg.ListenClient = []string{"http://10.0.0.13:2379"}
	r := run(t, cfg)
	await.That(t, "it says that it cannot listen", func() bool { return strings.Contains(l.String(), "cannot listen yet") })
	if !strings.Contains(l.String(), "cannot assign requested address") {
		t.Errorf("the log must say why:\n%s", l)
	}
	ip(t, "addr add 10.0.0.13/32 dev lo")
	r.waitReady(t)
}

// A full disk must end the witness with an error that says so: what it cannot write
// it must not answer.
func TestFullDisk(t *testing.T) {
	if !inOwnNamespaces(t) {
		return
	}
	ip(t, "link set lo up")
	dir := t.TempDir()
	// Private first, or the mount shows outside.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=160m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	cfg := config(t, &await.Log{})
	cfg.DataDir = filepath.Join(dir, "w")
	r := run(t, cfg)
	r.waitReady(t)
	fill(t, filepath.Join(dir, "filler"))
	c := dial(t, cfg.ListenClient[0])
	ctx := within(t)
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = c.Put(ctx, fmt.Sprint("k", i), strings.Repeat("v", 100<<10))
		}
	}()
	err := r.end(t)
	if err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("Run = %v, want an error that says the disk is full", err)
	}
	t.Log(err)
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	_ = f.Close()
}

// Restarting the witness is all that an operator has to do about a full database.
func TestRestartFreesSpace(t *testing.T) {
	l := &await.Log{}
	cfg := config(t, l)
	cfg.QuotaBytes = 1 << 20
	r := run(t, cfg)
	r.waitReady(t)
	c := dial(t, cfg.ListenClient[0])
	var err error
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
		_, err = c.Put(within(t), "k", strings.Repeat("v", 50<<10))
	}
	if err == nil || !strings.Contains(err.Error(), "database space exceeded") {
		t.Fatalf("Put = %v, want it refused for lack of space", err)
	}
	r.halt(t)

	r = run(t, cfg)
	r.waitReady(t)
	c = dial(t, cfg.ListenClient[0])
	if _, err := c.Put(within(t), "k", "v"); err != nil {
		t.Errorf("Put after the restart: %v", err)
	}
	alarms, err := c.AlarmList(within(t))
	if err != nil || len(alarms.Alarms) != 0 {
		t.Errorf("AlarmList = %v, %v; want none", (*pb.AlarmResponse)(alarms), err)
	}
	if !strings.Contains(l.String(), "witness database was full") {
		t.Errorf("it must be logged:\n%s", l)
	}
}

func TestStopsBeforeReady(t *testing.T) {
	for range 5 {
		cfg := config(t, &await.Log{})
		run(t, cfg).halt(t)
	}
}

// While it stops it answers nobody, so it must not wait for its clients to go.
func TestStopsWithWatchers(t *testing.T) {
	cfg := config(t, &await.Log{})
	r := run(t, cfg)
	r.waitReady(t)
	c := dial(t, cfg.ListenClient[0])
	events := c.Watch(within(t), "k")
	if _, err := c.Put(within(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	<-events
	start := time.Now()
	r.halt(t)
	if took := time.Since(start); took > time.Second {
		t.Errorf("stopped after %v", took)
	}
}
