package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lvs"
)

// What moby/ipvs has no words for is told and read here. The names are those of the kernel's
// linux/ip_vs.h, where their meaning is told.

// Commands of the family IPVS.
const (
	cmdGetService = iota + 4
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	cmdNewDaemon
	cmdDelDaemon
	cmdGetDaemon
)

// Attributes of a command.
const (
	attrService = iota + 1
	attrDest
	attrDaemon
)

// Attributes of a service.
const (
	svcFamily   = 1
	svcProtocol = 2
	svcAddr     = 3
	svcPort     = 4
	svcFWMark   = 5
	svcEngine   = 11
)

// Attributes of a destination.
const (
	destAddr       = 1
	destPort       = 2
	destMethod     = 3
	destWeight     = 4
	destUpper      = 5
	destLower      = 6
	destPersistent = 9
	destFamily     = 11
	destTunType    = 13
	destTunPort    = 14
	destTunFlags   = 15
)

// Attributes of a sync daemon.
const (
	daemonState = iota + 1
	daemonInterface
	daemonID
	daemonMaxLen
	daemonGroup4
	daemonGroup6
	daemonPort
	daemonTTL
)

// request is one request to the kernel.
type request struct {
	command uint8
	attrs   []*nl.RtAttr
}

// data returns the request behind the header of netlink.
func (r request) data() []byte {
	out := (&nl.Genlmsg{Command: r.command, Version: 1}).Serialize()
	for _, a := range r.attrs {
		out = append(out, a.Serialize()...)
	}
	return out
}

// address returns an address in the 16 bytes that the kernel keeps one in.
func address(a netip.Addr) []byte {
	out := make([]byte, 16)
	copy(out, a.AsSlice())
	return out
}

// keyAttr returns what tells a service from others.
func keyAttr(k lvs.ServiceKey) *nl.RtAttr {
	out := nl.NewRtAttr(attrService, nil)
	out.AddRtAttr(svcFamily, nl.Uint16Attr(family(k.IPv6)))
	if k.FWMark != 0 {
		out.AddRtAttr(svcFWMark, nl.Uint32Attr(k.FWMark))
		return out
	}
	out.AddRtAttr(svcProtocol, nl.Uint16Attr(uint16(k.Protocol)))
	out.AddRtAttr(svcAddr, address(k.Addr.Addr()))
	out.AddRtAttr(svcPort, nl.BEUint16Attr(k.Addr.Port()))
	return out
}

// destinationAttr returns a whole destination.
func destinationAttr(d lvs.Destination) *nl.RtAttr {
	out := nl.NewRtAttr(attrDest, nil)
	out.AddRtAttr(destFamily, nl.Uint16Attr(family(d.Addr.Addr().Is6())))
	out.AddRtAttr(destAddr, address(d.Addr.Addr()))
	out.AddRtAttr(destPort, nl.BEUint16Attr(d.Addr.Port()))
	out.AddRtAttr(destMethod, nl.Uint32Attr(methods[d.Forwarding.Method]))
	out.AddRtAttr(destWeight, nl.Uint32Attr(uint32(d.Weight)))
	out.AddRtAttr(destUpper, nl.Uint32Attr(d.Upper))
	out.AddRtAttr(destLower, nl.Uint32Attr(d.Lower))
	if d.Forwarding.Method == lvs.TUN {
		// A kernel before 5.2 knows IPIP alone and does not look at these.
		out.AddRtAttr(destTunType, nl.Uint8Attr(uint8(d.Forwarding.Tunnel)))
		out.AddRtAttr(destTunPort, nl.BEUint16Attr(d.Forwarding.Port))
		out.AddRtAttr(destTunFlags, nl.Uint16Attr(uint16(d.Forwarding.Checksum)))
	}
	return out
}

// daemonAttr returns a sync daemon; without one only its role.
func daemonAttr(role lvs.Role, d *lvs.Daemon) *nl.RtAttr {
	out := nl.NewRtAttr(attrDaemon, nil)
	out.AddRtAttr(daemonState, nl.Uint32Attr(uint32(role)+1))
	if d == nil {
		return out
	}
	out.AddRtAttr(daemonInterface, nl.ZeroTerminated(d.Interface))
	out.AddRtAttr(daemonID, nl.Uint32Attr(uint32(d.ID)))
	if d.MaxLen != 0 {
		out.AddRtAttr(daemonMaxLen, nl.Uint16Attr(d.MaxLen))
	}
	if d.Group.Is4() {
		out.AddRtAttr(daemonGroup4, d.Group.AsSlice())
	} else if d.Group.Is6() {
		out.AddRtAttr(daemonGroup6, d.Group.AsSlice())
	}
	out.AddRtAttr(daemonPort, nl.Uint16Attr(d.Port))
	out.AddRtAttr(daemonTTL, nl.Uint8Attr(d.TTL))
	return out
}

// What an answer may be.
var (
	errNothing = errors.New("the kernel's answer is empty")
	errGarbled = errors.New("the kernel's answer is garbled")
)

// attributes are what an answer says, by their types.
type attributes map[uint16][]byte

// parse reads attributes.
func parse(b []byte) (attributes, error) {
	out := make(attributes)
	for len(b) >= unix.SizeofRtAttr {
		n, typ := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofRtAttr || n > len(b) {
			return nil, errGarbled
		}
		out[typ&^unix.NLA_F_NESTED] = b[unix.SizeofRtAttr:n]
		const align = unix.RTA_ALIGNTO - 1
		b = b[min((n+align)&^align, len(b)):]
	}
	return out, nil
}

// nested reads the attributes within an attribute of an answer.
func nested(answer []byte, typ uint16) (attributes, error) {
	if len(answer) < nl.SizeofGenlmsg {
		return nil, errNothing
	}
	outer, err := parse(answer[nl.SizeofGenlmsg:])
	if err != nil {
		return nil, err
	}
	within, ok := outer[typ]
	if !ok {
		return nil, errNothing
	}
	return parse(within)
}

// number returns a number of one, two or four bytes; 0 if there is none.
func (a attributes) number(typ uint16) uint32 {
	switch b := a[typ]; len(b) {
	case 1:
		return uint32(b[0])
	case 2:
		return uint32(binary.NativeEndian.Uint16(b))
	case 4:
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}

// port returns a port as it stands in packets; 0 if there is none.
func (a attributes) port(typ uint16) uint16 {
	if len(a[typ]) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(a[typ])
}

// rest is of a destination what moby/ipvs does not read.
type rest struct {
	tunnel     lvs.Forwarding // when the method is TUN
	persistent uint32
}

// getRest reads which destination it is about, and the rest of it.
func getRest(a attributes) (netip.AddrPort, rest, error) {
	n := 4
	if a.number(destFamily) == unix.AF_INET6 {
		n = 16
	}
	if len(a[destAddr]) < n {
		return netip.AddrPort{}, rest{}, errGarbled
	}
	addr, _ := netip.AddrFromSlice(a[destAddr][:n]) // of the right length
	return netip.AddrPortFrom(addr, a.port(destPort)), rest{
		tunnel: lvs.Forwarding{
			Method: lvs.TUN, Tunnel: lvs.Tunnel(a.number(destTunType)), Port: a.port(destTunPort), Checksum: lvs.Checksum(a.number(destTunFlags)),
		},
		persistent: a.number(destPersistent),
	}, nil
}

// getDaemon reads a sync daemon.
func getDaemon(a attributes) (lvs.Role, lvs.Daemon, error) {
	out := lvs.Daemon{
		Interface: unix.ByteSliceToString(a[daemonInterface]), ID: uint8(a.number(daemonID)), MaxLen: uint16(a.number(daemonMaxLen)),
		Port: uint16(a.number(daemonPort)), TTL: uint8(a.number(daemonTTL)),
	}
	for _, typ := range []uint16{daemonGroup4, daemonGroup6} {
		if group, ok := netip.AddrFromSlice(a[typ]); ok {
			out.Group = group
		}
	}
	state := a.number(daemonState)
	if state != 1 && state != 2 {
		return 0, out, fmt.Errorf("sync daemon in state %d", state)
	}
	return lvs.Role(state - 1), out, nil
}
