package vip

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC [6]byte

// String returns the address in the usual form, as in 02:00:5e:10:00:01.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// broadcastMAC reaches every station of the link.
var broadcastMAC = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} //nolint:gochecknoglobals // a constant

// The fields of an ARP packet for IPv4 over Ethernet that never differ (RFC 826).
const (
	arpSize         = 28
	arpHardware     = 1      // Ethernet
	arpProtocol     = 0x0800 // IPv4
	arpHardwareSize = 6
	arpProtocolSize = 4
)

// arpOp is the operation of an ARP packet (RFC 826).
type arpOp uint16

const (
	arpRequest arpOp = 1
	arpReply   arpOp = 2
)

// arp is an ARP packet for IPv4 over Ethernet.
type arp struct {
	op        arpOp
	senderMAC MAC
	senderIP  netip.Addr
	targetMAC MAC
	targetIP  netip.Addr
}

// gratuitousARP returns the packet that tells all stations to send packets for addr
// to mac. It is a request (an "ARP announcement" in the words of RFC 5227 section 3),
// with the target MAC all ones, which is what keepalived 2.2.7 sends; hosts and
// switches that learnt to live with keepalived see nothing new.
func gratuitousARP(mac MAC, addr netip.Addr) arp {
	return arp{op: arpRequest, senderMAC: mac, senderIP: addr, targetMAC: broadcastMAC, targetIP: addr}
}

// probeARP returns the question whether somebody has addr, which changes nobody's
// cache: the sender's address is 0.0.0.0 (RFC 5227 section 2.1.1).
func probeARP(mac MAC, addr netip.Addr) arp {
	return arp{op: arpRequest, senderMAC: mac, senderIP: netip.IPv4Unspecified(), targetIP: addr}
}

// marshal returns the packet as it follows the Ethernet header. Both addresses must be IPv4.
func (a arp) marshal() []byte {
	b := make([]byte, 0, arpSize)
	b = binary.BigEndian.AppendUint16(b, arpHardware)
	b = binary.BigEndian.AppendUint16(b, arpProtocol)
	b = append(b, arpHardwareSize, arpProtocolSize)
	b = binary.BigEndian.AppendUint16(b, uint16(a.op))
	b = append(b, a.senderMAC[:]...)
	b = append(b, a.senderIP.AsSlice()...)
	b = append(b, a.targetMAC[:]...)
	return append(b, a.targetIP.AsSlice()...)
}

// parseARP reads what follows the Ethernet header of an ARP frame. Bytes behind the
// packet are padding of the frame and are ignored.
func parseARP(b []byte) (arp, error) {
	if len(b) < arpSize {
		return arp{}, fmt.Errorf("arp packet of %d bytes, want %d", len(b), arpSize)
	}
	if binary.BigEndian.Uint16(b) != arpHardware || binary.BigEndian.Uint16(b[2:]) != arpProtocol ||
		b[4] != arpHardwareSize || b[5] != arpProtocolSize {
		return arp{}, fmt.Errorf("arp packet is not for IPv4 over Ethernet: % x", b[:6])
	}
	return arp{
		op:        arpOp(binary.BigEndian.Uint16(b[6:])),
		senderMAC: MAC(b[8:14]),
		senderIP:  netip.AddrFrom4([4]byte(b[14:18])),
		targetMAC: MAC(b[18:24]),
		targetIP:  netip.AddrFrom4([4]byte(b[24:28])),
	}, nil
}
