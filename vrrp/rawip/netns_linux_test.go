package rawip

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a fresh network namespace that lives as long as the test.
type namespace struct{ file *os.File }

// newNamespace makes a namespace and moves the test's goroutine into it. The goroutine
// stays locked to its thread, which ends with the test and so never runs anything else.
func newNamespace(t *testing.T) namespace {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "a network namespace cannot be made here (needs root): %v", err)
	}
	ns := currentNamespace(t)
	run(t, "ip", "link", "set", "lo", "up")
	return ns
}

// enter moves the calling goroutine into the namespace. Sockets stay in the namespace in
// which they were opened, and processes start in that of the goroutine.
func (ns namespace) enter(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Errorf("enter namespace: %v", err)
	}
}

// path names the namespace for ip link.
func (ns namespace) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

// newPair makes two namespaces joined by a cable: veth0 with 10.9.0.1/24 in the first,
// veth0 with 10.9.0.2/24 in the second. The goroutine ends up in the first.
func newPair(t *testing.T) (near, far namespace) {
	t.Helper()
	far = newNamespace(t)
	near = newNamespace(t)
	run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth0",
		"netns", far.path())
	far.enter(t)
	run(t, "ip", "address", "add", "10.9.0.2/24", "dev", "veth0")
	run(t, "ip", "link", "set", "veth0", "up")
	near.enter(t)
	run(t, "ip", "address", "add", "10.9.0.1/24", "dev", "veth0")
	run(t, "ip", "link", "set", "veth0", "up")
	return near, far
}

// run runs a command in the goroutine's namespace.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, "%v", err)
	}
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, output)
	}
}

// missing ends a test that cannot run here: a failure in CI, where all must be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// currentNamespace returns the namespace of the calling goroutine.
func currentNamespace(t *testing.T) namespace {
	t.Helper()
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return namespace{file}
}
