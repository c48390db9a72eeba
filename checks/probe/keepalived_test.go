package probe

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs"
)

// machine is where keepalived makes checks: it does not without IPVS.
var machine = vmtest.Shared{Name: "keepalived", Machine: vm.Machine{
	Modules: []string{"ip_vs"}, Spare: []string{"ip_vs_rr"}, Programs: []string{"ip", "ipvsadm", "/usr/sbin/keepalived"},
}}

// trial is a check and what it meets.
type trial struct {
	name  string
	check string // without its braces
	meets string // tcp and udp: a server of that kind; file: a track file; empty: nothing of its own
	// says is what a server answers in turn, or is in the file. The first word over TCP is a greeting; over
	// UDP it may be flags=HEX, the question with other flags.
	says []string
	ours string // what we find, where keepalived finds something else
}

var trials = []trial{
	{"SMTP", "SMTP_CHECK {\n retry 0", "tcp", []string{"220 hello\r\n", "250 ok\r\n", "221 bye\r\n"}, ""},
	{"SMTP with a name", "SMTP_CHECK {\n retry 0\n helo_name lb.test", "tcp", []string{"220 hello\r\n", "250 ok\r\n", "221 bye\r\n"}, ""},
	{"SMTP refused", "SMTP_CHECK {\n retry 0", "tcp", []string{"554 no\r\n"}, ""},
	{"SMTP HELO refused", "SMTP_CHECK {\n retry 0", "tcp", []string{"220 hello\r\n", "501 no\r\n"}, ""},
	{"SMTP QUIT refused", "SMTP_CHECK {\n retry 0", "tcp", []string{"220 hello\r\n", "250 ok\r\n", "500 no\r\n"}, ""},
	{"SMTP half a line", "SMTP_CHECK {\n retry 0", "tcp", []string{"220 hel"}, ""},
	{"SMTP two lines", "SMTP_CHECK {\n retry 0", "tcp", []string{"220-hello\r\n220 there\r\n", "250 ok\r\n", "221 bye\r\n"}, "7"},

	{"DNS", "DNS_CHECK {", "udp", []string{"flags=8180"}, ""},
	{"DNS type and name", "DNS_CHECK {\n type AAAA\n name www.Corp.test", "udp", []string{"flags=8180"}, ""},
	{"DNS no name", "DNS_CHECK {\n name a..b", "udp", []string{"flags=8180"}, ""},
	{"DNS NXDOMAIN", "DNS_CHECK {", "udp", []string{"flags=8183"}, ""},
	{"DNS truncated", "DNS_CHECK {", "udp", []string{"flags=8380"}, ""},
	{"DNS question come back", "DNS_CHECK {", "udp", []string{"flags=0100"}, ""},
	{"DNS silence", "DNS_CHECK {", "udp", nil, ""},

	{"UDP", "UDP_CHECK {", "udp", nil, ""},
	{"UDP reply", "UDP_CHECK {", "udp", []string{"x"}, ""},
	{"UDP no reply", "UDP_CHECK {\n require_reply", "udp", nil, ""},
	{"UDP long", "UDP_CHECK {\n require_reply", "udp", []string{strings.Repeat("x", 300)}, ""},
	{"UDP long, looked at", "UDP_CHECK {\n require_reply 78", "udp", []string{strings.Repeat("x", 300)}, ""},
	{"UDP short", "UDP_CHECK {\n require_reply\n min_reply_length 2", "udp", []string{"x"}, "down"},
	{"UDP short, looked at", "UDP_CHECK {\n require_reply 7878\n min_reply_length 2", "udp", []string{"x"}, ""},
	{"UDP empty", "UDP_CHECK {\n require_reply 78", "udp", []string{""}, ""},
	{"UDP payload", "UDP_CHECK {\n payload Ab12f 3 456\n require_reply 7xx8", "udp", []string{"\x78\x08"}, ""},
	{"UDP mismatch", "UDP_CHECK {\n require_reply 7878", "udp", []string{"xy"}, ""},

	{"PING", "PING_CHECK {", "", nil, ""},
	{"MISC 0", "MISC_CHECK {\n misc_path \"/bin/sh -c 'exit 0'\"", "", nil, ""},
	{"MISC 1", "MISC_CHECK {\n misc_path \"/bin/sh -c 'exit 1'\"", "", nil, ""},
	{"MISC 2", "MISC_CHECK {\n misc_path \"/bin/sh -c 'exit 2'\"", "", nil, ""},
	{"MISC dynamic 0", "MISC_CHECK {\n misc_dynamic\n misc_path \"/bin/sh -c 'exit 0'\"", "", nil, ""},
	{"MISC dynamic 1", "MISC_CHECK {\n misc_dynamic\n misc_path \"/bin/sh -c 'exit 1'\"", "", nil, ""},
	{"MISC dynamic 2", "MISC_CHECK {\n misc_dynamic\n misc_path \"/bin/sh -c 'exit 2'\"", "", nil, ""},
	{"MISC dynamic 255", "MISC_CHECK {\n misc_dynamic\n misc_path \"/bin/sh -c 'exit 255'\"", "", nil, ""},
	{"MISC dynamic killed", "MISC_CHECK {\n misc_dynamic\n misc_path \"/bin/sh -c 'kill -9 $$'\"", "", nil, ""},
	{"MISC over its time", "MISC_CHECK {\n misc_timeout 1\n misc_path \"/bin/sh -c 'sleep 600'\"", "", nil, ""},

	{"FILE", "FILE_CHECK {", "file", []string{"5\n"}, ""},
	{"FILE down", "FILE_CHECK {", "file", []string{"-2147483648\n"}, ""},
	{"FILE drains", "FILE_CHECK {", "file", []string{"-100\n"}, ""},
	{"FILE weight", "FILE_CHECK {\n weight -2", "file", []string{"3\n"}, ""},
	{"FILE reverse", "FILE_CHECK {\n weight -2 reverse", "file", []string{"3\n"}, ""},
	{"FILE weight 0", "FILE_CHECK {\n weight 0", "file", []string{"0\n"}, ""},
	{"FILE weight 0, down", "FILE_CHECK {\n weight 0", "file", []string{"1\n"}, ""},
	{"FILE is not there", "FILE_CHECK {", "file", nil, ""},
	{"FILE is empty", "FILE_CHECK {", "file", []string{""}, ""},
	{"FILE words", "FILE_CHECK {", "file", []string{"no number"}, ""},
	{"FILE too large", "FILE_CHECK {", "file", []string{"99999999999"}, ""},
	{"FILE as C reads it", "FILE_CHECK {", "file", []string{"\n -0x2 or so"}, ""},
	{"FILE octal", "FILE_CHECK {", "file", []string{"010"}, ""},
}

// stage is the servers of all trials.
type stage struct {
	config  string // the whole configuration
	talking sync.WaitGroup

	mu    sync.Mutex // guards heard
	heard [][]string // by the trial, in hexadecimal for UDP
}

func (s *stage) hear(i int, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[i] = append(s.heard[i], what)
}

// take returns what was heard since the last time, when all talks have ended.
func (s *stage) take() [][]string {
	s.talking.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.heard
	s.heard = make([][]string, len(trials))
	return all
}

// up starts the servers, and writes the configuration that checks them.
func up(t *testing.T) *stage {
	t.Helper()
	s := &stage{heard: make([][]string, len(trials))}
	dir := t.TempDir()
	var conf strings.Builder
	for i, tr := range trials {
		target := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), 80)
		check, protocol := tr.check, "TCP"
		switch tr.meets {
		case "tcp":
			target = listen(t, "127.0.0.1:0", func(conn net.Conn) { s.talk(i, conn) })
		case "udp":
			protocol = "UDP"
			target = answers(t, "127.0.0.1", func(heard []byte) [][]byte { return s.answer(i, heard) }, nil)
		case "file":
			file := filepath.Join(dir, fmt.Sprintf("file%d", i))
			for _, text := range tr.says {
				put(t, file, text)
			}
			fmt.Fprintf(&conf, "track_file file%d {\n file %s\n}\n", i, file)
			check += fmt.Sprintf("\n track_file file%d", i)
		}
		fmt.Fprintf(&conf, "virtual_server 10.5.0.1 %d {\n protocol %s\n lvs_sched rr\n lvs_method NAT\n delay_loop 60\n warmup 0\n retry 0\n"+
			" connect_timeout 2\n real_server %s %d {\n weight 7\n %s\n }\n }\n}\n", i+1, protocol, target.Addr(), target.Port(), check)
	}
	s.config = filepath.Join(dir, "keepalived.conf")
	put(t, s.config, conf.String())
	return s
}

// talk is a server over TCP.
func (s *stage) talk(i int, conn net.Conn) {
	s.talking.Add(1)
	defer s.talking.Done()
	defer func() { _ = conn.Close() }()
	for buf, n := make([]byte, 1024), 0; ; n++ {
		if says := trials[i].says; n < len(says) {
			_, _ = io.WriteString(conn, says[n])
		}
		heard, err := conn.Read(buf)
		if err != nil {
			s.hear(i, "end")
			return
		}
		s.hear(i, string(buf[:heard]))
	}
}

// answer is a server over UDP.
func (s *stage) answer(i int, heard []byte) (answers [][]byte) {
	packet := slices.Clone(heard)
	if strings.HasPrefix(trials[i].check, "DNS") {
		copy(packet, "ID")
	}
	s.hear(i, hex.EncodeToString(packet))
	for _, text := range trials[i].says {
		answer := []byte(text)
		if flags, ok := strings.CutPrefix(text, "flags="); ok {
			answer = slices.Clone(heard)
			_, _ = hex.Decode(answer[2:], []byte(flags))
		}
		answers = append(answers, answer)
	}
	return answers
}

// TestVMKeepalivedFindsTheSame: servers hear of us what they hear of keepalived, and we find
// what it finds, but where a trial says otherwise.
func TestVMKeepalivedFindsTheSame(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		s := up(t)
		theirs := keepalived(t, s.config)
		theirsHeard := s.take()
		ours := solovip(t, s.config)
		oursHeard := s.take()
		for i, tr := range trials {
			t.Run(tr.name, func(t *testing.T) {
				if tr.ours != "" && (ours[i] != tr.ours || theirs[i] == tr.ours) {
					t.Errorf("we find %s, keepalived %s; wanted is %s, of us alone", ours[i], theirs[i], tr.ours)
				}
				if tr.ours == "" && ours[i] != theirs[i] {
					t.Errorf("we find %s, keepalived %s", ours[i], theirs[i])
				}
				if diff := cmp.Diff(theirsHeard[i], oursHeard[i]); diff != "" && tr.name != "SMTP two lines" {
					t.Errorf("the server hears -keepalived +ours:\n%s", diff)
				}
			})
		}
	})
}

// down is what is found of a server that is not in the table; of others it is their weight.
const down = "down"

// keepalived returns what keepalived finds when it has made all checks.
func keepalived(t *testing.T, file string) []string {
	t.Helper()
	const enough = 6 * time.Second // connect_timeout is 2 s
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, "/usr/sbin/keepalived", "--dont-fork", "--log-console", "--check", "--use-file="+file,
		"--pid="+dir+"/pid", "--checkers_pid="+dir+"/checkers")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-time.After(enough)
	table, err := exec.Command("ipvsadm", "-Sn").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, table)
	}
	cancel()
	_ = cmd.Wait() // ended by our signal
	found := slices.Repeat([]string{down}, len(trials))
	for line := range strings.Lines(string(table)) {
		var protocol, real, weight string
		var port int
		if n, _ := fmt.Sscanf(line, "-a %s 10.5.0.1:%d -r %s -m -w %s", &protocol, &port, &real, &weight); n == 4 {
			found[port-1] = weight
		}
	}
	return found
}

// solovip returns what we find.
func solovip(t *testing.T, file string) []string {
	t.Helper()
	cfg, report := config.Load(file, config.Options{})
	if report.HasErrors() {
		t.Fatal(report.Errors())
	}
	found := make([]string, len(trials))
	for i, v := range cfg.VirtualServers {
		real := v.RealServers[0]
		weight := real.Weight
		for _, c := range real.Checkers {
			got := find(t, c)
			switch {
			case !got.OK:
				found[i] = down
			case got.Adjust.Kind == lvs.Set:
				weight = got.Adjust.Value
			case got.Adjust.Kind == lvs.Add:
				weight = max(0, weight+got.Adjust.Value)
			}
		}
		if found[i] == "" {
			found[i] = fmt.Sprint(weight)
		}
	}
	return found
}

// find makes one check once.
func find(t *testing.T, c config.Checker) Outcome {
	t.Helper()
	if _, ok := c.Check.(config.FileCheck); ok {
		return <-reports(t, c.Check.(config.FileCheck), Options{})
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Limit(c))
	defer cancel()
	return p.Probe(ctx)
}
