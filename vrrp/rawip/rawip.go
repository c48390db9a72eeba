package rawip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"

	"github.com/solovip/solovip/vrrp/vip"
)

// Protocol is the IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
const Protocol = 112

// originTTL is what adverts are sent with; one that still has it when it arrives was not
// forwarded by any router (RFC 9568 section 5.1.1.3).
const originTTL = 255

// maxPayload is more than the longest advert: a VRRPv2 one with 255 addresses and
// authentication data has 1036 bytes.
const maxPayload = 2048

// ErrInterface marks errors of Open and Send whose cause is an interface that is missing,
// is down, or lacks the source address. They are retryable: try again when the interface
// has changed. It is the same value as vip.ErrInterface.
var ErrInterface = vip.ErrInterface

// Config says which adverts a Conn carries.
type Config struct {
	// Interface is the name of the interface that adverts leave and arrive by; those that
	// arrive by another are dropped. It may be empty with Peers and Source: then routing
	// decides.
	Interface string
	// Source is the address that adverts are sent from, one of this host's. The zero Addr
	// is the interface's primary IPv4 address.
	Source netip.Addr
	// Group is the multicast group, by default 224.0.0.18. Not used with Peers.
	Group netip.Addr
	// Peers are the other nodes in unicast mode: no group is joined, and only packets sent
	// to Source are received. Empty: multicast.
	Peers []netip.Addr
	// VRID is the virtual router identifier, 1 to 255; packets with another are not received.
	VRID uint8
	// TTL is what packets are sent with, by default 255. At most 255.
	TTL int
}

// withDefaults fills in what was left out and rejects what cannot work whatever the
// state of the host.
func (c Config) withDefaults() (Config, error) {
	if !c.Group.IsValid() {
		c.Group = netip.AddrFrom4([4]byte{224, 0, 0, 18}) // RFC 9568 section 5.1.1.2
	}
	if c.TTL == 0 {
		c.TTL = originTTL
	}
	switch {
	case c.VRID == 0:
		return c, errors.New("virtual_router_id is missing: 1 to 255")
	case c.TTL < 0 || c.TTL > originTTL:
		return c, fmt.Errorf("ttl %d is out of range: 1 to %d", c.TTL, originTTL)
	case !c.Group.Is4() || !c.Group.IsMulticast():
		return c, fmt.Errorf("%s is not an IPv4 multicast group: 224.0.0.18 is VRRP's", c.Group)
	case c.Source.IsValid() && !c.Source.Is4():
		return c, fmt.Errorf("source address %s is not IPv4", c.Source)
	case c.Interface == "" && len(c.Peers) == 0:
		return c, errors.New("multicast needs an interface")
	case c.Interface == "" && !c.Source.IsValid():
		return c, errors.New("unicast needs unicast_src_ip or an interface")
	}
	if at := slices.IndexFunc(c.Peers, func(peer netip.Addr) bool { return !peer.Is4() || peer.IsMulticast() }); at >= 0 {
		return c, fmt.Errorf("peer %s is not an IPv4 unicast address", c.Peers[at])
	}
	return c, nil
}

// destinations returns where adverts go.
func (c Config) destinations() []netip.Addr {
	if len(c.Peers) > 0 {
		return c.Peers
	}
	return []netip.Addr{c.Group}
}

// Datagram is a packet that was received.
type Datagram struct {
	// Payload is the VRRP packet, without the IP header. The receiver owns it.
	Payload []byte
	// Source is the address it came from, as the sender says.
	Source netip.Addr
	// Destination is the address it was sent to: the group, or one of this host's.
	Destination netip.Addr
	// TTL is the time to live that was left.
	TTL int
	// Interface is the index of the interface it arrived by.
	Interface int
}

// TTLAllowed reports whether the TTL is one that a receiver must accept. Multicast that
// does not have 255 left came through a router, and must be discarded (RFC 9568 section
// 7.1). Unicast peers may be routers away: any TTL is allowed there, and a stricter rule
// is the configuration's to make.
func (d Datagram) TTLAllowed() bool {
	return d.TTL == originTTL || !d.Destination.IsMulticast()
}

// vridFilter accepts packets, given from the IP header on, whose VRRP packet is for vrid.
func vridFilter(vrid uint8) ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadMemShift{Off: 0},          // x = length of the IP header
		bpf.LoadIndirect{Off: 1, Size: 1}, // the VRID is the second byte behind it
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(vrid), SkipFalse: 1},
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	})
}

// isFor repeats the filter for what arrived while the socket did not have it yet.
func isFor(payload []byte, vrid uint8) bool {
	return len(payload) > 1 && payload[1] == vrid
}
