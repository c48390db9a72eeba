package lvs

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Protocol is the transport protocol of a service, by its number in IP headers.
type Protocol uint8

// The protocols that IPVS balances.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns "TCP", "UDP" or "SCTP"; "any" for the zero value, which a firewall mark has.
func (p Protocol) String() string {
	switch p {
	case 0:
		return "any"
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// ServiceKey is what the kernel tells services apart by: protocol, address and port, or a
// firewall mark and an address family.
type ServiceKey struct {
	Protocol Protocol       // 0 with FWMark
	Addr     netip.AddrPort // zero with FWMark; port 0 is any port
	FWMark   uint32         // 0: none
	IPv6     bool           // the family; with an address that of the address
}

// AddressKey returns the key of a service with an address.
func AddressKey(p Protocol, addr netip.AddrPort) ServiceKey {
	return ServiceKey{Protocol: p, Addr: addr, IPv6: addr.Addr().Is6()}
}

// String returns the key for people: "TCP 10.0.0.1:80", "fwmark 3" or "fwmark 3 IPv6".
func (k ServiceKey) String() string {
	switch {
	case k.FWMark == 0:
		return k.Protocol.String() + " " + k.Addr.String()
	case k.IPv6:
		return fmt.Sprintf("fwmark %d IPv6", k.FWMark)
	}
	return fmt.Sprintf("fwmark %d", k.FWMark)
}

// Compare orders keys: addresses before marks, then by address, port, protocol and mark.
func (k ServiceKey) Compare(o ServiceKey) int {
	mark := func(k ServiceKey) int { return min(int(k.FWMark), 1) }
	family := func(k ServiceKey) int {
		if k.IPv6 {
			return 6
		}
		return 4
	}
	return cmp.Or(cmp.Compare(mark(k), mark(o)), k.Addr.Compare(o.Addr), cmp.Compare(k.Protocol, o.Protocol),
		cmp.Compare(k.FWMark, o.FWMark), cmp.Compare(family(k), family(o)))
}

// Flags are the flags of a service, but for persistence, which Persistence says.
type Flags uint8

// The flags of a service.
const (
	OnePacket  Flags = 1 << iota // each packet is scheduled for itself
	SchedFlag1                   // of the scheduler: sh-fallback, mh-fallback
	SchedFlag2                   // sh-port, mh-port
	SchedFlag3
)

// Service is what a service is besides its key.
type Service struct {
	Scheduler   string
	Flags       Flags
	Persistence time.Duration // whole seconds; 0: none
	// Granularity is the length of the prefix by which persistence tells clients apart.
	// 0: the whole address, which is also what the kernel's full length is told as; -1: a
	// mask that is no prefix, which only the kernel can have.
	Granularity int
	Engine      string // of persistence; empty: none
}

// Method is how packets get to a destination.
type Method uint8

// The forwarding methods.
const (
	NAT Method = iota
	DR
	TUN
	// Local is what the kernel makes of any method when the address is its own. It is
	// equal to every method that can be wanted.
	Local
)

// String returns "NAT", "DR", "TUN" or "local".
func (m Method) String() string { return name("method", int(m), "NAT", "DR", "TUN", "local") }

// Tunnel is the kind of a tunnel.
type Tunnel uint8

// The kinds of tunnels.
const (
	IPIP Tunnel = iota
	GUE
	GRE
)

// Checksum is what a tunnel does about checksums.
type Checksum uint8

// The choices of checksums.
const (
	NoChecksum Checksum = iota
	WithChecksum
	RemoteChecksum
)

// Forwarding is a method with what belongs to it.
type Forwarding struct {
	Method   Method
	Tunnel   Tunnel   // with TUN
	Port     uint16   // of GUE
	Checksum Checksum // with GUE and GRE
}

// Destination is one server of a service. Its address tells it from the others.
type Destination struct {
	Addr       netip.AddrPort
	Forwarding Forwarding
	Weight     int    // 0: no new connections
	Upper      uint32 // connections at the most; 0: any number
	Lower      uint32 // below this it gets new ones again
}

// same reports whether a kernel's destination needs no edit to be the wanted one.
func (d Destination) same(want Destination) bool {
	if d.Forwarding.Method == Local {
		d.Forwarding = want.Forwarding
	}
	return d == want
}

// Entry is a service with its destinations.
type Entry struct {
	Service      Service
	Destinations []Destination // in the order they are added; no two with one address
}

// find returns the index of the destination with that address, or -1.
func (e Entry) find(addr netip.AddrPort) int {
	return slices.IndexFunc(e.Destinations, func(d Destination) bool { return d.Addr == addr })
}

// Table is what IPVS balances: the kernel's, or one that is wanted.
type Table map[ServiceKey]Entry

// Keys returns the services in their order.
func (t Table) Keys() []ServiceKey {
	keys := make([]ServiceKey, 0, len(t))
	for k := range t {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, ServiceKey.Compare)
	return keys
}

// String returns the table for people and tests, one line for each service and destination.
func (t Table) String() string {
	var b strings.Builder
	for _, k := range t.Keys() {
		e := t[k]
		fmt.Fprintf(&b, "%s %s\n", k, e.Service)
		for _, d := range e.Destinations {
			fmt.Fprintf(&b, "  %s\n", d)
		}
	}
	return b.String()
}

// String returns the service for people: "wlc", "sh flags 110 persistent 30s/24 sip".
func (s Service) String() string {
	out := s.Scheduler
	if s.Flags != 0 {
		out += fmt.Sprintf(" flags %b", s.Flags)
	}
	if s.Persistence != 0 {
		out += " persistent " + s.Persistence.String()
	}
	if s.Granularity != 0 {
		out += fmt.Sprintf("/%d", s.Granularity)
	}
	if s.Engine != "" {
		out += " " + s.Engine
	}
	return out
}

// String returns the destination for people: "10.9.0.1:80 DR weight 1".
func (d Destination) String() string {
	out := fmt.Sprintf("%s %s weight %d", d.Addr, d.Forwarding, d.Weight)
	if d.Upper != 0 || d.Lower != 0 {
		out += fmt.Sprintf(" connections %d/%d", d.Lower, d.Upper)
	}
	return out
}

// String returns the forwarding for people: "NAT", "TUN gue 5555 csum".
func (f Forwarding) String() string {
	out := f.Method.String()
	if f.Method != TUN {
		return out
	}
	out += " " + name("type", int(f.Tunnel), "ipip", "gue", "gre")
	if f.Port != 0 {
		out += fmt.Sprintf(" %d", f.Port)
	}
	if f.Checksum != NoChecksum {
		out += " " + name("checksum", int(f.Checksum), "nocsum", "csum", "remcsum")
	}
	return out
}

// name returns the name of a value. A kernel newer than this program may have others.
func name(what string, value int, names ...string) string {
	if value < len(names) {
		return names[value]
	}
	return fmt.Sprintf("%s %d", what, value)
}
