package ipvs

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lvs"
)

// Flags of a service, as in the kernel's linux/ip_vs.h.
const (
	flagPersistent = 1 << iota
	flagHashed     // the kernel's own
	flagOnePacket
	flagSched1
	flagSched2
	flagSched3
)

// flagBits are the flags of a service besides persistence.
var flagBits = []struct { //nolint:gochecknoglobals // a table
	ours lvs.Flags
	bit  uint32
}{
	{lvs.OnePacket, flagOnePacket},
	{lvs.SchedFlag1, flagSched1},
	{lvs.SchedFlag2, flagSched2},
	{lvs.SchedFlag3, flagSched3},
}

// methods are the forwarding methods in the kernel's numbers.
var methods = [...]uint32{ //nolint:gochecknoglobals // a table
	lvs.NAT: moby.ConnFwdMasq, lvs.DR: moby.ConnFwdDirectRoute, lvs.TUN: moby.ConnFwdTunnel, lvs.Local: moby.ConnFwdLocalNode,
}

// family returns the number of an address family.
func family(six bool) uint16 {
	if six {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// toService returns a service as moby/ipvs has it.
func toService(k lvs.ServiceKey, s lvs.Service) *moby.Service {
	out := &moby.Service{
		AddressFamily: family(k.IPv6), FWMark: k.FWMark, Protocol: uint16(k.Protocol), Address: k.Addr.Addr().AsSlice(), Port: k.Addr.Port(),
		SchedName: s.Scheduler, PEName: s.Engine, Timeout: uint32(s.Persistence / time.Second), Netmask: netmask(k.IPv6, s.Granularity),
	}
	if s.Persistence != 0 {
		out.Flags = flagPersistent
	}
	for _, f := range flagBits {
		if s.Flags&f.ours != 0 {
			out.Flags |= f.bit
		}
	}
	return out
}

// fromService returns a service of moby/ipvs, which does not read persistence engines.
func fromService(m *moby.Service) (k lvs.ServiceKey, s lvs.Service, err error) {
	k = lvs.ServiceKey{FWMark: m.FWMark, IPv6: m.AddressFamily == unix.AF_INET6}
	s = lvs.Service{Scheduler: m.SchedName, Engine: m.PEName}
	if m.Flags&flagPersistent != 0 { // without, these have no meaning
		s.Persistence = time.Duration(m.Timeout) * time.Second
		s.Granularity = granularity(k.IPv6, m.Netmask)
	}
	for _, f := range flagBits {
		if m.Flags&f.bit != 0 {
			s.Flags |= f.ours
		}
	}
	if k.FWMark == 0 {
		k.Protocol = lvs.Protocol(m.Protocol)
		k.Addr, err = addrPort(m.Address, m.Port)
	}
	return k, s, err
}

// addrPort returns an address and port of moby/ipvs.
func addrPort(ip net.IP, port uint16) (netip.AddrPort, error) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("an address of %d bytes", len(ip))
	}
	return netip.AddrPortFrom(a, port), nil
}

// netmask returns a granularity as the kernel has it: a mask in network order for IPv4,
// a number for IPv6.
func netmask(six bool, length int) uint32 {
	if six {
		if length == 0 {
			length = 128
		}
		return uint32(length)
	}
	if length == 0 {
		length = 32
	}
	return swapped(^uint32(0) << (32 - length))
}

// granularity is the opposite of netmask.
func granularity(six bool, mask uint32) int {
	if six {
		return int(mask) % 128
	}
	mask = swapped(mask)
	length := bits.LeadingZeros32(^mask)
	if mask<<length != 0 || length == 0 {
		return -1
	}
	return length % 32
}

// swapped changes a number between this machine's order of bytes and that of the network.
func swapped(n uint32) uint32 {
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, n))
}

// plain reports whether moby/ipvs can say all of a destination: it tells neither the address
// family, so that it is that of the service, nor a tunnel other than ipip.
func plain(k lvs.ServiceKey, d lvs.Destination) bool {
	return d.Addr.Addr().Is6() == k.IPv6 && d.Forwarding == lvs.Forwarding{Method: d.Forwarding.Method}
}

// toDestination returns a destination as moby/ipvs has it, if it is plain.
func toDestination(d lvs.Destination) *moby.Destination {
	return &moby.Destination{
		AddressFamily: family(d.Addr.Addr().Is6()), Address: d.Addr.Addr().AsSlice(), Port: d.Addr.Port(), Weight: d.Weight,
		ConnectionFlags: methods[d.Forwarding.Method], UpperThreshold: d.Upper, LowerThreshold: d.Lower,
	}
}

// fromDestination returns a destination of moby/ipvs and its connections. What it does not
// read is in a rest.
func fromDestination(m *moby.Destination) (lvs.Destination, Connections, error) {
	addr, err := addrPort(m.Address, m.Port)
	out := lvs.Destination{Addr: addr, Weight: m.Weight, Upper: m.UpperThreshold, Lower: m.LowerThreshold}
	out.Forwarding.Method = lvs.Local // bypass too, which nobody can ask for
	for method, number := range methods {
		if m.ConnectionFlags&moby.ConnectionFlagFwdMask == number {
			out.Forwarding.Method = lvs.Method(method)
		}
	}
	return out, Connections{Active: uint32(m.ActiveConnections), Inactive: uint32(m.InactiveConnections)}, err
}
