package probe

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/solovip/solovip/config"
)

// TestPing pings over a ping socket and over a raw one, as the network allows.
func TestPing(t *testing.T) {
	for _, row := range []struct{ name, groups string }{{"ping socket", "0 0"}, {"raw socket", "1 0"}} {
		t.Run(row.name, func(t *testing.T) {
			// Link-local addresses belong to one end each: what goes to the other goes over the wire.
			ownNetwork(t, "link add d0 type veth peer name d1", "link set d0 up", "link set d1 up",
				"address add 10.0.0.1/24 dev d0", "address add 10.0.0.2/24 dev d0", "address add 2001:db8::1/64 dev d0 nodad",
				"address add fe80::1/64 dev d0 nodad", "address add fe80::2/64 dev d1 nodad")
			sysctl(t, "ipv4/ping_group_range", row.groups)
			for _, tt := range []struct {
				name string
				c    config.Checker
				why  string // empty: it succeeds
			}{
				{"IPv4", config.Checker{}, ""},
				{"IPv6", config.Checker{Target: netip.MustParseAddrPort("[2001:db8::1]:0")}, ""},
				{"bindto", config.Checker{Bind: netip.MustParseAddrPort("10.0.0.2:0")}, ""},
				{"an address of another host", config.Checker{Bind: netip.MustParseAddrPort("10.0.0.3:0")}, "bindto 10.0.0.3: cannot assign requested address"},
				{"an address on a link", config.Checker{Target: netip.MustParseAddrPort("[fe80::2%d0]:0")}, ""},
				{"bind_if", config.Checker{Target: netip.MustParseAddrPort("[fe80::2]:0"), Iface: "d0"}, ""},
				{"no such interface", config.Checker{Iface: "nosuch0"}, "bind_if nosuch0: no such device"},
			} {
				tt.c.Check = config.PingCheck{}
				if !tt.c.Target.IsValid() {
					tt.c.Target = netip.MustParseAddrPort("10.0.0.1:80")
				}
				t.Log(tt.name)
				verdict(t, attempt(t, tt.c), "ping "+tt.c.Target.Addr().String(), tt.why)
			}
		})
	}
}

// TestFWMark: the mark is on what UDP, TCP and ICMP send.
func TestFWMark(t *testing.T) {
	ownNetwork(t, "link add d0 type veth peer name d1", "link set d0 up", "link set d1 up", "address add 10.0.0.1/24 dev d0", "route add 10.9.0.0/24 via 10.0.0.2",
		"rule add fwmark 7 prohibit")
	for _, check := range []config.Check{config.TCPCheck{}, config.UDPCheck{MaxReply: 255}, config.PingCheck{}} {
		c := config.Checker{Check: check, Target: netip.MustParseAddrPort("10.9.0.1:7"), FWMark: 7}
		if got := attempt(t, c); got.OK || !strings.HasSuffix(got.Why, ": permission denied") {
			t.Errorf("%s: %+v, and marked packets are prohibited", check.Keyword(), got)
		}
	}
}

// FuzzPingReply: only the reply with our data is one, and it is whatever stands around it.
func FuzzPingReply(f *testing.F) {
	data := []byte("sixteen bytes it")
	for _, typ := range []icmp.Type{ipv4.ICMPTypeEchoReply, ipv4.ICMPTypeEcho, ipv6.ICMPTypeEchoReply} {
		packet, err := (&icmp.Message{Type: typ, Body: &icmp.Echo{ID: 1, Seq: 1, Data: data}}).Marshal(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet, typ.Protocol() == 58)
		f.Add(append([]byte{0x45, 19: 0}, packet...), false)
		f.Add(packet[:9], false)
	}
	f.Fuzz(func(t *testing.T, packet []byte, v6 bool) {
		if pingReply(packet, v6, data) && !strings.HasSuffix(string(packet), string(data)) {
			t.Errorf("taken for our reply: %x", packet)
		}
	})
}

func TestPingReply(t *testing.T) {
	data := []byte("sixteen bytes it")
	pack := func(typ icmp.Type) []byte {
		packet, err := (&icmp.Message{Type: typ, Body: &icmp.Echo{ID: 1, Seq: 1, Data: data}}).Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	with := append([]byte{0x45, 19: 0}, pack(ipv4.ICMPTypeEchoReply)...)
	for _, row := range []struct {
		name   string
		packet []byte
		v6     bool
		data   string
		want   bool
	}{
		{"reply", pack(ipv4.ICMPTypeEchoReply), false, string(data), true},
		{"reply with an IP header", with, false, string(data), true},
		{"reply of IPv6", pack(ipv6.ICMPTypeEchoReply), true, string(data), true},
		{"our own request", pack(ipv4.ICMPTypeEcho), false, string(data), false},
		{"reply to somebody else", pack(ipv4.ICMPTypeEchoReply), false, "other data", false},
		{"cut off in the IP header", with[:12], false, string(data), false},
	} {
		if got := pingReply(row.packet, row.v6, []byte(row.data)); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
