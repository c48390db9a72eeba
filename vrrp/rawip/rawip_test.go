package rawip

import (
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

func TestVRIDFilter(t *testing.T) {
	// An IP header of so many bytes, then VRRP's version and type, and the VRID.
	packet := func(header int, vrid byte) []byte {
		b := make([]byte, header, header+2)
		b[0] = 0x40 | byte(header/4)
		return append(b, 0x31, vrid)
	}
	tests := []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"ours", packet(20, 51), true},
		{"ours behind IP options", packet(60, 51), true},
		{"another", packet(20, 52), false},
		{"another behind IP options", packet(24, 50), false},
		{"cut short before the VRID", packet(20, 51)[:21], false},
		{"no payload", packet(20, 51)[:20], false},
	}
	filter, err := vridFilter(51)
	if err != nil {
		t.Fatal(err)
	}
	program := make([]bpf.Instruction, len(filter))
	for i, in := range filter {
		program[i] = in.Disassemble()
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if n, err := vm.Run(test.packet); err != nil || (n > 0) != test.want {
				t.Errorf("accepted %d bytes, %v; want accepted = %t", n, err, test.want)
			}
		})
	}
}

// RFC 9568 section 7.1: "MUST verify that the IPv4 TTL is 255".
func TestTTLAllowed(t *testing.T) {
	group, unicast := netip.MustParseAddr("224.0.0.18"), netip.MustParseAddr("10.0.0.1")
	tests := []struct {
		name        string
		destination netip.Addr
		ttl         int
		want        bool
	}{
		{"multicast from the link", group, 255, true},
		{"multicast through a router", group, 254, false},
		{"unicast from the link", unicast, 255, true},
		{"unicast through routers", unicast, 250, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := (Datagram{Destination: test.destination, TTL: test.ttl}).TTLAllowed(); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestConfigDefaultsAndLimits(t *testing.T) {
	addr := netip.MustParseAddr
	got, err := Config{Interface: "eth0", VRID: 1}.withDefaults()
	if err != nil || got.TTL != 255 || got.Group != addr("224.0.0.18") {
		t.Errorf("defaults: %+v, %v", got, err)
	}
	tests := []struct {
		name   string
		config Config
	}{
		{"no VRID", Config{Interface: "eth0"}},
		{"TTL too large", Config{Interface: "eth0", VRID: 1, TTL: 256}},
		{"TTL negative", Config{Interface: "eth0", VRID: 1, TTL: -1}},
		{"group is no group", Config{Interface: "eth0", VRID: 1, Group: addr("10.0.0.1")}},
		{"IPv6 group", Config{Interface: "eth0", VRID: 1, Group: addr("ff02::12")}},
		{"IPv6 source", Config{Interface: "eth0", VRID: 1, Source: addr("::1")}},
		{"multicast by any interface", Config{VRID: 1, Source: addr("10.0.0.1")}},
		{"unicast from nowhere", Config{VRID: 1, Peers: []netip.Addr{addr("10.0.0.2")}}},
		{"peer is a group", Config{Interface: "eth0", VRID: 1, Peers: []netip.Addr{addr("224.0.0.18")}}},
		{"peer is nothing", Config{Interface: "eth0", VRID: 1, Peers: []netip.Addr{{}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := test.config.withDefaults(); err == nil {
				t.Errorf("accepted: %+v", got)
			}
		})
	}
}
