package config

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestKeepalivedAgrees runs the real keepalived over every file of testdata whose first
// line says what it makes of it:
//
//	clean      it finds nothing to complain of: we find no error
//	complains  it finds something, and runs: we find something too
//	exits      it does not run: we find an error
func TestKeepalivedAgrees(t *testing.T) {
	program := keepalived(t)
	inNetwork(t)
	seen := make(map[string]int)
	for _, file := range samples(t) {
		want := verdict(t, file)
		if want == "" {
			continue
		}
		seen[want]++
		got, out := judge(t, program, file) // here: a subtest runs on another thread
		t.Run(filepath.Base(file), func(t *testing.T) {
			if got != want {
				t.Errorf("keepalived: %s, the first line says %s\n%s", got, want, out)
			}
			_, report := Load(filepath.Base(file), testOptions())
			switch {
			case want == "clean" && report.HasErrors():
				t.Errorf("keepalived runs it, we have errors: %v", report.Errors())
			case want == "complains" && len(report.Findings) == 0:
				t.Error("keepalived complains, we find nothing")
			case want == "exits" && !report.HasErrors():
				t.Error("keepalived does not run it, we find no error")
			}
		})
	}
	for _, v := range []string{"clean", "complains", "exits"} {
		if seen[v] == 0 {
			t.Errorf("no file for the verdict %q", v)
		}
	}
}

// keepalived returns the path of the program, which CI must have.
func keepalived(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"keepalived", "/usr/sbin/keepalived"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	without(t, "keepalived is not installed")
	return ""
}

// without skips the test, or fails it in CI.
func without(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// inNetwork moves the test's thread into a network of its own with eth0 and eth1; what
// it starts is there too. The thread ends with the test, and the network with it.
func inNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread is spoiled
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		without(t, "network namespace: "+err.Error())
	}
	for _, args := range []string{
		"link set lo up", "link add eth0 type veth peer name eth1",
		"link set eth0 up", "link set eth1 up", "address add 10.9.9.1/24 dev eth0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			without(t, "ip "+args+": "+string(out))
		}
	}
}

// verdict returns what the first line of a file says of keepalived; empty: nothing.
func verdict(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	s := bufio.NewScanner(f)
	s.Scan()
	v, _ := strings.CutPrefix(s.Text(), "# keepalived: ")
	if v == s.Text() {
		return ""
	}
	return v
}

// judge returns what keepalived makes of a file. Its exit codes: 0 nothing found, 4 and 5
// something found, 6 scripts that run as root and perhaps something else, any other a
// file that it does not run: 2 for a value that is missing, 255 for some broken blocks.
func judge(t *testing.T, program, file string) (verdict, output string) {
	t.Helper()
	cmd := exec.Command(program, "--config-test", "--config-id=node1", "--use-file="+file)
	out, err := cmd.CombinedOutput()
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	said := 0
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "SECURITY VIOLATION") {
			said++
		}
	}
	switch {
	case code != 0 && code != 4 && code != 5 && code != 6:
		return "exits", string(out)
	case code == 4 || code == 5 || said > 0:
		return "complains", string(out)
	}
	return "clean", string(out)
}
