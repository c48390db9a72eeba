package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/solovip/solovip/lvs"
)

// The names below are those of the kernel's linux/ip_vs.h, where their meaning is told.

// Commands of the family IPVS.
const (
	cmdNewService = iota + 1
	cmdSetService
	cmdDelService
	cmdGetService
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	cmdNewDaemon
	cmdDelDaemon
	cmdGetDaemon
	cmdSetConfig
	cmdGetConfig
	cmdFlush = 17
)

// Attributes of a command.
const (
	attrService = iota + 1
	attrDest
	attrDaemon
	attrTimeoutTCP
	attrTimeoutTCPFin
	attrTimeoutUDP
)

// Attributes of a service.
const (
	svcFamily = iota + 1
	svcProtocol
	svcAddr
	svcPort
	svcFWMark
	svcScheduler
	svcFlags
	svcTimeout
	svcNetmask
	svcEngine = 11
)

// Flags of a service.
const (
	flagPersistent = 1 << iota
	flagHashed     // the kernel's own
	flagOnePacket
	flagSched1
	flagSched2
	flagSched3
)

// Attributes of a destination.
const (
	destAddr       = 1
	destPort       = 2
	destMethod     = 3
	destWeight     = 4
	destUpper      = 5
	destLower      = 6
	destActive     = 7
	destInactive   = 8
	destPersistent = 9
	destFamily     = 11
	destTunType    = 13
	destTunPort    = 14
	destTunFlags   = 15
)

// Forwarding methods, in the lowest bits of a destination's flags.
const (
	methodMask   = 0x7
	methodMasq   = 0
	methodLocal  = 1
	methodTunnel = 2
	methodRoute  = 3
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

// Address families.
const (
	familyIPv4 = 2
	familyIPv6 = 10
)

// family returns the number of an address family.
func family(six bool) uint16 {
	if six {
		return familyIPv6
	}
	return familyIPv4
}

// bigEndian returns a port as it stands in packets.
func bigEndian(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// address returns an address in the 16 bytes that the kernel keeps one in.
func address(a netip.Addr) []byte {
	out := make([]byte, 16)
	copy(out, a.AsSlice())
	return out
}

// putKey puts what tells a service from others.
func putKey(e *netlink.AttributeEncoder, k lvs.ServiceKey) {
	e.Uint16(svcFamily, family(k.IPv6))
	if k.FWMark != 0 {
		e.Uint32(svcFWMark, k.FWMark)
		return
	}
	e.Uint16(svcProtocol, uint16(k.Protocol))
	e.Bytes(svcAddr, address(k.Addr.Addr()))
	e.Bytes(svcPort, bigEndian(k.Addr.Port()))
}

// putService puts a whole service.
func putService(e *netlink.AttributeEncoder, k lvs.ServiceKey, s lvs.Service) {
	putKey(e, k)
	e.String(svcScheduler, s.Scheduler)
	if s.Engine != "" {
		e.String(svcEngine, s.Engine)
	}
	flags := uint32(s.Flags&lvs.OnePacket) * flagOnePacket
	for i, f := range []lvs.Flags{lvs.SchedFlag1, lvs.SchedFlag2, lvs.SchedFlag3} {
		if s.Flags&f != 0 {
			flags |= flagSched1 << i
		}
	}
	if s.Persistence != 0 {
		flags |= flagPersistent
	}
	// Flags and which of them are meant: all.
	e.Bytes(svcFlags, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, flags), ^uint32(0)))
	e.Uint32(svcTimeout, uint32(s.Persistence/time.Second))
	e.Bytes(svcNetmask, netmask(k.IPv6, s.Granularity))
}

// netmask returns a granularity as the kernel has it: a mask in network order for IPv4,
// a number for IPv6.
func netmask(six bool, length int) []byte {
	if six {
		if length == 0 {
			length = 128
		}
		return binary.NativeEndian.AppendUint32(nil, uint32(length))
	}
	if length == 0 {
		length = 32
	}
	return binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-length))
}

// granularity is the opposite of netmask.
func granularity(six bool, b []byte) int {
	if len(b) != 4 {
		return -1
	}
	if six {
		return int(binary.NativeEndian.Uint32(b)) % 128
	}
	mask := binary.BigEndian.Uint32(b)
	length := bits.LeadingZeros32(^mask)
	if mask<<length != 0 || length == 0 {
		return -1
	}
	return length % 32
}

// putDestination puts a whole destination.
func putDestination(e *netlink.AttributeEncoder, d lvs.Destination) {
	putDestinationKey(e, d.Addr)
	e.Uint32(destMethod, []uint32{lvs.NAT: methodMasq, lvs.DR: methodRoute, lvs.TUN: methodTunnel, lvs.Local: methodLocal}[d.Forwarding.Method])
	e.Uint32(destWeight, uint32(d.Weight))
	e.Uint32(destUpper, d.Upper)
	e.Uint32(destLower, d.Lower)
	if d.Forwarding.Method == lvs.TUN {
		// A kernel before 5.2 knows IPIP alone and does not look at these.
		e.Uint8(destTunType, uint8(d.Forwarding.Tunnel))
		e.Bytes(destTunPort, bigEndian(d.Forwarding.Port))
		e.Uint16(destTunFlags, uint16(d.Forwarding.Checksum))
	}
}

// putDestinationKey puts what tells a destination from others of its service.
func putDestinationKey(e *netlink.AttributeEncoder, a netip.AddrPort) {
	e.Uint16(destFamily, family(a.Addr().Is6()))
	e.Bytes(destAddr, address(a.Addr()))
	e.Bytes(destPort, bigEndian(a.Port()))
}

// putDaemon puts a sync daemon; without one only its role.
func putDaemon(e *netlink.AttributeEncoder, role lvs.Role, d *lvs.Daemon) {
	e.Uint32(daemonState, uint32(role)+1)
	if d == nil {
		return
	}
	e.String(daemonInterface, d.Interface)
	e.Uint32(daemonID, uint32(d.ID))
	if d.MaxLen != 0 {
		e.Uint16(daemonMaxLen, d.MaxLen)
	}
	if d.Group.Is4() {
		e.Bytes(daemonGroup4, d.Group.AsSlice())
	} else if d.Group.Is6() {
		e.Bytes(daemonGroup6, d.Group.AsSlice())
	}
	e.Uint16(daemonPort, d.Port)
	e.Uint8(daemonTTL, d.TTL)
}

// parts are the attributes of one service or destination that need each other to be understood.
type parts struct {
	family uint16
	addr   []byte
	port   uint16
	mask   []byte
}

// addrPort returns the address and port.
func (p parts) addrPort() (netip.AddrPort, error) {
	n := 4
	if p.family == familyIPv6 {
		n = 16
	}
	if len(p.addr) < n {
		return netip.AddrPort{}, fmt.Errorf("address of %d bytes in family %d", len(p.addr), p.family)
	}
	a, _ := netip.AddrFromSlice(p.addr[:n]) // of the right length
	return netip.AddrPortFrom(a, p.port), nil
}

// port reads a port as it stands in packets.
func port(b []byte) uint16 {
	if len(b) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

// getService reads a service.
func getService(d *netlink.AttributeDecoder) (lvs.ServiceKey, lvs.Service, error) {
	var k lvs.ServiceKey
	var s lvs.Service
	p := parts{family: familyIPv4}
	persistent := false
	for d.Next() {
		switch d.Type() {
		case svcFamily:
			p.family = d.Uint16()
		case svcProtocol:
			k.Protocol = lvs.Protocol(d.Uint16())
		case svcAddr:
			p.addr = d.Bytes()
		case svcPort:
			p.port = port(d.Bytes())
		case svcFWMark:
			k.FWMark = d.Uint32()
		case svcScheduler:
			s.Scheduler = d.String()
		case svcEngine:
			s.Engine = d.String()
		case svcFlags:
			s.Flags, persistent = getFlags(d.Bytes())
		case svcTimeout:
			s.Persistence = time.Duration(d.Uint32()) * time.Second
		case svcNetmask:
			p.mask = d.Bytes()
		}
	}
	if err := d.Err(); err != nil {
		return k, s, err
	}
	k.IPv6 = p.family == familyIPv6
	s.Granularity = granularity(k.IPv6, p.mask)
	if !persistent {
		s.Persistence, s.Granularity = 0, 0 // without meaning
	}
	if k.FWMark != 0 {
		k.Protocol = 0
		return k, s, nil
	}
	var err error
	k.Addr, err = p.addrPort()
	return k, s, err
}

// getFlags reads the flags of a service.
func getFlags(b []byte) (out lvs.Flags, persistent bool) {
	if len(b) < 4 {
		return 0, false
	}
	v := binary.NativeEndian.Uint32(b)
	names := map[uint32]lvs.Flags{
		flagOnePacket: lvs.OnePacket, flagSched1: lvs.SchedFlag1, flagSched2: lvs.SchedFlag2, flagSched3: lvs.SchedFlag3,
	}
	for bit, f := range names {
		if v&bit != 0 {
			out |= f
		}
	}
	return out, v&flagPersistent != 0
}

// getDestination reads a destination and how many connections it has. The family of its
// service is the default of its own, as in kernels before 3.18.
func getDestination(d *netlink.AttributeDecoder, six bool) (lvs.Destination, Connections, error) {
	var out lvs.Destination
	var c Connections
	p := parts{family: family(six)}
	var f lvs.Forwarding
	method := uint32(0)
	for d.Next() {
		switch d.Type() {
		case destAddr:
			p.addr = d.Bytes()
		case destPort:
			p.port = port(d.Bytes())
		case destMethod:
			method = d.Uint32() & methodMask
		case destWeight:
			out.Weight = int(int32(d.Uint32()))
		case destUpper:
			out.Upper = d.Uint32()
		case destLower:
			out.Lower = d.Uint32()
		case destActive:
			c.Active = d.Uint32()
		case destInactive:
			c.Inactive = d.Uint32()
		case destPersistent:
			c.Persistent = d.Uint32()
		case destFamily:
			p.family = d.Uint16()
		case destTunType:
			f.Tunnel = lvs.Tunnel(d.Uint8())
		case destTunPort:
			f.Port = port(d.Bytes())
		case destTunFlags:
			f.Checksum = lvs.Checksum(d.Uint16())
		}
	}
	if err := d.Err(); err != nil {
		return out, c, err
	}
	switch method {
	case methodMasq:
		out.Forwarding.Method = lvs.NAT
	case methodRoute:
		out.Forwarding.Method = lvs.DR
	case methodTunnel:
		out.Forwarding = f
		out.Forwarding.Method = lvs.TUN
	default:
		out.Forwarding.Method = lvs.Local // bypass (4) too, which nobody can ask for
	}
	var err error
	out.Addr, err = p.addrPort()
	return out, c, err
}

// getDaemon reads a sync daemon.
func getDaemon(d *netlink.AttributeDecoder) (lvs.Role, lvs.Daemon, error) {
	var out lvs.Daemon
	state := uint32(0)
	for d.Next() {
		switch d.Type() {
		case daemonState:
			state = d.Uint32()
		case daemonInterface:
			out.Interface = d.String()
		case daemonID:
			out.ID = uint8(d.Uint32())
		case daemonMaxLen:
			out.MaxLen = d.Uint16()
		case daemonGroup4, daemonGroup6:
			if a, ok := netip.AddrFromSlice(d.Bytes()); ok {
				out.Group = a
			}
		case daemonPort:
			out.Port = d.Uint16()
		case daemonTTL:
			out.TTL = d.Uint8()
		}
	}
	if err := d.Err(); err != nil {
		return 0, out, err
	}
	if state != 1 && state != 2 {
		return 0, out, fmt.Errorf("sync daemon in state %d", state)
	}
	return lvs.Role(state - 1), out, nil
}

// errNothing is an answer without what was asked for.
var errNothing = errors.New("the kernel's answer is empty")

// genlHeader is the length of the header of generic netlink: command, version, reserved.
const genlHeader = 4

// message returns the data of a request.
func message(command uint8, put func(e *netlink.AttributeEncoder)) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	if put != nil {
		put(e)
	}
	attrs, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode a message to IPVS: %w", err)
	}
	const version = 1
	return append([]byte{command, version, 0, 0}, attrs...), nil
}

// attributes returns a reader of the attributes of an answer.
func attributes(data []byte) (*netlink.AttributeDecoder, error) {
	if len(data) < genlHeader {
		return nil, errNothing
	}
	return netlink.NewAttributeDecoder(data[genlHeader:])
}

// nested calls f with the attributes within an attribute of an answer.
func nested(data []byte, typ uint16, f func(d *netlink.AttributeDecoder) error) error {
	d, err := attributes(data)
	if err != nil {
		return err
	}
	for d.Next() {
		if d.Type() == typ {
			d.Nested(f)
			return d.Err()
		}
	}
	return errors.Join(d.Err(), errNothing)
}
