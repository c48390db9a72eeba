package config

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func port(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// virtualServers loads testdata/virtual-servers.conf.
func virtualServers(t *testing.T) *Config {
	t.Helper()
	cfg, report := Load("virtual-servers.conf", testOptions())
	if report.HasErrors() {
		t.Fatalf("errors: %v", report.Errors())
	}
	return cfg
}

func command(text string, args ...string) Command { return Command{Args: args, Text: text} }

// comparing compares virtual servers without the places where they are written.
var comparing = cmp.Options{ignoring, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}

// TestLVSGlobals compares what is outside of virtual servers.
func TestLVSGlobals(t *testing.T) {
	cfg := virtualServers(t)
	want := LVS{
		Flush: true, FlushOnStop: FlushServices, LogAllFailures: true, InitNotifies: true,
		Timeouts: LVSTimeouts{TCP: 900 * time.Second, TCPFin: time.Minute, UDP: 300 * time.Second},
		Sync: &SyncDaemon{
			Interface: "eth1", Instance: "VI_1", ID: 7, MaxLen: 1400, Port: 8849, TTL: 2, Group: addr("224.0.0.82"),
		},
	}
	if diff := cmp.Diff(want, cfg.LVS, comparing); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	ssl := SSL{Password: "secret", CA: "/etc/solovip/ca.pem", Certificate: "/etc/solovip/client.pem", Key: "/etc/solovip/client-key.pem"}
	if diff := cmp.Diff(ssl, cfg.SSL, comparing); diff != "" {
		t.Errorf("SSL: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]TrackFile{{Name: "weights", Path: "/etc/passwd", Weight: 2}}, cfg.TrackFiles, comparing); diff != "" {
		t.Errorf("track files: -want +got:\n%s", diff)
	}
}

// TestEveryVirtualSetting compares a virtual server in which everything is set.
func TestEveryVirtualSetting(t *testing.T) {
	misc := Checker{
		Check:    MiscCheck{Command: command("/bin/true 'a b' c", "/bin/true", "a b", "c"), Timeout: 3 * time.Second, Dynamic: true, User: "root"},
		Interval: 6500 * time.Millisecond, Timeout: 2 * time.Second, Retry: 4, DelayBeforeRetry: 2 * time.Second, Alpha: true, LogAllFailures: true,
	}
	second := func(c Check, target string) Checker {
		out := Checker{
			Check: c, Interval: time.Second, Timeout: time.Second, Retry: 1, DelayBeforeRetry: time.Second,
			Warmup: 3 * time.Second, LogAllFailures: true,
		}
		if target != "" {
			out.Target = port(target)
		}
		return out
	}
	want := VirtualServer{
		Name: "10.0.0.1 80", Services: []ServiceAddr{{Addr: port("10.0.0.1:80")}}, Protocol: TCP, Scheduler: "wrr",
		Persistence: 30 * time.Second, Granularity: 24, Quorum: 3, Hysteresis: 1,
		QuorumUp: command("/bin/true up", "/bin/true", "up"), QuorumDown: command("/bin/true down", "/bin/true", "down"),
		Omega: true, HASuspend: true,
		Sorry: &SorryServer{Addr: port("10.9.0.9:80"), Forwarding: Forwarding{Method: DR}, Inhibit: true},
		RealServers: []RealServer{
			{
				Addr: port("10.9.0.1:8080"), Weight: 2, UpperThreshold: 100, LowerThreshold: 50, Inhibit: true,
				NotifyUp: command("/bin/true rs up", "/bin/true", "rs", "up"), NotifyDown: command("/bin/true rs down", "/bin/true", "rs", "down"),
				Checkers: []Checker{{
					Check: HTTPCheck{
						Version: HTTP11, FastRecovery: true,
						URLs: []URL{
							{
								Path: "/health", Host: "www.example.com", Digest: "9b3a0c85a887a256d6939da88aabd8cd",
								Status: []StatusRange{{200, 200}, {204, 204}, {301, 302}},
							},
							{
								Path: "/body", Host: "body.example.com", Status: []StatusRange{{200, 299}},
								Regex: &Regex{Source: "(?is)ready: (yes|no)", NoMatch: true, Min: 10, Max: 200},
							},
						},
					},
					Target: port("10.9.0.101:8081"), Bind: port("10.9.9.1:4000"), Iface: "eth0", FWMark: 9,
					Interval: 6500 * time.Millisecond, Timeout: 2 * time.Second, Retry: 2, DelayBeforeRetry: 2 * time.Second, Alpha: true,
				}, misc},
			},
			{
				Addr: port("10.9.0.2:8080"), Weight: 3,
				Checkers: []Checker{
					second(HTTPCheck{
						TLS: &TLS{SNI: true, Files: SSL{
							Password: "secret", CA: "/etc/solovip/ca.pem",
							Certificate: "/etc/solovip/client.pem", Key: "/etc/solovip/client-key.pem",
						}},
						URLs: []URL{{Path: "/", Host: "rs2.example.com", Status: []StatusRange{{200, 299}}}},
					}, "10.9.0.2:8080"),
					second(SMTPCheck{Helo: "mail.example.com"}, "10.9.0.2:8080"),
					second(SMTPCheck{Helo: "mail.example.com"}, "10.9.0.102:26"),
					second(FileCheck{File: TrackFile{Name: "weights", Path: "/etc/passwd", Weight: 2}, Weight: 3, Reverse: true}, ""),
				},
			},
		},
	}
	if diff := cmp.Diff(want, virtualServers(t).VirtualServers[1], comparing); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestVirtualServers looks at what else makes a virtual server.
func TestVirtualServers(t *testing.T) {
	cfg := virtualServers(t)
	if len(cfg.VirtualServers) != 5 {
		t.Fatalf("%d virtual servers, want 5", len(cfg.VirtualServers))
	}
	group, dns, six, mark := cfg.VirtualServers[0], cfg.VirtualServers[2], cfg.VirtualServers[3], cfg.VirtualServers[4]
	var members []string
	for _, s := range group.Services {
		members = append(members, s.String())
	}
	want := "10.0.0.10 80|10.0.0.11 80|10.0.0.12 80|10.0.0.13 80|10.0.1.254 80|10.0.1.255 80|10.0.2.0 80|10.0.2.1 80|" +
		"10.0.3.8 80|10.0.3.9 80|10.0.3.10 80|10.0.3.11 80"
	if got := strings.Join(members, "|"); got != want || group.Group != "web" {
		t.Errorf("group %s has %s, want %s", group.Group, got, want)
	}
	if group.SchedFlags != SchedFlag1|SchedFlag2 || six.SchedFlags != SchedFlag1|SchedFlag2|SchedFlag3 {
		t.Errorf("flags %b and %b, want 11 and 111", group.SchedFlags, six.SchedFlags)
	}
	if !dns.OnePacket || dns.Engine != "sip" || dns.RealServers[1].Forwarding != (Forwarding{TUN, GUE, 5555, WithChecksum}) {
		t.Errorf("%+v", dns)
	}
	if six.Persistence != 360*time.Second || six.Granularity != 64 || six.Protocol != SCTP || !six.Services[0].IPv6 {
		t.Errorf("%+v", six)
	}
	if s := mark.Services[0]; s.FWMark != 3 || !s.IPv6 || mark.Protocol != 0 {
		t.Errorf("a mark before IPv6 servers is %+v, protocol %s", s, mark.Protocol)
	}
	first := dns.RealServers[0].Checkers[0]
	wantDNS := Checker{
		Check: DNSCheck{Type: "AAAA", Name: "example.com"}, Target: port("10.9.0.1:53"), Interval: time.Minute, Timeout: 5 * time.Second,
		Retry: 3, DelayBeforeRetry: time.Minute, Warmup: time.Minute, LogAllFailures: true,
	}
	if diff := cmp.Diff(wantDNS, first, comparing); diff != "" {
		t.Errorf("DNS_CHECK (-want +got):\n%s", diff)
	}
	udp := dns.RealServers[1].Checkers[0].Check
	wantUDP := UDPCheck{
		Payload: []byte{0xab, 0x12, 0x0f, 0x03, 0x45, 0x06}, RequireReply: true,
		Reply: []byte{0x10, 0x0f}, Mask: []byte{0xf0, 0x0f}, MinReply: 2, MaxReply: 20,
	}
	if diff := cmp.Diff(Check(wantUDP), udp, comparing); diff != "" {
		t.Errorf("UDP_CHECK (-want +got):\n%s", diff)
	}
}

// TestOurVirtualKeywords reads what keepalived does not have.
func TestOurVirtualKeywords(t *testing.T) {
	cfg := load(t, `virtual_server 10.0.0.1 443 {
		lvs_sched rr
		lvs_method DR
		protocol TCP
		slow_start 30
		real_server 10.9.0.1 443 {
			SSL_GET {
				sni_name sni.example.com
				verify_host www.example.com
				tls_compliant
				http_protocol 2
				url {
					path /
				}
			}
		}
		real_server 10.9.0.2 443 {
			slow_start 0
		}
	}
	`)
	a, b := cfg.VirtualServers[0].RealServers[0], cfg.VirtualServers[0].RealServers[1]
	if a.SlowStart != 30*time.Second || b.SlowStart != 0 {
		t.Errorf("slow_start %v and %v, want 30s and 0s", a.SlowStart, b.SlowStart)
	}
	check, _ := a.Checkers[0].Check.(HTTPCheck)
	want := TLS{SNI: true, ServerName: "sni.example.com", Verify: true, VerifyName: "www.example.com", Compliant: true}
	if check.Version != HTTP2 || check.TLS == nil || *check.TLS != want {
		t.Errorf("%+v, TLS %+v, want %+v", check, check.TLS, want)
	}
}

// TestSyncDaemon shows whose id the sync daemon has, and that its old spelling works.
func TestSyncDaemon(t *testing.T) {
	instance := "vrrp_instance VI {\ninterface eth0\nvirtual_router_id 77\nOLD\nvirtual_ipaddress {\n10.0.0.3\n}\n}\n"
	tests := []struct {
		name, text string
		instance   string
		id         uint8
	}{
		{"the instance's", "global_defs {\nlvs_sync_daemon eth1 VI\n}\n" + strings.Replace(instance, "OLD", "", 1), "VI", 77},
		{"given", "global_defs {\nlvs_sync_daemon eth1 VI id 0\n}\n" + strings.Replace(instance, "OLD", "", 1), "VI", 0},
		{"none", "global_defs {\nlvs_sync_daemon eth1\n}\n" + strings.Replace(instance, "OLD", "", 1), "", 0},
		{"the old keyword", strings.Replace(instance, "OLD", "lvs_sync_daemon_interface eth1", 1), "VI", 77},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := load(t, tt.text).LVS.Sync
			if s == nil || s.Interface != "eth1" || s.Instance != tt.instance || s.ID != tt.id || s.Port != 8848 {
				t.Errorf("%+v, want eth1, instance %q, id %d", s, tt.instance, tt.id)
			}
		})
	}
}

// TestShippedDualMaster reads the configuration of two load balancers as its author wrote it.
func TestShippedDualMaster(t *testing.T) {
	text, err := os.ReadFile("testdata/lvs-dual-master.conf")
	if err != nil {
		t.Fatal(err)
	}
	cfg := load(t, string(text))
	if len(cfg.VirtualServers) != 1 {
		t.Fatalf("%d virtual servers, want 1", len(cfg.VirtualServers))
	}
	v := cfg.VirtualServers[0]
	if v.Sorry == nil || v.Sorry.Addr != port("127.0.0.1:80") || v.Sorry.Forwarding.Method != DR || len(v.RealServers) == 0 {
		t.Errorf("%+v, sorry server %+v", v, v.Sorry)
	}
}

// TestGroupBound: no line of a few characters makes the machine run out of memory.
func TestGroupBound(t *testing.T) {
	for _, entries := range []string{"10.0.0.0/8 80", "2001:db8::/32 80", "10.1.0.0/16 80\n10.2.0.0/31 80", "::-ffff:: 80"} {
		opt := testOptions()
		opt.FS = oneFile("virtual_server_group g {\n" + entries + "\n}\n")
		_, report := Load("x.conf", opt)
		if errs := report.Errors(); len(errs) != 1 || !strings.Contains(errs[0].Text, "65536") {
			t.Errorf("%s: %v, want an error about 65536 services", entries, errs)
		}
	}
}
