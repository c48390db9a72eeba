package ipvs

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

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

// answer encodes what put puts as an answer of the kernel would be.
func answer(t *testing.T, put func(e *netlink.AttributeEncoder)) []byte {
	t.Helper()
	data, err := message(1, put)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestServicesComeBack: a service that is encoded is decoded as the same.
func TestServicesComeBack(t *testing.T) {
	for key, s := range services() {
		data := answer(t, inService(func(e *netlink.AttributeEncoder) { putService(e, key, s) }))
		var gotKey lvs.ServiceKey
		var got lvs.Service
		err := nested(data, attrService, func(d *netlink.AttributeDecoder) (err error) {
			gotKey, got, err = getService(d)
			return err
		})
		if err != nil || gotKey != key || got != s {
			t.Errorf("%s %s came back as %s %s, %v", key, s, gotKey, got, err)
		}
	}
}

// TestDestinationsComeBack: the same of destinations.
func TestDestinationsComeBack(t *testing.T) {
	key := lvs.ServiceKey{FWMark: 1}
	for _, dest := range destinations() {
		data := answer(t, inBoth(key, func(e *netlink.AttributeEncoder) { putDestination(e, dest) }))
		var got lvs.Destination
		err := nested(data, attrDest, func(d *netlink.AttributeDecoder) (err error) {
			got, _, err = getDestination(d, false)
			return err
		})
		if err != nil || got != dest {
			t.Errorf("%s came back as %s, %v", dest, got, err)
		}
	}
}

// TestUnknownTunnel: a tunnel that only a newer kernel knows is read and told, and is no
// reason to read nothing at all.
func TestUnknownTunnel(t *testing.T) {
	strange := lvs.Destination{
		Addr: netip.MustParseAddrPort("10.9.0.1:80"), Forwarding: lvs.Forwarding{Method: lvs.TUN, Tunnel: 9, Checksum: 8}, Weight: 1,
	}
	data := answer(t, inBoth(lvs.ServiceKey{FWMark: 1}, func(e *netlink.AttributeEncoder) { putDestination(e, strange) }))
	err := nested(data, attrDest, func(d *netlink.AttributeDecoder) error {
		got, _, err := getDestination(d, false)
		if want := "10.9.0.1:80 TUN type 9 checksum 8 weight 1"; got.String() != want {
			t.Errorf("read %q, want %q", got, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDaemonsComeBack: the same of sync daemons.
func TestDaemonsComeBack(t *testing.T) {
	for _, group := range []string{"224.0.0.81", "ff02::81"} {
		want := lvs.Daemon{Interface: "eth1", ID: 7, MaxLen: 1400, Port: 8849, TTL: 2, Group: netip.MustParseAddr(group)}
		data := answer(t, inDaemon(lvs.Backup, &want))
		err := nested(data, attrDaemon, func(d *netlink.AttributeDecoder) error {
			role, got, err := getDaemon(d)
			if role != lvs.Backup || got != want {
				t.Errorf("%s came back as %s %s", &want, role, &got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestMessage holds one message to the byte: what the kernel's header linux/ip_vs.h says,
// on a machine with the lowest byte first.
func TestMessage(t *testing.T) {
	if netlinkBig() {
		t.Skip("the bytes are those of a little-endian machine")
	}
	key := lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort("10.0.0.1:80"))
	r := requests(lvs.AddDestination{Key: key, Destination: lvs.Destination{Addr: netip.MustParseAddrPort("10.9.0.1:8080"), Weight: 3}})
	got, err := message(r[0].command, r[0].put)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{
		5, 1, 0, 0, // IPVS_CMD_NEW_DEST, version 1
		48, 0, 1, 0x80, // IPVS_CMD_ATTR_SERVICE, nested
		6, 0, 1, 0, 2, 0, 0, 0, // IPVS_SVC_ATTR_AF: AF_INET
		6, 0, 2, 0, 6, 0, 0, 0, // IPVS_SVC_ATTR_PROTOCOL: TCP
		20, 0, 3, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // IPVS_SVC_ATTR_ADDR
		6, 0, 4, 0, 0, 80, 0, 0, // IPVS_SVC_ATTR_PORT
		72, 0, 2, 0x80, // IPVS_CMD_ATTR_DEST, nested
		6, 0, 11, 0, 2, 0, 0, 0, // IPVS_DEST_ATTR_ADDR_FAMILY
		20, 0, 1, 0, 10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // IPVS_DEST_ATTR_ADDR
		6, 0, 2, 0, 0x1f, 0x90, 0, 0, // IPVS_DEST_ATTR_PORT
		8, 0, 3, 0, 0, 0, 0, 0, // IPVS_DEST_ATTR_FWD_METHOD: masquerading
		8, 0, 4, 0, 3, 0, 0, 0, // IPVS_DEST_ATTR_WEIGHT
		8, 0, 5, 0, 0, 0, 0, 0, // IPVS_DEST_ATTR_U_THRESH
		8, 0, 6, 0, 0, 0, 0, 0, // IPVS_DEST_ATTR_L_THRESH
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// netlinkBig reports whether this machine has the highest byte first.
func netlinkBig() bool {
	e := netlink.NewAttributeEncoder()
	e.Uint16(1, 1)
	b, err := e.Encode()
	return err != nil || b[4] == 0
}

// TestGranularity shows masks that are none.
func TestGranularity(t *testing.T) {
	tests := []struct {
		six  bool
		mask []byte
		want int
	}{
		{false, []byte{255, 255, 255, 255}, 0},
		{false, []byte{255, 255, 128, 0}, 17},
		{false, []byte{255, 0, 255, 0}, -1},
		{false, []byte{0, 0, 0, 0}, -1},
		{false, nil, -1},
		{true, netmask(true, 0), 0},
		{true, netmask(true, 64), 64},
	}
	for _, tt := range tests {
		if got := granularity(tt.six, tt.mask); got != tt.want {
			t.Errorf("granularity(%t, %v) is %d, want %d", tt.six, tt.mask, got, tt.want)
		}
	}
}

// FuzzAnswers: nothing that comes from the netlink socket panics.
func FuzzAnswers(f *testing.F) {
	for key, s := range services() {
		data, _ := message(1, inService(func(e *netlink.AttributeEncoder) { putService(e, key, s) }))
		f.Add(data)
	}
	for _, dest := range destinations() {
		data, _ := message(1, inBoth(lvs.ServiceKey{FWMark: 1}, func(e *netlink.AttributeEncoder) { putDestination(e, dest) }))
		f.Add(data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = nested(data, attrService, func(d *netlink.AttributeDecoder) error { _, _, err := getService(d); return err })
		_ = nested(data, attrDest, func(d *netlink.AttributeDecoder) error { _, _, err := getDestination(d, true); return err })
		_ = nested(data, attrDaemon, func(d *netlink.AttributeDecoder) error { _, _, err := getDaemon(d); return err })
	})
}
