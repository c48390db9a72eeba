package ipvs

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink/nl"

	"github.com/solovip/solovip/lvs"
)

var comparing = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// services are services with everything that one can have.
func services() map[lvs.ServiceKey]lvs.Service {
	return map[lvs.ServiceKey]lvs.Service{
		lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort("10.0.0.1:80")): {Scheduler: "rr"},
		lvs.AddressKey(lvs.UDP, netip.MustParseAddrPort("10.0.0.1:53")): {
			Scheduler: "sh", Flags: lvs.OnePacket | lvs.SchedFlag1 | lvs.SchedFlag3,
		},
		lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort("10.0.0.2:0")): {
			Scheduler: "wlc", Persistence: 360 * time.Second, Granularity: 24,
		},
		lvs.AddressKey(lvs.SCTP, netip.MustParseAddrPort("[2001:db8::1]:80")): {
			Scheduler: "mh", Flags: lvs.SchedFlag2, Persistence: time.Minute, Granularity: 64,
		},
		{FWMark: 7}:             {Scheduler: "lblcr", Persistence: time.Second},
		{FWMark: 7, IPv6: true}: {Scheduler: "nq"},
	}
}

// destinations are destinations with everything that one can have.
func destinations() []lvs.Destination {
	dest := func(addr string, f lvs.Forwarding, weight int) lvs.Destination {
		return lvs.Destination{Addr: netip.MustParseAddrPort(addr), Forwarding: f, Weight: weight}
	}
	limited := dest("10.9.0.1:8080", lvs.Forwarding{}, 65535)
	limited.Upper, limited.Lower = 100, 50
	return []lvs.Destination{
		limited,
		dest("10.9.0.2:80", lvs.Forwarding{Method: lvs.DR}, 0),
		dest("10.9.0.3:80", lvs.Forwarding{Method: lvs.TUN}, 1),
		dest("10.9.0.4:80", lvs.Forwarding{Method: lvs.TUN, Tunnel: lvs.GUE, Port: 5555, Checksum: lvs.RemoteChecksum}, 1),
		dest("[2001:db8::9]:80", lvs.Forwarding{Method: lvs.TUN, Tunnel: lvs.GRE, Checksum: lvs.WithChecksum}, 1),
	}
}

// TestServicesComeBack: a service in the words of moby/ipvs is the same again.
func TestServicesComeBack(t *testing.T) {
	for key, s := range services() {
		gotKey, got, err := fromService(toService(key, s))
		if err != nil || gotKey != key || got != s {
			t.Errorf("%s %s came back as %s %s, %v", key, s, gotKey, got, err)
		}
	}
}

// TestDestinationsComeBack: the same of destinations, which our own message says in full, and
// moby/ipvs if they are plain.
func TestDestinationsComeBack(t *testing.T) {
	for _, dest := range destinations() {
		m := toDestination(dest)
		m.ActiveConnections, m.InactiveConnections = 3, 4
		got, connections, err := fromDestination(m)
		a := answer(t, attrDest, destinationAttr(dest))
		addr, rest, restErr := getRest(a)
		if key := (lvs.ServiceKey{FWMark: 1, IPv6: dest.Addr.Addr().Is6()}); !plain(key, dest) {
			got.Forwarding = rest.tunnel
		}
		if err != nil || restErr != nil || got != dest || addr != dest.Addr || connections != (Connections{Active: 3, Inactive: 4}) {
			t.Errorf("%s came back as %s, %s %v, %v, %v", dest, got, addr, connections, err, restErr)
		}
		fields := map[uint16]uint32{destMethod: m.ConnectionFlags, destWeight: uint32(dest.Weight), destUpper: dest.Upper, destLower: dest.Lower}
		for typ, want := range fields {
			if a.number(typ) != want {
				t.Errorf("%s: attribute %d is %d, want %d", dest, typ, a.number(typ), want)
			}
		}
	}
}

// TestPlain: what moby/ipvs has words for is told by it.
func TestPlain(t *testing.T) {
	var got []bool
	for _, dest := range destinations() {
		got = append(got, plain(lvs.ServiceKey{FWMark: 1}, dest))
	}
	if diff := cmp.Diff([]bool{true, true, true, false, false}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestBypass: a forwarding method that nobody can ask for is one of the kernel's own.
func TestBypass(t *testing.T) {
	got, _, err := fromDestination(&moby.Destination{Address: []byte{10, 9, 0, 1}, ConnectionFlags: moby.ConnFwdBypass})
	if err != nil || got.Forwarding.Method != lvs.Local {
		t.Errorf("%s, %v", got, err)
	}
}

// answer returns the attributes of an answer of the kernel in which that one is.
func answer(t *testing.T, typ uint16, a *nl.RtAttr) attributes {
	t.Helper()
	got, err := nested(request{1, []*nl.RtAttr{a}}.data(), typ)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestUnknownTunnel: a tunnel that only a newer kernel knows is read and told, and is no
// reason to read nothing at all.
func TestUnknownTunnel(t *testing.T) {
	strange := lvs.Destination{
		Addr: netip.MustParseAddrPort("10.9.0.1:80"), Forwarding: lvs.Forwarding{Method: lvs.TUN, Tunnel: 9, Checksum: 8}, Weight: 1,
	}
	_, got, err := getRest(answer(t, attrDest, destinationAttr(strange)))
	if want := "TUN type 9 checksum 8"; err != nil || got.tunnel.String() != want {
		t.Errorf("read %q, %v; want %q", got.tunnel, err, want)
	}
}

// TestDaemonsComeBack: the same of sync daemons.
func TestDaemonsComeBack(t *testing.T) {
	for _, group := range []string{"224.0.0.81", "ff02::81"} {
		want := lvs.Daemon{Interface: "eth1", ID: 7, MaxLen: 1400, Port: 8849, TTL: 2, Group: netip.MustParseAddr(group)}
		role, got, err := getDaemon(answer(t, attrDaemon, daemonAttr(lvs.Backup, &want)))
		if role != lvs.Backup || got != want || err != nil {
			t.Errorf("%s came back as %s %s, %v", &want, role, &got, err)
		}
	}
}

// TestMessage holds one message to the byte: what the kernel's header linux/ip_vs.h says,
// on a machine with the lowest byte first.
func TestMessage(t *testing.T) {
	if nl.NativeEndian() != binary.LittleEndian {
		t.Skip("the bytes are those of a little-endian machine")
	}
	key := lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort("10.0.0.1:80"))
	dest := lvs.Destination{
		Addr: netip.MustParseAddrPort("10.9.0.1:8080"), Weight: 3, Forwarding: lvs.Forwarding{Method: lvs.TUN, Tunnel: lvs.GUE, Port: 5555, Checksum: lvs.WithChecksum},
	}
	got := request{cmdNewDest, []*nl.RtAttr{keyAttr(key), destinationAttr(dest)}}.data()
	want := []byte{
		5, 1, 0, 0, // IPVS_CMD_NEW_DEST, version 1
		48, 0, 1, 0, // IPVS_CMD_ATTR_SERVICE
		6, 0, 1, 0, 2, 0, 0, 0, // IPVS_SVC_ATTR_AF: AF_INET
		6, 0, 2, 0, 6, 0, 0, 0, // IPVS_SVC_ATTR_PROTOCOL: TCP
		20, 0, 3, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // IPVS_SVC_ATTR_ADDR
		6, 0, 4, 0, 0, 80, 0, 0, // IPVS_SVC_ATTR_PORT
		96, 0, 2, 0, // IPVS_CMD_ATTR_DEST
		6, 0, 11, 0, 2, 0, 0, 0, // IPVS_DEST_ATTR_ADDR_FAMILY
		20, 0, 1, 0, 10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // IPVS_DEST_ATTR_ADDR
		6, 0, 2, 0, 0x1f, 0x90, 0, 0, // IPVS_DEST_ATTR_PORT
		8, 0, 3, 0, 2, 0, 0, 0, // IPVS_DEST_ATTR_FWD_METHOD: tunnel
		8, 0, 4, 0, 3, 0, 0, 0, // IPVS_DEST_ATTR_WEIGHT
		8, 0, 5, 0, 0, 0, 0, 0, // IPVS_DEST_ATTR_U_THRESH
		8, 0, 6, 0, 0, 0, 0, 0, // IPVS_DEST_ATTR_L_THRESH
		5, 0, 13, 0, 1, 0, 0, 0, // IPVS_DEST_ATTR_TUN_TYPE: GUE
		6, 0, 14, 0, 0x15, 0xb3, 0, 0, // IPVS_DEST_ATTR_TUN_PORT
		6, 0, 15, 0, 1, 0, 0, 0, // IPVS_DEST_ATTR_TUN_FLAGS: checksums
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestGranularity shows masks that are none.
func TestGranularity(t *testing.T) {
	mask := func(b ...byte) uint32 { return binary.NativeEndian.Uint32(b) }
	tests := []struct {
		six  bool
		mask uint32
		want int
	}{
		{false, mask(255, 255, 255, 255), 0},
		{false, mask(255, 255, 128, 0), 17},
		{false, mask(255, 0, 255, 0), -1},
		{false, mask(0, 0, 0, 0), -1},
		{true, 128, 0},
		{true, 64, 64},
	}
	for _, tt := range tests {
		if got := granularity(tt.six, tt.mask); got != tt.want {
			t.Errorf("granularity(%t, %x) is %d, want %d", tt.six, tt.mask, got, tt.want)
		}
		if tt.want >= 0 && netmask(tt.six, tt.want) != tt.mask {
			t.Errorf("netmask(%t, %d) is %x, want %x", tt.six, tt.want, netmask(tt.six, tt.want), tt.mask)
		}
	}
}

// FuzzAnswers: nothing that comes from the netlink socket panics.
func FuzzAnswers(f *testing.F) {
	for key := range services() {
		f.Add(request{1, []*nl.RtAttr{keyAttr(key)}}.data())
	}
	for _, dest := range destinations() {
		f.Add(request{1, []*nl.RtAttr{destinationAttr(dest)}}.data())
	}
	f.Add(request{1, []*nl.RtAttr{daemonAttr(lvs.Master, &lvs.Daemon{Group: netip.MustParseAddr("ff02::81")})}}.data())
	f.Fuzz(func(_ *testing.T, data []byte) {
		for typ := range uint16(4) {
			a, err := nested(data, typ)
			if err == nil {
				_, _, _ = getRest(a)
				_, _, _ = getDaemon(a)
			}
		}
	})
}
