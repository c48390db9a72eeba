package probe

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/port"
)

// dnsmasq serves the zone corp.test with a real server.
func dnsmasq(t *testing.T) netip.AddrPort {
	t.Helper()
	target := port.Hold(t, "127.0.0.1")
	cmd := exec.CommandContext(t.Context(), program(t, "dnsmasq"), "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null",
		"--pid-file=", "--user=", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces",
		fmt.Sprintf("--port=%d", target.Port()), "--local=/corp.test/",
		"--host-record=www.corp.test,192.0.2.1,2001:db8::1", "--cname=web.corp.test,www.corp.test",
		"--mx-host=corp.test,www.corp.test,10", "--txt-record=corp.test,hello",
		"--txt-record=long.corp.test,"+strings.Repeat("0123456789,", 100))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); strings.Contains(lines.Text(), "started") {
			go func() {
				for lines.Scan() {
				}
			}()
			return target
		}
	}
	t.Fatalf("dnsmasq does not start: %q", said)
	return netip.AddrPort{}
}

func TestDNSWithDnsmasq(t *testing.T) {
	target := dnsmasq(t)
	for _, row := range []struct{ typ, name, why string }{
		{"A", "www.corp.test", ""},
		{"AAAA", "WWW.corp.test.", ""},
		{"CNAME", "web.corp.test", ""},
		{"MX", "corp.test", ""},
		{"TXT", "corp.test", ""},
		{"TXT", "long.corp.test", ""}, // too long for UDP: truncated, and an answer
		{"A", "no.corp.test", "NXDOMAIN in place of NOERROR"},
		{"SOA", ".", "REFUSED in place of NOERROR"},
	} {
		t.Run(row.typ+" "+row.name, func(t *testing.T) {
			got := attempt(t, config.Checker{Check: config.DNSCheck{Type: row.typ, Name: row.name}, Target: target})
			verdict(t, got, fmt.Sprintf("%s of %s at %s", row.typ, dns.Fqdn(row.name), target), row.why)
		})
	}
}

// answers serves UDP on an address: what it hears goes to answer, and what that returns is sent
// back from there, or from another socket.
func answers(t *testing.T, addr string, answer func(heard []byte) [][]byte, other net.PacketConn) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	from := conn
	if other != nil {
		from = other
	}
	go func() {
		for buf := make([]byte, 65536); ; {
			n, peer, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, packet := range answer(buf[:n]) {
				_, _ = from.WriteTo(packet, peer)
			}
		}
	}()
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

// replier makes a reply to what was heard, with a change.
type replier func(change func(*dns.Msg)) []byte

// reply returns an answer to a question, changed and then packed.
func reply(t *testing.T, heard []byte, change func(*dns.Msg)) []byte {
	t.Helper()
	var question dns.Msg
	if err := question.Unpack(heard); err != nil {
		t.Error(err)
	}
	answer := new(dns.Msg).SetReply(&question)
	change(answer)
	packet, err := answer.Pack()
	if err != nil {
		t.Error(err)
	}
	return packet
}

func TestDNSBrokenServers(t *testing.T) {
	fine := func(*dns.Msg) {}
	for _, row := range []struct {
		name   string
		answer func(heard []byte, reply replier) [][]byte
		limit  time.Duration
		why    string // empty: it succeeds
	}{
		{"nothing in the answer", func(_ []byte, reply replier) [][]byte { return [][]byte{reply(fine)} }, time.Minute, ""},
		{"a late answer to another question first", func(heard []byte, reply replier) [][]byte {
			return [][]byte{reply(func(m *dns.Msg) { m.Id++; m.Rcode = dns.RcodeServerFailure }), heard, reply(fine)}
		}, time.Minute, ""},
		{"an answer to no question", func(_ []byte, reply replier) [][]byte {
			return [][]byte{reply(func(m *dns.Msg) { m.Question = nil })}
		}, time.Minute, ""},
		{"truncated within a record", func(_ []byte, reply replier) [][]byte {
			packet := reply(func(m *dns.Msg) {
				m.Truncated = true
				m.Answer = append(m.Answer, &dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a.root.test."})
			})
			return [][]byte{packet[:len(packet)-3]}
		}, time.Minute, ""},
		{"cut off without a word", func(_ []byte, reply replier) [][]byte {
			packet := reply(func(m *dns.Msg) {
				m.Answer = append(m.Answer, &dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a.root.test."})
			})
			return [][]byte{packet[:len(packet)-3]}
		}, time.Minute, "an answer that cannot be read: dns: overflowing header size"},
		{"fails", func(_ []byte, reply replier) [][]byte {
			return [][]byte{reply(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })}
		}, time.Minute, "SERVFAIL in place of NOERROR"},
		{"a code without a name", func(_ []byte, reply replier) [][]byte {
			return [][]byte{reply(func(m *dns.Msg) { m.Rcode = 13 })}
		}, time.Minute, "RCODE 13 in place of NOERROR"},
		{"an answer to another question with our number", func(_ []byte, reply replier) [][]byte {
			return [][]byte{reply(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX })}
		}, time.Minute, "an answer to a question that was not asked"},
		{"no DNS at all", func([]byte, replier) [][]byte { return [][]byte{[]byte("hello")} }, time.Minute, "5 bytes that are no DNS message"},
		{"the question come back", func(heard []byte, _ replier) [][]byte { return [][]byte{heard} }, shortly, "no answer in time"},
		{"silence", func([]byte, replier) [][]byte { return nil }, shortly, "no answer in time"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			target := answers(t, "127.0.0.1", func(heard []byte) [][]byte {
				return row.answer(heard, func(change func(*dns.Msg)) []byte { return reply(t, heard, change) })
			}, nil)
			got := soon(t, config.Checker{Check: config.DNSCheck{Type: "SOA", Name: "."}, Target: target}, row.limit)
			verdict(t, got, "SOA of . at "+target.String(), row.why)
		})
	}
	t.Run("an answer from another address", func(t *testing.T) {
		t.Parallel()
		other, err := net.ListenPacket("udp", "127.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		target := answers(t, "127.0.0.1", func(heard []byte) [][]byte { return [][]byte{reply(t, heard, fine)} }, other)
		if got := soon(t, config.Checker{Check: config.DNSCheck{Type: "SOA", Name: "."}, Target: target}, shortly); got.OK {
			t.Error("believed")
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		target := port.Hold(t, "127.0.0.1")
		got := attempt(t, config.Checker{Check: config.DNSCheck{Type: "SOA", Name: "."}, Target: target})
		verdict(t, got, "SOA of . at "+target.String(), "connection refused")
	})
}

func TestDNSRefusesToAsk(t *testing.T) {
	for _, check := range []config.DNSCheck{{Type: "SOA", Name: "a..b"}, {Type: "SOA", Name: strings.Repeat("a", 64)}, {Type: "NOSUCH", Name: "."}} {
		if _, err := New(config.Checker{Check: check}); err == nil {
			t.Errorf("%+v can be asked", check)
		}
	}
}

// FuzzDNSAnswer: no answer is believed that has not our number and RCODE 0.
func FuzzDNSAnswer(f *testing.F) {
	asked := new(dns.Msg).SetQuestion("corp.test.", dns.TypeA)
	asked.Id = 0x1234
	good, err := new(dns.Msg).SetReply(asked).Pack()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, good[:12], good[:5], append([]byte(nil), good[:len(good)-1]...), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		ours, err := dnsAnswer(asked, packet)
		if ours && err == nil && (packet[0] != 0x12 || packet[1] != 0x34 || packet[2]&0x80 == 0 || packet[3]&0xf != 0) {
			t.Errorf("believed: %x", packet)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("not one line: %q", err)
		}
	})
}
