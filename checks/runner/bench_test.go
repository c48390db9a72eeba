package runner

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs"
)

// serverEnv makes the tests' binary a server of the benchmarks, checkerEnv one that checks as
// many addresses of it as it says.
const (
	serverEnv  = "SOLOVIP_BENCH_SERVER"
	checkerEnv = "SOLOVIP_BENCH_CHECKER"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(serverEnv) != "":
		fmt.Println(acceptAll())
		os.Exit(1)
	case os.Getenv(checkerEnv) != "":
		fmt.Println(checkAll(os.Getenv(checkerEnv)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// benchAddr is the address of a real server.
func benchAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i / 250), byte(i%250 + 1)}), benchPort)
}

const benchPort = 4096

// intervals are the times between two connections to the same address.
type intervals struct {
	mu   sync.Mutex // of what follows
	last map[[4]byte]time.Time
	all  []time.Duration
}

// acceptAll accepts connections to all addresses of this host, as cheaply as can be, so that
// what is measured is the checks. For each line that it reads it prints how many there
// were since the last, and how far from a second the 99th of a hundred intervals
// between two to one address was, in milliseconds.
func acceptAll() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: benchPort}); err != nil {
		return err
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return err
	}
	in := &intervals{last: make(map[[4]byte]time.Time)}
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			in.mu.Lock()
			all := in.all
			in.all = nil
			in.mu.Unlock()
			fmt.Println(len(all), percentile(all, 99))
		}
		os.Exit(0)
	}()
	for {
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return err
		}
		name, err := unix.Getsockname(conn)
		if err != nil {
			return err
		}
		_ = unix.Close(conn)
		now, addr := time.Now(), name.(*unix.SockaddrInet4).Addr
		in.mu.Lock()
		if last, there := in.last[addr]; there {
			in.all = append(in.all, (now.Sub(last) - time.Second).Abs())
		}
		in.last[addr] = now
		in.mu.Unlock()
	}
}

// checkAll checks the first addresses of the server, each second, for ever.
func checkAll(servers string) error {
	n, err := strconv.Atoi(servers)
	if err != nil {
		return err
	}
	r, err := New(Config{})
	if err != nil {
		return err
	}
	go func() {
		for range r.Results() { // so that there is somebody who takes them
		}
	}()
	for i := range n {
		r.Add(lvs.CheckID("TCP_CHECK "+benchAddr(i).String()), config.Checker{
			Check: config.TCPCheck{}, Target: benchAddr(i), Interval: time.Second, Warmup: time.Second, Timeout: 5 * time.Second,
		})
	}
	return r.Run(context.Background())
}

// child is a process of a benchmark.
type child struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

// start starts one until the test ends.
func start(tb testing.TB, env, program string, args ...string) child {
	tb.Helper()
	c := child{cmd: exec.Command(program, args...)}
	c.cmd.Env = append(os.Environ(), env)
	in, err := c.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	c.in, c.out = in, bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.stop() })
	return c
}

// stop ends it, in order if it can.
func (c child) stop() {
	_ = c.cmd.Process.Signal(os.Interrupt)
	_ = c.cmd.Wait() // ended by our signal
}

// figures are what a benchmark measures.
type figures struct {
	checks float64 // a second
	off    float64 // the 99th of a hundred intervals from a second, in milliseconds
	cpu    float64 // in percent of a processor
	memory float64 // resident, in MiB
}

// String returns the figures for people.
func (f figures) String() string {
	return fmt.Sprintf("%.0f checks a second, 99%% of the intervals at most %.1f ms off, %.1f %% of a processor, %.1f MiB", f.checks, f.off, f.cpu, f.memory)
}

// measure measures what checks the server, for some time.
func measure(tb testing.TB, server child, checker int, d time.Duration) figures {
	tb.Helper()
	ask := func() (n int, off float64) {
		if _, err := io.WriteString(server.in, "\n"); err != nil || !server.out.Scan() {
			tb.Fatal("the server has ended: ", err)
		}
		if _, err := fmt.Sscan(server.out.Text(), &n, &off); err != nil {
			tb.Fatal(server.out.Text(), err)
		}
		return n, off
	}
	ask()
	cpu, at := processorTime(tb, checker), time.Now()
	<-time.After(d)
	n, off := ask()
	took := time.Since(at)
	return figures{
		checks: float64(n) / took.Seconds(), off: off,
		cpu: 100 * (processorTime(tb, checker) - cpu).Seconds() / took.Seconds(), memory: resident(tb, checker),
	}
}

// processorTime returns how much of it a process has had.
func processorTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		tb.Fatal("no process ", pid)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended meanwhile
		}
		var ns time.Duration
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			tb.Fatal(err)
		}
		sum += ns
	}
	return sum
}

// resident returns how much memory a process has.
func resident(tb testing.TB, pid int) float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		tb.Fatal(err)
	}
	var all, pages int
	if _, err := fmt.Sscan(string(text), &all, &pages); err != nil {
		tb.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

// percentile returns that of the durations, in milliseconds; 0 of none.
func percentile(all []time.Duration, p int) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[(len(all)-1)*p/100].Microseconds()) / 1000
}

// BenchmarkTCPChecks makes ten thousand TCP_CHECKs each second for ten seconds. It prints how many a
// second the server saw, how far from a second the 99th of a hundred intervals between two of one
// real server was, and what that takes of one processor core and of memory.
func BenchmarkTCPChecks(b *testing.B) {
	server := start(b, serverEnv+"=1", os.Args[0])
	checker := start(b, checkerEnv+"=10000", os.Args[0])
	<-time.After(3 * time.Second)
	for b.Loop() {
		f := measure(b, server, checker.cmd.Process.Pid, 10*time.Second)
		b.ReportMetric(f.checks, "checks/s")
		b.ReportMetric(f.off, "off-p99-ms")
		b.ReportMetric(f.cpu, "cpu-%")
		b.ReportMetric(f.memory, "MiB")
	}
	b.ReportMetric(0, "ns/op")
}

// TestVMAsManyAsKeepalived measures keepalived and us alike, one after the other: keepalived
// checks nothing where there is no IPVS, and a virtual machine is slow, so there are
// fewer servers than in the benchmark.
func TestVMAsManyAsKeepalived(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		const servers, services = 400, 4
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		dir := t.TempDir()
		var b strings.Builder
		for v := range services {
			fmt.Fprintf(&b, "virtual_server 10.5.0.1 %d {\n delay_loop 1\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n", v+1)
			for i := range servers / services {
				addr := benchAddr(v*servers/services + i)
				fmt.Fprintf(&b, " real_server %s %d {\n TCP_CHECK {\n }\n }\n", addr.Addr(), addr.Port())
			}
			b.WriteString("}\n")
		}
		if err := os.WriteFile(dir+"/conf", []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		const settle, long = 3 * time.Second, 5 * time.Second
		server := start(t, serverEnv+"=1", os.Args[0])
		keepalived := start(t, "", "/usr/sbin/keepalived", "--dont-fork", "--check", "--use-file="+dir+"/conf", "--pid="+dir+"/pid", "--checkers_pid="+dir+"/checkers")
		var pid int
		await.That(t, "keepalived's checkers", func() bool {
			text, _ := os.ReadFile(dir + "/checkers")
			pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
			return pid > 0
		})
		<-time.After(settle)
		theirs := measure(t, server, pid, long)
		keepalived.stop()
		checker := start(t, fmt.Sprintf("%s=%d", checkerEnv, servers), os.Args[0])
		<-time.After(settle)
		ours := measure(t, server, checker.cmd.Process.Pid, long)
		t.Logf("keepalived: %s", theirs)
		t.Logf("solovip:    %s", ours)
		if ours.checks < 0.98*servers || ours.checks > 1.02*servers {
			t.Errorf("%d servers are to be checked each second", servers)
		}
	})
}
