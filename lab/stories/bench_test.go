package stories_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// built is where binary has put the solovip under test; empty: it was not asked for.
var built string

// binaryEnv names the binary in a machine, where it cannot be built.
const binaryEnv = "SOLOVIP_BINARY"

// binary is the solovip under test, built once.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(binaryEnv); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "solovip-stories-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "solovip")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/solovip").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build solovip: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	// The stories wait for timers most of the time: more of them than processors go well
	// together. Who gives the flag knows better.
	const together = 6
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && runtime.GOMAXPROCS(0) < together {
		if err := flag.Set("test.parallel", strconv.Itoa(together)); err != nil {
			panic(err) // there is no such flag
		}
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built) // a temporary directory
	}
	os.Exit(code)
}

// bench is two balancers and a client on one switch.
type bench struct {
	t   *testing.T
	dir string
	net string // first three octets
	tag string // of its namespaces' names
}

// benches counts the benches that were made.
var benches atomic.Int32

// machine is one namespace with its daemon.
type machine struct {
	b    *bench
	name string // n1, n2 or c1
	addr string
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// newBench makes the namespaces, or skips without root (never in CI).
func newBench(t *testing.T, net string) *bench {
	t.Helper()
	need(t, "ip", "/usr/sbin/nginx")
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("these stories want root")
		}
		t.Skip("these stories want root")
	}
	b := &bench{t: t, dir: t.TempDir(), net: net, tag: fmt.Sprintf("sv%d-%d-", os.Getpid(), benches.Add(1))}
	b.run("ip", "netns", "add", b.ns("sw"))
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", b.ns("sw")).Run() })
	b.run("ip", "-n", b.ns("sw"), "link", "add", "br0", "type", "bridge")
	b.run("ip", "-n", b.ns("sw"), "link", "set", "br0", "up")
	return b
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing: `make deps` installs it", p)
			}
			t.Skipf("%s is missing: `make deps` installs it", p)
		}
	}
}

func (b *bench) ns(name string) string { return b.tag + name }

func (b *bench) run(args ...string) {
	b.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// meshKey makes a key of the mesh and returns the file's path.
func (b *bench) meshKey() string {
	b.t.Helper()
	bin, err := binary()
	if err != nil {
		b.t.Fatal(err)
	}
	key := filepath.Join(b.dir, "mesh.key")
	b.run(bin, "keygen", "-o", key)
	return key
}

// machine adds a machine with the given last octet.
func (b *bench) machine(name string, octet int) *machine {
	b.t.Helper()
	m := &machine{b: b, name: name, addr: fmt.Sprintf("%s.%d", b.net, octet), dir: filepath.Join(b.dir, name)}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.run("ip", "netns", "add", b.ns(name))
	b.t.Cleanup(func() {
		m.kill()
		_ = exec.Command("ip", "netns", "del", b.ns(name)).Run()
	})
	b.run("ip", "-n", b.ns("sw"), "link", "add", "p"+name, "type", "veth", "peer", "name", "eth0", "netns", b.ns(name))
	b.run("ip", "-n", b.ns("sw"), "link", "set", "p"+name, "master", "br0", "up")
	b.run("ip", "-n", b.ns(name), "addr", "add", m.addr+"/24", "dev", "eth0")
	b.run("ip", "-n", b.ns(name), "link", "set", "eth0", "up")
	b.run("ip", "-n", b.ns(name), "link", "set", "lo", "up")
	return m
}

// write puts a file into the machine's directory; @DIR@ in it is that directory.
func (m *machine) write(name, text string, mode os.FileMode) string {
	m.b.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "@DIR@", m.dir)), mode); err != nil {
		m.b.t.Fatal(err)
	}
	return path
}

// solovip starts a node on a configuration.
func (m *machine) solovip(conf string) {
	m.b.t.Helper()
	bin, err := binary()
	if err != nil {
		m.b.t.Fatal(err)
	}
	m.start(bin, "node", "-D", "-f", conf, "--run-dir", filepath.Join(m.dir, "run"), "--state-dir", filepath.Join(m.dir, "state"))
}

// keepalived starts the real one on a configuration.
func (m *machine) keepalived(conf string) {
	m.b.t.Helper()
	need(m.b.t, "keepalived")
	m.start("keepalived", "-n", "-l", "-P", "-f", conf, "-p", filepath.Join(m.dir, "k.pid"), "-r", filepath.Join(m.dir, "v.pid"))
}

func (m *machine) start(args ...string) {
	m.b.t.Helper()
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		m.b.t.Fatal(err)
	}
	m.cmd = exec.Command("ip", append([]string{"netns", "exec", m.b.ns(m.name)}, args...)...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := m.cmd.Start(); err != nil {
		m.b.t.Fatal(err)
	}
	m.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		log.Close()
		close(done)
	}(m.cmd, m.done)
}

// signal sends a signal to the daemon (`ip netns exec` has become it).
func (m *machine) signal(s syscall.Signal) {
	m.b.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.b.t.Fatalf("signal %v to %s: %v", s, m.name, err)
	}
}

// stop ends the daemon in order and waits for it.
func (m *machine) stop() {
	m.b.t.Helper()
	m.signal(syscall.SIGTERM)
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		m.b.t.Fatalf("%s does not stop:\n%s", m.name, m.tail())
	}
}

// kill ends whatever of the machine still runs.
func (m *machine) kill() {
	if m.cmd == nil {
		return
	}
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-m.done
}

func (m *machine) tail() string {
	text, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// has reports whether the machine has an address, with a label if one is given.
func (m *machine) has(addr, label string) bool {
	out, err := exec.Command("ip", "-n", m.b.ns(m.name), "-o", "addr", "show", "dev", "eth0").Output()
	if err != nil {
		m.b.t.Errorf("addresses of %s: %v", m.name, err)
		return false
	}
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte(" "+addr+"/")) && bytes.Contains(line, []byte(label)) {
			return true
		}
	}
	return false
}

// get asks for a page from inside the machine.
func (m *machine) get(url string) string {
	out, err := exec.Command("ip", "netns", "exec", m.b.ns(m.name), os.Args[0], "-test.run", "^TestGetPage$", "-test.v", "-get", url).Output()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		if page, ok := strings.CutPrefix(line, "PAGE "); ok {
			return strings.TrimSpace(page)
		}
	}
	return ""
}

// page is what TestGetPage does in the other namespace.
func page(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return string(body), errors.Join(err, resp.Body.Close())
}

// looks returns how often the world is polled: in a machine more seldom, because there each program
// that is run costs what its instructions do.
func looks(here, inMachine time.Duration) time.Duration {
	if os.Getenv(binaryEnv) != "" {
		return inMachine
	}
	return here
}

// await polls the world, which has no event for this, until the condition holds.
func (b *bench) await(limit time.Duration, what string, holds func() bool, ms ...*machine) time.Duration {
	b.t.Helper()
	begin := time.Now()
	tick := time.NewTicker(looks(5*time.Millisecond, 400*time.Millisecond))
	defer tick.Stop()
	for range tick.C {
		if holds() {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			break
		}
	}
	for _, m := range ms {
		b.t.Logf("log of %s:\n%s", m.name, m.tail())
	}
	b.t.Fatalf("%s: not within %v", what, limit)
	return 0
}

// never fails if the condition holds at any time of the window.
func (b *bench) never(window time.Duration, what string, holds func() bool, ms ...*machine) {
	b.t.Helper()
	tick := time.NewTicker(looks(20*time.Millisecond, 200*time.Millisecond))
	defer tick.Stop()
	for end := time.Now().Add(window); time.Now().Before(end); <-tick.C {
		if holds() {
			for _, m := range ms {
				b.t.Logf("log of %s:\n%s", m.name, m.tail())
			}
			b.t.Fatalf("%s, within the first %v", what, window-time.Until(end))
		}
	}
}
