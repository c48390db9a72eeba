package vrrp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

	testSrc = netip.MustParseAddr("10.99.0.1")
	testVIP = netip.MustParseAddr("10.99.0.100")
)

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, a := range list {
		out[i] = netip.MustParseAddr(a)
	}
	return out
}

// captured is one line of a capture file.
type captured struct {
	src, dst netip.Addr
	data     []byte
}

func readCapture(tb testing.TB) []captured {
	tb.Helper()
	f, err := os.Open("testdata/packets/keepalived-2.2.7.hex")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var out []captured
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) != 3 || fields[0] == "#" {
			continue
		}
		data, err := hex.DecodeString(fields[2])
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, captured{netip.MustParseAddr(fields[0]), netip.MustParseAddr(fields[1]), data})
	}
	if len(out) != 16 {
		tb.Fatalf("%d captured adverts, want 16", len(out))
	}
	return out
}

// TestKeepalivedPackets: we read each advert of a real keepalived as what its
// configuration says, and we write the very same bytes.
func TestKeepalivedPackets(t *testing.T) {
	three := addrs("10.99.0.100", "10.99.0.101", "10.98.0.7")
	one := addrs("10.99.0.100")
	pass := func(s string) (data [8]byte) { copy(data[:], s); return data }
	configs := []struct {
		name string
		want Packet
	}{
		{"v2", Packet{Version: V2, Priority: 100, AdvertInterval: time.Second, Addresses: one}},
		{"v2 password", Packet{Version: V2, Priority: 100, AdvertInterval: time.Second, Addresses: one, AuthType: AuthPass, AuthData: pass("s3cret")}},
		{"v2 three addresses", Packet{Version: V2, Priority: 254, AdvertInterval: 2 * time.Second, Addresses: three, AuthType: AuthPass, AuthData: pass("12345678")}},
		{"v2 unicast", Packet{Version: V2, Priority: 100, AdvertInterval: time.Second, Addresses: one, AuthType: AuthPass, AuthData: pass("1111")}},
		{"v3", Packet{Version: V3, Priority: 100, AdvertInterval: time.Second, Addresses: one}},
		{"v3 three addresses", Packet{Version: V3, Priority: 200, AdvertInterval: 250 * time.Millisecond, Addresses: three}},
		{"v3 unicast", Packet{Version: V3, Priority: 150, AdvertInterval: time.Second, Addresses: one}},
		{"v3 owner", Packet{Version: V3, Priority: 255, AdvertInterval: time.Second, Addresses: one}},
	}
	capture := readCapture(t)
	for i, tt := range configs {
		goodbye := tt.want
		goodbye.Priority = PriorityLeaving
		for j, want := range []Packet{tt.want, goodbye} {
			c := capture[2*i+j]
			want.VRID = 51
			got, err := Parse(c.data, c.src, c.dst)
			if err != nil {
				t.Errorf("%s, priority %d: %v", tt.name, want.Priority, err)
				continue
			}
			if d := cmp.Diff(want, got, cmpAddr); d != "" {
				t.Errorf("%s, priority %d (-want +got):\n%s", tt.name, want.Priority, d)
			}
			again, err := want.Append(nil, c.src, c.dst)
			if err != nil || !bytes.Equal(again, c.data) {
				t.Errorf("%s, priority %d: wrote %x (%v), keepalived wrote %x", tt.name, want.Priority, again, err, c.data)
			}
		}
	}
}

// TestTshark: tshark reads our packets as we meant them and finds the checksums right.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("tshark is missing")
		}
		t.Skip("tshark is missing")
	}
	unicast := netip.MustParseAddr("10.99.0.2")
	packets := []struct {
		p    Packet
		dst  netip.Addr
		want string
	}{
		{Packet{Version: V2, VRID: 1, Priority: 100, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100")}, Group(), "2|1|100|1|0|10.99.0.100|"},
		{
			Packet{Version: V2, VRID: 255, Priority: 0, AdvertInterval: 255 * time.Second, Addresses: addrs("10.99.0.100", "10.99.0.101"), AuthType: AuthPass, AuthData: [8]byte([]byte("12345678"))},
			unicast, "2|255|0|2|1|10.99.0.100,10.99.0.101|12345678",
		},
		{Packet{Version: V3, VRID: 51, Priority: 255, AdvertInterval: 40950 * time.Millisecond, Addresses: addrs("10.99.0.100")}, Group(), "3|51|255|1||10.99.0.100|"},
		{Packet{Version: V3, VRID: 51, Priority: 1, AdvertInterval: 10 * time.Millisecond, Addresses: addrs("10.99.0.100", "1.2.3.4", "5.6.7.8")}, unicast, "3|51|1|3||10.99.0.100,1.2.3.4,5.6.7.8|"},
	}
	pcap := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0} // raw IP
	for _, tt := range packets {
		msg, err := tt.p.Append(nil, testSrc, tt.dst)
		if err != nil {
			t.Fatal(err)
		}
		ip := ipv4Packet(testSrc, tt.dst, msg)
		pcap = append(pcap, make([]byte, 8)...)
		pcap = binary.LittleEndian.AppendUint32(pcap, uint32(len(ip)))
		pcap = binary.LittleEndian.AppendUint32(pcap, uint32(len(ip)))
		pcap = append(pcap, ip...)
	}
	file := filepath.Join(t.TempDir(), "adverts.pcap")
	if err := os.WriteFile(file, pcap, 0o644); err != nil {
		t.Fatal(err)
	}
	fields := []string{"-n", "-r", file, "-T", "fields", "-E", "separator=|"}
	for _, f := range []string{"vrrp.version", "vrrp.virt_rtr_id", "vrrp.prio", "vrrp.addr_count", "vrrp.auth_type", "vrrp.ip_addr", "vrrp.auth_string", "vrrp.checksum.status", "_ws.malformed", "_ws.expert.message"} {
		fields = append(fields, "-e", f)
	}
	out, err := exec.CommandContext(t.Context(), tshark, fields...).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(packets) {
		t.Fatalf("tshark saw %d packets, want %d:\n%s", len(lines), len(packets), out)
	}
	const checksumGood = "|1||" // status 1; not malformed; no remark
	for i, tt := range packets {
		if want := tt.want + checksumGood; lines[i] != want {
			t.Errorf("tshark: %s, want %s", lines[i], want)
		}
	}
}

// ipv4Packet wraps an advert in an IP header.
func ipv4Packet(src, dst netip.Addr, msg []byte) []byte {
	s, d := src.As4(), dst.As4()
	ip := []byte{0x45, 0xc0, 0, 0, 0, 0, 0, 0, TTL, Protocol, 0, 0}
	ip = append(append(ip, s[:]...), d[:]...)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(msg)))
	binary.BigEndian.PutUint16(ip[10:], ^fold(sumBytes(0, ip)))
	return append(ip, msg...)
}

// TestParseErrors has one row for each reason to refuse, on an otherwise good advert.
func TestParseErrors(t *testing.T) {
	v2 := Packet{Version: V2, VRID: 51, Priority: 100, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100")}
	v3 := Packet{Version: V3, VRID: 51, Priority: 100, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100")}
	tests := []struct {
		name string
		p    Packet
		edit func(b []byte) []byte
		sum  bool // make the checksum right again
		want error
	}{
		{"empty", v3, func([]byte) []byte { return nil }, false, ErrShort},
		{"seven bytes", v3, func(b []byte) []byte { return b[:7] }, false, ErrShort},
		{"version 1", v2, func(b []byte) []byte { b[0] = 1<<4 | 1; return b }, true, ErrVersion},
		{"version 4", v3, func(b []byte) []byte { b[0] = 4<<4 | 1; return b }, true, ErrVersion},
		{"type 2", v3, func(b []byte) []byte { b[0] = 3<<4 | 2; return b }, true, ErrType},
		{"no address", v3, func(b []byte) []byte { b[3] = 0; return b[:8] }, true, ErrCount},
		{"one address missing", v3, func(b []byte) []byte { b[3] = 2; return b }, true, ErrLength},
		{"cut within the address", v3, func(b []byte) []byte { return b[:len(b)-1] }, false, ErrLength},
		{"authentication data missing", v2, func(b []byte) []byte { return b[:12] }, true, ErrLength},
		{"a trailer", v3, func(b []byte) []byte { return append(b, 0, 0, 0, 0) }, true, ErrLength},
		{"a bit flipped, version 2", v2, func(b []byte) []byte { b[2] ^= 1; return b }, false, ErrChecksum},
		{"a bit flipped, version 3", v3, func(b []byte) []byte { b[2] ^= 1; return b }, false, ErrChecksum},
		{"authentication type 2", v2, func(b []byte) []byte { b[4] = 2; return b }, true, ErrAuth},
		{"interval 0, version 2", v2, func(b []byte) []byte { b[5] = 0; return b }, true, ErrInterval},
		{"interval 0, version 3", v3, func(b []byte) []byte { b[4], b[5] = 0xf0, 0; return b }, true, ErrInterval},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tt.p.Append(nil, testSrc, Group())
			if err != nil {
				t.Fatal(err)
			}
			b = tt.edit(b)
			if tt.sum {
				b[6], b[7] = 0, 0
				binary.BigEndian.PutUint16(b[6:], ^fold(sumBytes(0, b)))
			}
			if p, err := Parse(b, testSrc, Group()); !errors.Is(err, tt.want) {
				t.Errorf("Parse(%x) = %+v, %v; want %v", b, p, err, tt.want)
			}
		})
	}
}

// TestReservedBitsIgnored: RFC 9568 section 5.2.6.
func TestReservedBitsIgnored(t *testing.T) {
	p := Packet{Version: V3, VRID: 51, Priority: 100, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100"), PlainChecksum: true}
	b, err := p.Append(nil, testSrc, Group())
	if err != nil {
		t.Fatal(err)
	}
	if b[4]&0xf0 != 0 {
		t.Errorf("sent with reserved bits %#x", b[4])
	}
	b[4], b[6], b[7] = b[4]|0xf0, 0, 0
	binary.BigEndian.PutUint16(b[6:], ^fold(sumBytes(0, b)))
	got, err := Parse(b, testSrc, Group())
	if d := cmp.Diff(p, got, cmpAddr); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// TestChecksumForms: version 3 is read with and without the pseudo-header, and the
// pseudo-header is that of the real addresses, also in unicast.
func TestChecksumForms(t *testing.T) {
	peer := netip.MustParseAddr("10.99.0.2")
	for _, dst := range []netip.Addr{Group(), peer} {
		for _, plain := range []bool{false, true} {
			p := Packet{Version: V3, VRID: 51, Priority: 100, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100"), PlainChecksum: plain}
			b, err := p.Append([]byte("before"), testSrc, dst)
			if err != nil {
				t.Fatal(err)
			}
			b = b[len("before"):]
			got, err := Parse(b, testSrc, dst)
			if err != nil || got.PlainChecksum != plain {
				t.Errorf("dst %v: PlainChecksum %t read as %t, %v", dst, plain, got.PlainChecksum, err)
			}
			_, err = Parse(b, netip.MustParseAddr("10.99.0.77"), dst)
			if wrong := errors.Is(err, ErrChecksum); wrong == plain {
				t.Errorf("dst %v, PlainChecksum %t: from another source: %v", dst, plain, err)
			}
		}
	}
}

// TestAuthDataIgnored: without authentication the data is sent as zeros and ignored
// when received (RFC 3768 section 5.3.10).
func TestAuthDataIgnored(t *testing.T) {
	p := Packet{Version: V2, VRID: 51, Priority: 100, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100"), AuthData: [8]byte{1, 2, 3}}
	b, err := p.Append(nil, testSrc, Group())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[12:], make([]byte, 8)) {
		t.Errorf("sent authentication data %x", b[12:])
	}
	b[12], b[6], b[7] = 0xff, 0, 0
	binary.BigEndian.PutUint16(b[6:], ^fold(sumBytes(0, b)))
	if got, err := Parse(b, testSrc, Group()); err != nil || got.AuthData != [8]byte{} {
		t.Errorf("got %v, %v", got.AuthData, err)
	}
}

func TestAppendErrors(t *testing.T) {
	good := Packet{Version: V3, VRID: 51, Priority: 100, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100")}
	many := make([]netip.Addr, 256)
	for i := range many {
		many[i] = testVIP
	}
	tests := []struct {
		name string
		edit func(p *Packet)
		dst  netip.Addr
		want error
	}{
		{"version 0", func(p *Packet) { p.Version = 0 }, Group(), ErrVersion},
		{"no address", func(p *Packet) { p.Addresses = nil }, Group(), ErrCount},
		{"256 addresses", func(p *Packet) { p.Addresses = many }, Group(), ErrCount},
		{"an IPv6 address", func(p *Packet) { p.Addresses = addrs("::1") }, Group(), ErrAddress},
		{"an IPv6 destination", func(*Packet) {}, netip.MustParseAddr("ff02::12"), ErrAddress},
		{"no destination", func(*Packet) {}, netip.Addr{}, ErrAddress},
		{"interval 0", func(p *Packet) { p.AdvertInterval = 0 }, Group(), ErrInterval},
		{"interval 15 ms", func(p *Packet) { p.AdvertInterval = 15 * time.Millisecond }, Group(), ErrInterval},
		{"interval 40.96 s", func(p *Packet) { p.AdvertInterval = 40960 * time.Millisecond }, Group(), ErrInterval},
		{"interval 1.5 s, version 2", func(p *Packet) { p.Version, p.AdvertInterval = V2, 1500*time.Millisecond }, Group(), ErrInterval},
		{"interval 256 s, version 2", func(p *Packet) { p.Version, p.AdvertInterval = V2, 256*time.Second }, Group(), ErrInterval},
		{"authentication type 2", func(p *Packet) { p.Version, p.AuthType = V2, 2 }, Group(), ErrAuth},
	}
	for _, tt := range tests {
		p := good
		tt.edit(&p)
		b, err := p.Append([]byte("before"), testSrc, tt.dst)
		if !errors.Is(err, tt.want) || string(b) != "before" {
			t.Errorf("%s: %q, %v; want %v", tt.name, b, err, tt.want)
		}
	}
}

// FuzzParse: whatever Parse accepts, it gives back in the same meaning after a trip
// over the wire; nothing makes it panic.
func FuzzParse(f *testing.F) {
	for _, c := range readCapture(f) {
		f.Add(c.data, c.dst.IsMulticast())
	}
	plain := Packet{Version: V3, VRID: 1, Priority: 1, AdvertInterval: time.Second, Addresses: addrs("10.99.0.100"), PlainChecksum: true}
	b, err := plain.Append(nil, testSrc, Group())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, true)
	f.Fuzz(func(t *testing.T, b []byte, multicast bool) {
		dst := netip.MustParseAddr("10.99.0.2")
		if multicast {
			dst = Group()
		}
		p, err := Parse(b, testSrc, dst)
		if err != nil {
			return
		}
		wire, err := p.Append(nil, testSrc, dst)
		if err != nil {
			t.Fatalf("%+v does not go back: %v", p, err)
		}
		again, err := Parse(wire, testSrc, dst)
		if d := cmp.Diff(p, again, cmpAddr); err != nil || d != "" {
			t.Fatalf("%v (-first +second):\n%s", err, d)
		}
	})
}
