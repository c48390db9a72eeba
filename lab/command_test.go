package lab_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab"
	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/report"
)

// TestMain makes the test binary a binary of the lab, as runs start their own again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "lab" {
		if err := command(os.Stdout).Run(os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func command(out io.Writer) *cli.App {
	return &cli.App{
		Name: "solovip", Commands: []*cli.Command{lab.Command()}, Writer: out,
		ExitErrHandler: func(*cli.Context, error) {}, // the caller looks at the error
	}
}

func TestListNamesEveryScenario(t *testing.T) {
	var out strings.Builder
	if err := command(&out).Run([]string{"solovip", "lab", "list"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"failover", "vrrp-blocked", "vrrp-blocked-inbound", "power-off", "handover", "witness-stopped", "etcd-leader-lost",
	} {
		if !strings.Contains(out.String(), name+" ") {
			t.Errorf("%s is not listed", name)
		}
	}
	if strings.Contains(out.String(), "\t") {
		t.Error("not aligned")
	}
}

func TestRunRefusesWhatItDoesNotKnow(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{nil, "name a scenario"},
		{[]string{"power-of"}, `did you mean "power-off"?`},
		{[]string{"witness"}, "there are: "},
		{[]string{"./no.scenario"}, "no.scenario: no such file"},
		{[]string{"testdata/mistyped.scenario"}, `testdata/mistyped.scenario:6:5: "powr-off" is not a step`},
		{[]string{"--system", "heartbeat", "power-off"}, "lease, quorum, veto, vrrp, keepalived"},
		{[]string{"--repeat", "0", "power-off"}, "at least 1"},
		{[]string{"--html", "/nowhere/page.html", "power-off"}, "write the page /nowhere/page.html"},
		{[]string{"--keepalived", "handover"}, "handover cannot be played on keepalived: it expects nothing of it (give --system: lease, quorum, veto)"},
		{[]string{"--keep", "clock-step"}, "clock-step is played in a machine of its own, which ends with the run: leave out --keep"},
		{[]string{"--match", "("}, "--match: error parsing regexp"},
		{[]string{"--match", "^no-such"}, `no scenario matches "^no-such"`},
		{[]string{"--match", "^handover$", "--system", "keepalived"}, "none of these scenarios is played on these systems"},
	}
	for _, tt := range tests {
		err := command(io.Discard).Run(append([]string{"solovip", "lab", "run"}, tt.args...))
		var coder cli.ExitCoder
		if !errors.As(err, &coder) || coder.ExitCode() != 2 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want exit status 2 and %q", tt.args, err, tt.want)
		}
	}
}

// What is printed of a scenario is a file to begin with.
func TestListPrintsAScenario(t *testing.T) {
	var out strings.Builder
	if err := command(&out).Run([]string{"solovip", "lab", "list", "--text", "power-off"}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "scenario power-off\ntext ") || !strings.Contains(out.String(), "\n    power-off n1\n") {
		t.Errorf("got %s", out.String())
	}
}

// withKeepalived returns this binary, which is one of the lab, for a test that runs keepalived.
func withKeepalived(t *testing.T) string {
	t.Helper()
	if _, err := netns.KeepalivedPath(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// Whatever happens to the runner, nothing may stay behind: no process, no file. Killed,
// it cannot tell anybody.
func TestNothingSurvivesTheRunner(t *testing.T) {
	self := withKeepalived(t)
	tmp, err := os.MkdirTemp("", "lab") //nolint:usetesting // short: a unix socket is made in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(t.Context(), self, "lab", "run", "--system", "keepalived", "power-off")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasSuffix(lines.Text(), "start all daemons") {
	}
	left := descendants(t, cmd.Process.Pid)
	if len(left) < 2 { // the stage's two processes, and daemons
		t.Errorf("only %d processes under the runner", len(left))
	}
	var watched []int
	for _, pid := range left {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd)
			watched = append(watched, fd)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed

	for _, fd := range watched {
		if err := awaitEnd(fd); err != nil {
			t.Errorf("a process outlives the runner: %v", err)
		}
	}
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) > 0 {
		t.Errorf("%d files are left (%v)", len(entries), err)
	}
}

// With --json all that goes to standard output is JSON, a report for each repetition of what
// matches; the progress goes elsewhere.
func TestRunsAsJSON(t *testing.T) {
	self := withKeepalived(t)
	cmd := exec.CommandContext(t.Context(), self, "lab", "run", "--json", "--repeat", "2", "--match", "^power-off$", "--system", "keepalived")
	var progress strings.Builder
	cmd.Stderr = &progress
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	var runs []report.Run
	if err := json.Unmarshal(out, &runs); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if len(runs) != 2 {
		t.Fatalf("%d reports, want 2", len(runs))
	}
	for _, r := range runs {
		if r.Scenario != "power-off" || !r.Pass() || r.Verdict.Figures.Final != "n2" || len(r.Result.History.Spans) == 0 {
			t.Errorf("%s, which failed by %q: %q holds at the end, %d spans", r.Scenario, r.Verdict.Failures, r.Verdict.Figures.Final, len(r.Result.History.Spans))
		}
	}
	if !strings.Contains(progress.String(), "power off n1") {
		t.Errorf("the progress is\n%s", &progress)
	}
}

// What --keep leaves can be entered as it says, and goes as it says.
func TestKeepLeavesTheNetwork(t *testing.T) {
	self := withKeepalived(t)
	cmd := exec.CommandContext(t.Context(), self, "lab", "run", "--keep", "--brief", "--system", "keepalived", "orderly-stop")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	enter, remove := "", ""
	for line := range strings.Lines(string(out)) {
		if host, command, ok := strings.Cut(strings.TrimSpace(line), " "); ok && host == "n2" {
			enter = strings.TrimSpace(command)
		}
		if command, ok := strings.CutPrefix(line, "Remove all of it: "); ok {
			remove = strings.TrimSpace(command)
		}
	}
	sh := func(command string) string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	addresses := sh(enter + " ip -o address show dev eth0")
	pid, err := strconv.Atoi(strings.Split(strings.TrimPrefix(remove, "kill -9 "), ";")[0])
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	sh(remove)
	if !strings.Contains(addresses, "10.77.0.100/24") {
		t.Errorf("n2 has taken over, and its addresses are\n%s", addresses)
	}
	if err := awaitEnd(fd); err != nil {
		t.Errorf("the stage goes on: %v", err)
	}
}

// awaitEnd waits until the process of a descriptor has ended. A signal, as the runtime sends
// to threads of its own, only interrupts the wait.
func awaitEnd(pidfd int) error {
	const patience = 10000 // ms
	for {
		switch n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, patience); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("it has not ended within %d ms", patience)
		default:
			return nil
		}
	}
}

// descendants returns the processes below one, when there are at least two and their
// number has stopped growing.
func descendants(t *testing.T, root int) []int {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	var all []int
	for time.Now().Before(deadline) {
		all = nil
		for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
			children := childrenOf(todo[0])
			all = append(all, children...)
			todo = append(todo, children...)
		}
		if len(all) >= 2 {
			break
		}
	}
	return all
}

func childrenOf(pid int) []int {
	var pids []int
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // that thread has ended
		}
		for field := range strings.FieldsSeq(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
