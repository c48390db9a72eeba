package vmtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
)

// insideEnv names, inside a machine, the [Shared] machine that it is; chosenEnv the tests to run.
const (
	insideEnv = "SOLOVIP_VM"
	chosenEnv = "SOLOVIP_VM_TESTS"
)

// prefix begins the name of each test that runs inside a machine: so the names are known
// before any of them runs.
const prefix = "TestVM"

// Where the tests are in the machine.
const guestTests = "/test"

// limit bounds a machine that runs tests.
const limit = 4 * time.Minute

// Shared is a machine in which tests of a package run, one after the other, in one boot.
// It is a package variable of the tests, so that they share it.
type Shared struct {
	Name       string // of the machine, once in a package
	vm.Machine        // Command is not used

	once   sync.Once
	result vm.Result
	err    error
}

// Test runs the body of a test inside the machine. On the host the first call boots it, and
// runs in it every chosen test of the package whose name begins with TestVM and that names
// the same machine; the others only report what became of theirs. The package's testdata is in the
// machine and its directory is the working directory, as always.
//
// What is missing on the host skips the test, unless CI=true, where it fails.
func Test(t *testing.T, s *Shared, body func(t *testing.T)) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), prefix) || strings.Contains(t.Name(), "/") {
		t.Fatalf("%s: a test that runs in a machine is no subtest, and its name begins with %s", t.Name(), prefix)
	}
	switch inside := os.Getenv(insideEnv); inside {
	case "":
		s.report(t)
	case s.Name:
		body(t)
	default:
		t.Skip("of another machine")
	}
}

// Missing skips the test for what is missing on this host, or fails it in CI, where
// everything has to be there. Any other error fails it.
func Missing(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, vm.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// report boots the machine if nobody has, and tells how this test went in it.
func (s *Shared) report(t *testing.T) {
	t.Helper()
	s.once.Do(func() { s.result, s.err = s.run() })
	if s.err != nil {
		Missing(t, s.err)
	}
	lines, verdict := find(s.result.Output, t.Name())
	for _, l := range lines {
		t.Log(l)
	}
	switch verdict {
	case "PASS":
	case "SKIP":
		t.Skip("it has skipped in the machine")
	case "FAIL":
		t.Fail()
	default:
		t.Fatalf("it has not ended in the machine: %v", s.result.Err())
	}
}

// run boots the machine and runs the chosen tests in it.
func (s *Shared) run() (vm.Result, error) {
	self, err := os.Executable()
	if err != nil {
		return vm.Result{}, fmt.Errorf("find the tests' own binary: %w", err)
	}
	names, err := chosen(self)
	if err != nil {
		return vm.Result{}, err
	}
	m := s.Machine
	m.Files = map[string]string{guestTests + "/tests": self}
	maps.Copy(m.Files, s.Files)
	if _, err := os.Stat("testdata"); err == nil {
		m.Files[guestTests+"/testdata"] = "testdata"
	}
	m.Env = append(slices.Clone(m.Env), insideEnv+"="+s.Name, "CI="+os.Getenv("CI"), chosenEnv+"=^("+strings.Join(names, "|")+")$")
	m.Command = []string{"sh", "-c", fmt.Sprintf(`cd %s && exec ./tests -test.v -test.timeout=%v -test.run="$%s"`,
		guestTests, limit-10*time.Second, chosenEnv)}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return m.Run(ctx)
}

// chosen returns the names of the tests for machines that the command line asks for.
func chosen(self string) ([]string, error) {
	pattern := "^" + prefix
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() != "" {
		pattern, _, _ = strings.Cut(f.Value.String(), "/")
	}
	out, err := exec.CommandContext(context.Background(), self, "-test.list", pattern).Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests of %s: %w", self, err)
	}
	var names []string
	for name := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, regexp.QuoteMeta(name))
		}
	}
	return names, nil
}

// find returns what a test printed, as `go test -v` shows it, and its verdict.
func find(output, name string) (lines []string, verdict string) {
	ours := false
	for l := range strings.Lines(output) {
		l = strings.TrimRight(l, "\n")
		if run, ok := strings.CutPrefix(l, "=== RUN   "); ok && !strings.Contains(run, "/") {
			ours = run == name
			continue
		}
		if l == "PASS" || l == "FAIL" {
			ours = false // the end of all
		}
		if !ours {
			continue
		}
		if word, of, ok := strings.Cut(strings.TrimPrefix(l, "--- "), ": "); ok && strings.HasPrefix(l, "--- ") && strings.HasPrefix(of, name+" ") {
			verdict = word
		}
		lines = append(lines, l)
	}
	return lines, verdict
}
