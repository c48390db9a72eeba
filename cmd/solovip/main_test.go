package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/mesh"
)

// deadline is how long a test waits for what must happen.
const deadline = 10 * time.Second

// asSolovip makes the test binary be the program: tests that send signals or look at
// exit codes start it so.
const asSolovip = "SOLOVIP_TEST_MAIN"

func TestMain(m *testing.M) {
	switch os.Getenv(asSolovip) {
	case "":
		os.Exit(m.Run())
	case "stubborn":
		stubborn()
	default:
		main()
	}
}

// solovip runs the program in this process.
func solovip(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var o, e bytes.Buffer
	code = run(ctx, append([]string{"solovip"}, args...), &o, &e)
	return code, o.String(), e.String()
}

// child returns the program as a process that has not been started.
func child(t *testing.T, as string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asSolovip+"="+as)
	return cmd
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		name, args string
		code       int
		out, err   string
	}{
		{"nothing", "", 0, "COMMANDS:", ""},
		{"help", "--help", 0, "solovip - one virtual IP", ""},
		{"help of a command", "node --help", 0, "--use-file FILE", ""},
		{"version", "version", 0, "solovip ", ""},
		{"unknown command", "fly", 2, "", "solovip: there is no command 'solovip fly': 'solovip --help' lists them\n"},
		{"unknown subcommand", "config fly", 2, "", "solovip: there is no command 'solovip config fly': 'solovip config --help' lists them\n"},
		{"unknown flag", "status --fly", 2, "", "solovip: flag provided but not defined: -fly: 'solovip status --help' lists the flags\n"},
		{"unknown word", "status all", 2, "", "solovip: \"all\" is not understood: 'solovip status --help' shows the usage\n"},
		{"two files", "config check a b", 2, "", "one FILE at a time"},
		{"keepalived's flags", "node -t -nlD -f /nowhere/x.conf", 2, "/nowhere/x.conf", ""},
		{"keepalived's long flags", "witness --config-test --dont-fork --log-console --log-detail --config-id a --use-file /nowhere/x.conf", 2, "/nowhere/x.conf", ""},
		{"lab", "lab list", 0, "failover", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errOut := solovip(t, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.err) || (c.err == "") != (errOut == "") {
				t.Errorf("exit code %d, want %d; stdout, want %q:\n%s\nstderr, want %q:\n%s", code, c.code, c.out, out, c.err, errOut)
			}
		})
	}
}

func TestFlagsMayFollowArguments(t *testing.T) {
	app := newApp(nil, nil)
	for _, c := range []struct{ args, want string }{
		{"solovip config check a.conf --strict", "solovip config check --strict a.conf"},
		{"solovip config check a.conf -i lb01 --strict", "solovip config check -i lb01 --strict a.conf"},
		{"solovip config check a.conf --config-id=lb01", "solovip config check --config-id=lb01 a.conf"},
		{"solovip node x -nf file -D", "solovip node -nf file -D x"},
		{"solovip config check -- --strict", "solovip config check -- --strict"},
		{"solovip config check a.conf -i", "solovip config check -i a.conf"},
		{"solovip --help", "solovip --help"},
		{"solovip", "solovip"},
	} {
		if got := strings.Join(flagsFirst(app.Commands, strings.Fields(c.args)), " "); got != c.want {
			t.Errorf("%s became %s, want %s", c.args, got, c.want)
		}
	}
}

func TestKeygenMakesAKeyThatTheMeshTakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mesh.key")
	if code, _, errOut := solovip(t, "keygen", "-o", file); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	first, err := mesh.LoadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	code, _, errOut := solovip(t, "keygen", "-o", file)
	if code != exitFailed || !strings.Contains(errOut, "not overwritten") {
		t.Errorf("a key in use was overwritten: exit code %d, %s", code, errOut)
	}
	code, out, _ := solovip(t, "keygen")
	printed := filepath.Join(dir, "printed.key")
	if err := os.WriteFile(printed, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := mesh.LoadKey(printed)
	if code != 0 || err != nil {
		t.Fatalf("exit code %d, the key on stdout is no key: %v", code, err)
	}
	if bytes.Equal(first, second) {
		t.Error("two keys are the same")
	}
}

const plainConfig = `global_defs {
    router_id lb01
}
vrrp_instance VI_1 {
    state BACKUP
    interface lo
    virtual_router_id 51
    virtual_ipaddress {
        10.9.9.9/32
    }
}
`

func TestConfigCheckExitCodes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	clean := write("clean.conf", plainConfig)
	warned := write("warned.conf", strings.Replace(plainConfig, "state BACKUP", "state SLAVE", 1))
	broken := write("broken.conf", strings.TrimSuffix(plainConfig, "}\n"))
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"clean", []string{"config", "check", clean}, 0, "0 errors, 0 warnings\n"},
		{"clean, strict", []string{"config", "check", "--strict", clean}, 0, "0 errors, 0 warnings\n"},
		{"warned", []string{"config", "check", warned}, 0, "0 errors, 1 warning\n"},
		{"warned, strict", []string{"config", "check", warned, "--strict"}, 1, warned + ":5:"},
		{"broken", []string{"config", "check", broken}, 2, broken + ":4:"},
		{"node -t", []string{"node", "-t", "-f", warned}, 0, "0 errors, 1 warning\n"},
		{"node -t broken", []string{"node", "--config-test", "--use-file", broken}, 2, "error: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errOut := solovip(t, c.args...)
			if code != c.code || !strings.Contains(out, c.out) || errOut != "" {
				t.Errorf("exit code %d, want %d; stdout, want %q:\n%s\nstderr: %s", code, c.code, c.out, out, errOut)
			}
		})
	}
}

func TestConfigTimingShowsTheInequality(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "lb01.conf")
	cluster := "cluster edge {\n node a 10.0.0.11\n node b 10.0.0.12\n insecure on\n}\n" +
		"witness {\n endpoints http://10.0.0.13:2379\n timing fast\n}\n"
	const voters = "cluster edge {\n node a 10.0.0.11\n node b 10.0.0.12\n witness c 10.0.0.13\n insecure on\n}\n"
	const byLifetime, dog = "fencing {\n gate lifetime\n}\n", "fencing {\n watchdog required\n}\n"
	const guard = "guard web {\n protects VI_1\n systemd nginx\n stop_timeout 2\n}\n"
	for _, c := range []struct {
		text string
		code int
		want string
	}{
		{plainConfig, 0, "no cluster block: mode vrrp"},
		{plainConfig + dog, 0, "VI_1 is taken over 2.609s to 3.609s after its holder loses power\n"},
		{plainConfig + cluster, 0, "P  150ms   renew"},
		{plainConfig + cluster, 0, "VI_1 is taken over 565ms to 715ms after its holder loses power (by VRRP alone: 2.609s to 3.609s)\n"},
		{plainConfig + voters, 0, "2.609s to 3.609s after its holder loses power\n"},
		{plainConfig + cluster, 0, "L >= (R + X)(1 + 2 rho): 715ms >= 714ms\n"},
		{plainConfig + strings.Replace(cluster, "fast", "0.1 1 1.05", 1), 2, "is not safe"},
		{plainConfig + strings.Replace(cluster, "fast", "auto", 1) + byLifetime, 0, "X  1.3s    late"},
		{plainConfig + strings.Replace(cluster, "fast", "auto", 1) + byLifetime, 0, "L >= (R + X)(1 + 2 rho): 3.57s >= 3.57s\n"},
		{plainConfig + cluster + dog, 0, "T  2s      watchdog"},
		{plainConfig + cluster + dog + guard, 0, "take to stop: 3s <= 3.05s\n"},
		{plainConfig + strings.Replace(cluster, "fast", "0.05 0.2 0.4", 1) + dog + strings.Replace(guard, "out 2", "out 0.1", 1), 0, "1s is MORE than 850ms"},
		{plainConfig + cluster + byLifetime, 2, "is not safe: wait 715ms must be at least (hold 600ms + late 1.3s)"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errOut := solovip(t, "config", "timing", file)
		if code != c.code || !strings.Contains(out+errOut, c.want) {
			t.Errorf("exit code %d, want %d; output, want %q:\n%s%s", code, c.code, c.want, out, errOut)
		}
		if strings.Contains(c.want, "MORE") {
			if code, out, _ := solovip(t, "config", "check", file); code != exitUsage || !strings.Contains(out, "nothing would ever be held") {
				t.Errorf("config check of a watchdog that is too slow: exit code %d:\n%s", code, out)
			}
			continue
		}
		if code, out, _ := solovip(t, "config", "check", file); code != c.code || code != 0 && !strings.Contains(out, "is not safe") {
			t.Errorf("config check: exit code %d, want %d:\n%s", code, c.code, out)
		}
	}
}

func TestDaemonRefusesABrokenConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "broken.conf")
	if err := os.WriteFile(file, []byte("vrrp_instance VI_1 {\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"node", "witness"} {
		out, err := child(t, "solovip", command, "-f", file, "--run-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state")).CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != exitUsage || strings.Count(string(out), "solovip: "+file) != 1 || !strings.Contains(string(out), "solovip config check") {
			t.Errorf("%s: ended with %v, want exit code %d and the reason once:\n%s", command, err, exitUsage, out)
		}
	}
}

func TestSignals(t *testing.T) {
	var out bytes.Buffer
	ctx, reload, stop := catchSignals(t.Context(), newLogger(&out, false, ""))
	send := func(s syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	send(syscall.SIGHUP)
	select {
	case <-reload:
	case <-time.After(deadline):
		t.Fatal("SIGHUP asks for no reload")
	}
	if ctx.Err() != nil {
		t.Fatal("SIGHUP ends the daemon")
	}
	send(syscall.SIGTERM)
	select {
	case <-ctx.Done():
	case <-time.After(deadline):
		t.Fatal("SIGTERM does not stop the daemon")
	}
	stop()
	if !strings.Contains(out.String(), "stopping in order") {
		t.Errorf("the log does not say why:\n%s", out.String())
	}
}

// stubborn is a daemon that does not stop when it is told to.
func stubborn() {
	ctx, _, _ := catchSignals(context.Background(), newLogger(os.Stderr, false, ""))
	_, _ = os.Stdout.WriteString("up\n") // the test reads it or fails
	<-ctx.Done()
	_, _ = os.Stdout.WriteString("stopping\n")
	select {}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	cmd := child(t, "stubborn")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"up\n", "stopping\n"} {
		b := make([]byte, len(word))
		if _, err := out.Read(b); err != nil || string(b) != word {
			t.Fatalf("read %q, want %q: %v", b, word, err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(deadline):
		t.Fatal("the second SIGTERM does not end it")
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitFailed {
		t.Errorf("it ended with %v, want exit code %d", err, exitFailed)
	}
}

func TestLogHasNoTimeWhereTheJournalHasOne(t *testing.T) {
	dir := t.TempDir()
	journal, err := os.Create(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	stream := streamOf(t, journal)
	for _, c := range []struct {
		name, stream string
		time         bool
	}{
		{"journal", stream, false},
		{"inherited from a service, but stderr goes elsewhere", "1:1", true},
		{"no journal", "", true},
	} {
		if err := journal.Truncate(0); err != nil {
			t.Fatal(err)
		}
		log := newLogger(journal, false, c.stream)
		log.Info("hello", "claim", "VI_1")
		log.Debug("unseen")
		b, err := os.ReadFile(journal.Name())
		if err != nil {
			t.Fatal(err)
		}
		line := string(bytes.Trim(b, "\x00"))
		if got := strings.Contains(line, "time="); got != c.time || !strings.HasSuffix(line, "level=INFO msg=hello claim=VI_1\n") {
			t.Errorf("%s: logged %q", c.name, line)
		}
	}
	var out bytes.Buffer
	newLogger(&out, true, "").Debug("seen")
	if !strings.Contains(out.String(), "level=DEBUG msg=seen") {
		t.Errorf("-D does not log at the debug level: %q", out.String())
	}
}

// Every exit code that the program uses has to be in its manual.
func TestExitCodesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |"} {
		if !bytes.Contains(doc, []byte(code)) {
			t.Errorf("docs/operations.md has no row %s", code)
		}
	}
	for _, c := range newApp(nil, nil).Commands {
		if !c.Hidden && !bytes.Contains(doc, []byte("`solovip "+c.Name)) {
			t.Errorf("docs/operations.md does not name `solovip %s`", c.Name)
		}
		for _, sub := range c.Subcommands {
			if !sub.Hidden && !bytes.Contains(doc, []byte("`solovip "+c.Name+" "+sub.Name)) {
				t.Errorf("docs/operations.md does not name `solovip %s %s`", c.Name, sub.Name)
			}
		}
	}
}

func TestHiddenCommandsOfTheLabAreThere(t *testing.T) {
	app := newApp(nil, nil)
	lab := find(app.Commands, "lab")
	var names []string
	for _, c := range lab.Subcommands {
		if c.Hidden {
			names = append(names, c.Name)
		}
	}
	if !slices.Contains(names, "service") {
		t.Errorf("hidden commands of the lab: %v, want service among them", names)
	}
}
