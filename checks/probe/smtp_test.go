package probe

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/config"
)

// missing skips the test, or fails it in CI, where everything has to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// program returns where a program is.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, err.Error())
	}
	return path
}

// shortly is how long an attempt may take that fails only when its time is up: enough for a
// crowded machine to get that far.
const shortly = time.Second

// soon makes an attempt that may take a time.
func soon(t *testing.T, c config.Checker, limit time.Duration) Outcome {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return p.Probe(ctx)
}

// verdict holds an outcome against what it should be: a failure of what was tried, for a
// reason; success if that is empty.
func verdict(t *testing.T, got Outcome, tried, why string) {
	t.Helper()
	want := Outcome{OK: why == ""}
	if !want.OK {
		want.Why = tried + ": " + why
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// exim serves SMTP with a real server, with these lines in its configuration.
func exim(t *testing.T, lines ...string) netip.AddrPort {
	t.Helper()
	path := program(t, "exim4")
	if os.Getuid() != 0 {
		missing(t, "not root: exim takes no configuration of ours")
	}
	dir := t.TempDir()
	lines = append([]string{
		"primary_hostname = mail.test", "spool_directory = " + dir, "log_file_path = syslog", "keep_environment =",
		"host_lookup =", "helo_lookup_domains =", "rfc1413_hosts =", "tls_advertise_hosts =",
	}, lines...)
	file := filepath.Join(dir, "exim.conf")
	write(t, file, strings.Join(lines, "\n")+"\n")
	return listen(t, "127.0.0.1:0", func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		socket, err := conn.(*net.TCPConn).File()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = socket.Close() }()
		cmd := exec.Command(path, "-C", file, "-bs")
		cmd.Stdin, cmd.Stdout = socket, socket
		_ = cmd.Run() // its status says how the talk went
	})
}

func TestSMTPWithExim(t *testing.T) {
	for _, row := range []struct {
		name string
		conf []string
		why  string // behind the target; empty: it succeeds
	}{
		{"as it is", nil, ""},
		{"a greeting of several lines", []string{`smtp_banner = mail.test ESMTP\nbe welcome\nand brief`}, ""},
		{"refuses the connection", []string{
			"acl_smtp_connect = no", "begin acl", "no:", "deny message = not you",
		}, `greeting: "550 not you" in place of 220`},
		{"refuses the name", []string{
			"acl_smtp_helo = no", "begin acl", "no:", `deny condition = ${if eq{$sender_helo_name}{lb.test}}`, "message = bad name",
		}, `HELO: "550 bad name" in place of 250`},
		{
			"has had enough",
			[]string{"smtp_load_reserve = 0", "acl_smtp_connect = no", "begin acl", "no:", "defer message = busy"},
			`greeting: "451 busy" in place of 220`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			target := exim(t, row.conf...)
			got := attempt(t, config.Checker{Check: config.SMTPCheck{Helo: "lb.test"}, Target: target})
			verdict(t, got, "smtp "+target.String(), row.why)
		})
	}
}

// TestSMTPSays: what a server hears.
func TestSMTPSays(t *testing.T) {
	heard := make(chan string, 1)
	target := listen(t, "127.0.0.1:0", func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		var all strings.Builder
		r := bufio.NewReader(io.TeeReader(conn, &all))
		for _, answer := range []string{"220 a", "250 b", "221 c"} {
			_, _ = io.WriteString(conn, answer+"\r\n")
			if answer != "221 c" {
				_, _ = r.ReadString('\n')
			}
		}
		heard <- all.String()
	})
	if got := attempt(t, config.Checker{Check: config.SMTPCheck{Helo: "lb.test"}, Target: target}); !got.OK {
		t.Error(got.Why)
	}
	if got, want := <-heard, "HELO lb.test\r\nQUIT\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSMTPBrokenServers: what a broken server says is told in one line, and what it does not
// say is not waited for longer than the attempt may take.
func TestSMTPBrokenServers(t *testing.T) {
	endless := strings.Repeat("220-still more\r\n", 1000)
	for _, row := range []struct {
		name  string
		says  []string // in turn, after each line it hears; then it hangs
		close bool     // at the end
		limit time.Duration
		why   string // empty: it succeeds
	}{
		{"short replies without text", []string{"220\r\n", "250\r\n", "221\n"}, false, time.Minute, ""},
		{"silence", nil, false, shortly, "greeting: no answer in time in place of 220"},
		{"half a line and silence", []string{"220 mai"}, false, shortly, `greeting: "220 mai" without a line end, no answer in time, in place of 220`},
		{"half a reply and silence", []string{"220-one\r\n"}, false, shortly, "greeting: no answer in time in place of 220"},
		{"closes at once", nil, true, time.Minute, "greeting: connection closed by the server in place of 220"},
		{"closes after the greeting", []string{"220 a\r\n"}, true, time.Minute, "HELO: connection closed by the server in place of 250"},
		{"closes in place of an answer", []string{"220 a\r\n", "250 b\r\n"}, true, time.Minute, "QUIT: connection closed by the server in place of an answer"},
		{"no greeting", []string{"421 too busy\r\n"}, false, time.Minute, `greeting: "421 too busy" in place of 220`},
		{"a bad end of a greeting", []string{"220-welcome\r\n554 or not\r\n"}, false, time.Minute, `greeting: "554 or not" in place of 220`},
		{"no QUIT", []string{"220 a\r\n", "250 b\r\n", "500 what\r\n"}, false, time.Minute, ""},
		{"an endless banner", []string{endless}, false, time.Minute, "greeting: a reply of more than 100 lines in place of 220"},
		{
			"an endless line",
			[]string{strings.Repeat("220", 1000)},
			false, time.Minute,
			`greeting: "` + strings.Repeat("220", 26) + `22...", a line of more than 1024 bytes, in place of 220`,
		},
		{"another protocol", []string{"SSH-2.0-x\r\n"}, false, time.Minute, `greeting: "SSH-2.0-x", which is no reply, in place of 220`},
		{"control characters", []string{"220\x1b[2J\r\n"}, false, time.Minute, `greeting: "220\x1b[2J", which is no reply, in place of 220`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{})
			defer close(done)
			target := listen(t, "127.0.0.1:0", func(conn net.Conn) {
				defer func() { _ = conn.Close() }()
				r := bufio.NewReader(conn)
				for i, line := range row.says {
					if i > 0 {
						_, _ = r.ReadString('\n')
					}
					_, _ = io.WriteString(conn, line)
				}
				if row.close && len(row.says) > 0 {
					_, _ = r.ReadString('\n') // so that it is an end, not a reset
				}
				if !row.close {
					<-done
				}
			})
			got := soon(t, config.Checker{Check: config.SMTPCheck{Helo: "lb.test"}, Target: target}, row.limit)
			verdict(t, got, "smtp "+target.String(), row.why)
		})
	}
}

// FuzzSMTPTalk: whatever a server says, the talk ends, and an error is one short line.
func FuzzSMTPTalk(f *testing.F) {
	for _, seed := range []string{
		"220 a\r\n250 b\r\n221 c\r\n", "220-a\r\n220 b\r\n250-c\n250 d\n221\n", "220", "", "22\r\n", "220xx\r\n", strings.Repeat("9", 2000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		var hears bytes.Buffer
		err := smtpTalk(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(says), &hears}, "lb.test")
		if err == nil && hears.String() != "HELO lb.test\r\nQUIT\r\n" {
			t.Errorf("content after %q", &hears)
		}
		if err != nil && (len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\r\n\x1b")) {
			t.Errorf("not for people: %q", err)
		}
	})
}
