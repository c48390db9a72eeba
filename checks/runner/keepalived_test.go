package runner

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs/settings"
)

// machine is where keepalived makes checks: it does not without IPVS.
var machine = vmtest.Shared{Name: "keepalived", Machine: vm.Machine{
	Modules: []string{"ip_vs"}, Spare: []string{"ip_vs_rr"}, Programs: []string{"ip", "ipvsadm", "/usr/sbin/keepalived"},
}}

// stories are checkers, and what their servers answer: each has a server of its own, 10.6.0.1 and
// so on. {6} stands for its IPv6 address, fd00:6::1 and so on.
var stories = []struct {
	name    string
	answers string // to the first requests: + well, - badly; the last one goes on
	checker string
}{
	{"TCP_CHECK", "+", "TCP_CHECK {\n}"},
	{"TCP_CHECK refused", "", "TCP_CHECK {\n connect_port 81\n retry 0\n}"},
	{"HTTP_GET", "+", "HTTP_GET {\n" + pageA + "}"},
	{"one failure", "++-+", "HTTP_GET {\n retry 2\n delay_before_retry 1\n" + pageA + "}"},
	{"down and up", "++-----+", "HTTP_GET {\n retry 2\n delay_before_retry 1\n" + pageA + "}"},
	{"down from the start", "---+", "HTTP_GET {\n retry 1\n delay_before_retry 1\n" + pageA + "}"},
	{"three pages", "+", "HTTP_GET {\n retry 0\n" + pagesABC + "}"},
	{"three pages fail", "++--+", "HTTP_GET {\n retry 0\n" + pagesABC + "}"},
	{"three pages retried", "+++--+", "HTTP_GET {\n retry 2\n delay_before_retry 1\n" + pagesABC + "}"},
	{"closing 1.0", "+", "HTTP_GET {\n http_protocol 1.0C\n" + pageA + "}"},
	{"1.1 at another port", "+", "HTTP_GET {\n http_protocol 1.1\n connect_port 8080\n" + pageA + "}"},
	{"virtual host", "+", "HTTP_GET {\n connect_port 8080\n url {\n path /a?b=c\n virtualhost www.example.com\n}\n}"},
	{"IPv6", "+", "HTTP_GET {\n connect_ip {6}\n" + pageA + "}"},
	{"IPv6 at another port", "+", "HTTP_GET {\n connect_ip {6}\n connect_port 8080\n" + pageA + "}"},
	{"fast_recovery", "+", "HTTP_GET {\n retry 0\n fast_recovery\n" + pagesABC + "}"},
}

const (
	pageA    = " url {\n path /a\n}\n"
	pagesABC = pageA + " url {\n path /b\n}\n url {\n path /c\n}\n"
)

// seen is something that a server saw.
type seen struct {
	at   time.Time
	what string // the request of HTTP_GET, packets of TCP_CHECK
}

// stage is the servers of the stories.
type stage struct {
	mu    sync.Mutex // of what follows
	seen  [][]seen
	asked []int
}

// watch runs the servers while f runs, and returns what they saw: connections also where
// there is no server.
func watch(t *testing.T, f func()) [][]seen {
	t.Helper()
	s := &stage{seen: make([][]seen, len(stories)), asked: make([]int, len(stories))}
	var listeners []net.Listener
	for _, port := range []string{":80", ":8080"} {
		l, err := net.Listen("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0x0008) // ETH_P_IP
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	for _, l := range listeners {
		running.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go s.answer(conn)
			}
		})
	}
	running.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				s.sniff(fd)
			}
		}
	})
	f()
	close(done)
	for _, l := range listeners {
		_ = l.Close()
	}
	running.Wait()
	_ = unix.Close(fd)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// sniff takes one packet in.
func (s *stage) sniff(fd int) {
	p := make([]byte, 2048)
	n, from, err := unix.Recvfrom(fd, p, 0)
	link, ok := from.(*unix.SockaddrLinklayer)
	if err != nil || !ok || link.Pkttype != unix.PACKET_HOST {
		return
	}
	const fin, syn, rst, ack = 1, 2, 4, 16
	head := int(p[0]&15) * 4
	if n <= head+13 || p[9] != unix.IPPROTO_TCP {
		return
	}
	i := story(netip.AddrFrom4([4]byte(p[16:20])))
	if i < 0 || !strings.HasPrefix(stories[i].checker, "TCP") {
		return
	}
	switch flags := p[head+13]; {
	case flags&(syn|ack) == syn:
		s.see(i, "SYN")
	case flags&rst != 0:
		s.see(i, "RST")
	case flags&fin != 0:
		s.see(i, "FIN")
	}
}

// story returns the number of the story of a server; -1: of none.
func story(addr netip.Addr) int {
	bytes := addr.Unmap().AsSlice()
	n := int(bytes[len(bytes)-1]) - 1
	if addr.Unmap() != netip.AddrFrom4([4]byte{10, 6, 0, byte(n + 1)}) && addr != address6(n) || n >= len(stories) {
		return -1
	}
	return n
}

// address6 returns the IPv6 address of the server of a story.
func address6(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:6::%x", n+1)) }

func (s *stage) see(n int, what string) {
	s.mu.Lock()
	s.seen[n] = append(s.seen[n], seen{time.Now(), what})
	s.mu.Unlock()
}

// answer answers one request.
func (s *stage) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	n := story(netip.MustParseAddrPort(conn.LocalAddr().String()).Addr())
	var request strings.Builder
	for r := bufio.NewReader(conn); !strings.HasSuffix(request.String(), "\r\n\r\n"); {
		line, err := r.ReadString('\n')
		if request.WriteString(line); err != nil {
			return // TCP_CHECK
		}
	}
	s.see(n, strconv.Quote(request.String()))
	s.mu.Lock()
	all := stories[n].answers
	good := all[min(s.asked[n], len(all)-1)] == '+'
	s.asked[n]++
	s.mu.Unlock()
	status := "200 OK"
	if !good {
		status = "503 Service Unavailable"
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", status)
}

// TestVMServersSeeNoDifference: they see of us what they see of keepalived, to the byte, and at the
// same instants.
func TestVMServersSeeNoDifference(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		for _, command := range []string{
			"ip link set lo up", "ip route add local 10.6.0.0/24 dev lo", "ip route add local fd00:6::/64 dev lo",
			// A full table of closed connections, as another test leaves it, is answered with a reset.
			"echo 262144 >/proc/sys/net/ipv4/tcp_max_tw_buckets",
		} {
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
		}
		file := filepath.Join(t.TempDir(), "keepalived.conf")
		var b strings.Builder
		for i, s := range stories {
			fmt.Fprintf(&b, "virtual_server 10.5.0.1 %d {\n delay_loop 4\n warmup 0\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n real_server 10.6.0.%d 80 {\n %s\n }\n}\n", i+1, i+1, strings.ReplaceAll(s.checker, "{6}", address6(i).String()))
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		theirs := watch(t, func() { keepalived(t, file) })
		ours := watch(t, func() { solovip(t, file) })
		for i, s := range stories {
			t.Run(s.name, func(t *testing.T) { compare(t, theirs[i], ours[i]) })
		}
	})
}

// window is how long the servers look.
const window = 30 * time.Second

// keepalived makes the checks of a file as long as the servers look.
func keepalived(t *testing.T, file string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), window)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, "/usr/sbin/keepalived", "--dont-fork", "--log-console", "--check", "--use-file="+file,
		"--pid="+dir+"/pid", "--checkers_pid="+dir+"/checkers")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if out, err := cmd.CombinedOutput(); ctx.Err() == nil {
		t.Fatalf("keepalived: %v: %s", err, out)
	}
}

// solovip makes them as long.
func solovip(t *testing.T, file string) {
	t.Helper()
	cfg, report := config.Load(file, config.Options{})
	if report.HasErrors() {
		t.Fatal(report.Errors())
	}
	r := run(t, Config{})
	checks := settings.New(cfg).Checks
	for id, c := range checks {
		r.Add(id, c)
	}
	for end := time.After(window); ; {
		select {
		case <-r.Results():
			continue
		case <-end:
		}
		break
	}
	for id := range checks {
		r.Remove(id)
	}
}

// compare compares what was seen, by the time since the first of it.
func compare(t *testing.T, theirs, ours []seen) {
	t.Helper()
	const slack = 300 * time.Millisecond // they count from the end of an attempt
	text := func(all []seen) string {
		var b strings.Builder
		for _, s := range all {
			fmt.Fprintf(&b, " %.2f %s;", s.at.Sub(all[0].at).Seconds(), s.what)
		}
		return b.String()
	}
	n := min(len(theirs), len(ours))
	same := n > 2 && len(theirs)-n < 3 && len(ours)-n < 3 // the window may end between
	for i := range n {
		late := ours[i].at.Sub(ours[0].at) - theirs[i].at.Sub(theirs[0].at)
		same = same && ours[i].what == theirs[i].what && late.Abs() < slack
	}
	if !same {
		t.Errorf("keepalived:%s", text(theirs))
		t.Errorf("solovip:   %s", text(ours))
	}
}
