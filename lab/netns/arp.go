package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// arpVoice asks the client's network who has the VIP.
//
// An ARP reply carries no number of its request. But it goes to the sender hardware
// address that the request names, so the number is in there, and each reply tells which
// request it answers. The sender's IP address is one that the client does not use
// otherwise, so that the nodes' neighbour entry for the client stays true.
type arpVoice struct {
	conn     *packet.Conn
	mac      net.HardwareAddr
	from     netip.Addr
	vip      netip.Addr
	nodeOf   func(net.HardwareAddr) string
	announce func(node string) // called for each gratuitous ARP of the VIP
	buf      [128]byte
}

// ARP over Ethernet (RFC 826): offsets in the payload.
const (
	arpOp        = 6
	arpSenderMAC = 8
	arpSenderIP  = 14
	arpTargetMAC = 18
	arpTargetIP  = 24
	arpLen       = 28

	arpRequest = 1
	arpReply   = 2
)

// arpMark begins the hardware addresses that carry a request's number: locally
// administered, and no host's.
const arpMark = 0x0251

// newARPVoice opens the client's socket on an interface; it must be called inside its namespace.
func newARPVoice(link string, from, vip netip.Addr) (*arpVoice, error) {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return nil, fmt.Errorf("find the client's %s: %w", link, err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket on the client: %w", err)
	}
	return &arpVoice{conn: conn, mac: ifi.HardwareAddr, from: from, vip: vip}, nil
}

func (v *arpVoice) ask(seq uint32) {
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	frame := make([]byte, 0, 14+arpLen)
	frame = append(frame, broadcast...)
	frame = append(frame, v.mac...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	frame = append(frame, 0, 1, 0x08, 0, 6, 4, 0, arpRequest) // Ethernet, IPv4, address lengths
	frame = binary.BigEndian.AppendUint16(frame, arpMark)
	frame = binary.BigEndian.AppendUint32(frame, seq)
	frame = append(frame, v.from.AsSlice()...)
	frame = append(frame, make([]byte, 6)...)
	frame = append(frame, v.vip.AsSlice()...)
	_, _ = v.conn.WriteTo(frame, &packet.Addr{HardwareAddr: broadcast}) // unanswered, if it fails
}

func (v *arpVoice) listen(deadline time.Time) (seq uint32, node string, err error) {
	if err := v.conn.SetReadDeadline(deadline); err != nil {
		return 0, "", err
	}
	for {
		n, _, err := v.conn.ReadFrom(v.buf[:])
		if err != nil {
			return 0, "", err
		}
		seq, mac, what := readARP(v.buf[:n], v.vip)
		switch what {
		case arpAnswer:
			return seq, v.nodeOf(mac), nil
		case arpAnnouncement:
			v.announce(v.nodeOf(mac))
		case arpOther:
		}
	}
}

// What an ARP packet is to the oracle.
const (
	arpOther        = iota
	arpAnswer       // to one of its questions
	arpAnnouncement // gratuitous ARP of the VIP
)

// readARP tells what a frame says about the VIP: the number of the question that it answers,
// and the hardware address that it says has the VIP.
func readARP(frame []byte, vip netip.Addr) (seq uint32, mac net.HardwareAddr, what int) {
	if len(frame) < 14+arpLen {
		return 0, nil, arpOther
	}
	arp := frame[14:]
	sender, _ := netip.AddrFromSlice(arp[arpSenderIP:arpTargetMAC])
	if sender != vip {
		return 0, nil, arpOther
	}
	mac = net.HardwareAddr(arp[arpSenderMAC:arpSenderIP])
	target := arp[arpTargetMAC:arpTargetIP]
	switch {
	case arp[arpOp+1] == arpReply && binary.BigEndian.Uint16(target) == arpMark:
		return binary.BigEndian.Uint32(target[2:]), mac, arpAnswer
	case netip.AddrFrom4([4]byte(arp[arpTargetIP:arpLen])) == vip:
		return 0, mac, arpAnnouncement
	}
	return 0, nil, arpOther
}
