package vip

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

// What keepalived 2.2.7 sent for 10.9.0.100 when it became master, captured behind the
// Ethernet header.
const keepalivedGARP = "0001 0800 06 04 0001 42effc415c28 0a090064 ffffffffffff 0a090064"

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestARPMarshal(t *testing.T) {
	mac := MAC{0x42, 0xef, 0xfc, 0x41, 0x5c, 0x28}
	vip := netip.MustParseAddr("10.9.0.100")
	tests := []struct {
		name   string
		packet arp
		want   string
	}{
		{"announcement as keepalived's", gratuitousARP(mac, vip), keepalivedGARP},
		{"probe of RFC 5227 2.1.1", probeARP(mac, vip), "0001 0800 06 04 0001 42effc415c28 00000000 000000000000 0a090064"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.packet.marshal()
			if want := unhex(t, test.want); !bytes.Equal(got, want) {
				t.Errorf("got  % x\nwant % x", got, want)
			}
			padded := append(bytes.Clone(got), make([]byte, 18)...) // an Ethernet frame has 46 bytes at least
			if back, err := parseARP(padded); err != nil || back != test.packet {
				t.Errorf("parsed back: %+v, %v", back, err)
			}
		})
	}
}

func TestParseARPRejects(t *testing.T) {
	good := unhex(t, keepalivedGARP)
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	tests := []struct {
		name  string
		input []byte
	}{
		{"empty", nil},
		{"cut short", good[:27]},
		{"token ring", changed(1, 6)},
		{"not IPv4", changed(2, 0x86)},
		{"hardware address of 8 bytes", changed(4, 8)},
		{"protocol address of 16 bytes", changed(5, 16)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := parseARP(test.input); err == nil {
				t.Errorf("accepted: %+v", got)
			}
		})
	}
}

func FuzzParseARP(f *testing.F) {
	f.Add(unhex(f, keepalivedGARP))
	f.Add(probeARP(MAC{2}, netip.MustParseAddr("10.0.0.1")).marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		packet, err := parseARP(b)
		if err != nil {
			return
		}
		if got := packet.marshal(); !bytes.Equal(got, b[:arpSize]) {
			t.Errorf("% x came back as % x", b, got)
		}
	})
}
