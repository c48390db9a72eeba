package vrrp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Protocol is the IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
const Protocol = 112

// TTL is what every advert leaves with. One that arrives with another TTL came
// through a router and is dropped by whoever reads the socket (RFC 9568 section 5.1.1.3).
const TTL = 255

// Group returns the IPv4 multicast group of VRRP, 224.0.0.18 (RFC 9568 section 5.1.1.2).
func Group() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 18}) }

// VRID is a virtual router's number, 1 to 255, unique on a link.
type VRID uint8

// Version is the protocol version of an advert.
type Version uint8

// The versions in use: 2 is RFC 3768 (with the authentication of RFC 2338, which
// keepalived kept), 3 is RFC 5798 and RFC 9568.
const (
	V2 Version = 2
	V3 Version = 3
)

// Priorities with a meaning of their own (RFC 9568 section 5.2.4).
const (
	PriorityLeaving uint8 = 0   // the master gives up
	PriorityOwner   uint8 = 255 // the address owner
)

// Authentication types of version 2 (RFC 2338 section 5.3.6).
const (
	AuthNone uint8 = 0
	AuthPass uint8 = 1 // a password in clear text
)

// The reasons why Parse refuses bytes. Each is wrapped with what was found.
var (
	ErrShort    = errors.New("vrrp: shorter than its fixed fields")
	ErrVersion  = errors.New("vrrp: unknown version")
	ErrType     = errors.New("vrrp: not an advertisement")
	ErrCount    = errors.New("vrrp: bad number of addresses")
	ErrLength   = errors.New("vrrp: length does not fit the number of addresses")
	ErrChecksum = errors.New("vrrp: wrong checksum")
	ErrAuth     = errors.New("vrrp: unknown authentication type")
	ErrInterval = errors.New("vrrp: bad advertisement interval")
	ErrAddress  = errors.New("vrrp: not an IPv4 address")
)

const (
	typeAdvertisement = 1
	headerLen         = 8
	addrLen           = 4
	authLen           = 8 // version 2 ends with this much authentication data, used or not

	maxSecondsV2 = 255
	maxCentisV3  = 4095
	centisecond  = 10 * time.Millisecond
)

// Packet is one advertisement over IPv4, the only message that VRRP has.
type Packet struct {
	Version        Version
	VRID           VRID
	Priority       uint8         // 0: the master gives up; 255: the address owner
	AdvertInterval time.Duration // V2: whole seconds, 1 to 255; V3: 10 ms steps up to 40.95 s
	Addresses      []netip.Addr  // the virtual addresses, at least one, in the sender's order
	AuthType       uint8         // V2: AuthNone or AuthPass; V3: zero
	AuthData       [8]byte       // V2: the password, padded with zeros

	// PlainChecksum says that a V3 checksum covers the message alone, as RFC 9568
	// section 5.2.8 has it for IPv4. The default covers a pseudo-header too (RFC 5798
	// section 5.2.8), because keepalived sends that form and takes no other (measured
	// on 2.2.7: "Invalid VRRPv3 checksum"). Parse takes both and says here which it was.
	PlainChecksum bool
}

// Append appends p in wire form to b. src and dst are the addresses of the IP packet
// that will carry it, unicast or multicast: the checksum of V3 covers them.
// An error (ErrVersion, ErrCount, ErrAddress, ErrInterval, ErrAuth) leaves b as it was.
func (p Packet) Append(b []byte, src, dst netip.Addr) ([]byte, error) {
	interval, err := p.wireInterval()
	if err != nil {
		return b, err
	}
	if err := p.encodable(src, dst); err != nil {
		return b, err
	}
	start := len(b)
	b = append(b, byte(p.Version)<<4|typeAdvertisement, byte(p.VRID), p.Priority, byte(len(p.Addresses)))
	if p.Version == V2 {
		b = append(b, p.AuthType, byte(interval))
	} else {
		b = binary.BigEndian.AppendUint16(b, interval)
	}
	b = append(b, 0, 0)
	for _, a := range p.Addresses {
		a4 := a.As4()
		b = append(b, a4[:]...)
	}
	if p.Version == V2 {
		var data [authLen]byte
		if p.AuthType != AuthNone {
			data = p.AuthData
		}
		b = append(b, data[:]...)
	}
	msg := b[start:]
	sum := sumBytes(0, msg)
	if p.Version == V3 && !p.PlainChecksum {
		sum = sumPseudoHeader(sum, src, dst, len(msg))
	}
	binary.BigEndian.PutUint16(msg[6:], ^fold(sum))
	return b, nil
}

// encodable checks what would not fit the wire; the interval is wireInterval's.
func (p Packet) encodable(src, dst netip.Addr) error {
	if n := len(p.Addresses); n < 1 || n > 255 {
		return fmt.Errorf("%w: %d, want 1 to 255", ErrCount, n)
	}
	for _, a := range append(slices.Clone(p.Addresses), src, dst) {
		if !a.Is4() {
			return fmt.Errorf("%w: %v", ErrAddress, a)
		}
	}
	if p.Version == V2 && p.AuthType > AuthPass {
		return fmt.Errorf("%w: %d", ErrAuth, p.AuthType)
	}
	return nil
}

// wireInterval returns the interval in the unit of p's version.
func (p Packet) wireInterval() (uint16, error) {
	unit, most := time.Second, maxSecondsV2*time.Second
	switch p.Version {
	case V2:
	case V3:
		unit, most = centisecond, maxCentisV3*centisecond
	default:
		return 0, fmt.Errorf("%w: %d", ErrVersion, p.Version)
	}
	if p.AdvertInterval < unit || p.AdvertInterval > most || p.AdvertInterval%unit != 0 {
		return 0, fmt.Errorf("%w: %v, want %v to %v in steps of %v", ErrInterval, p.AdvertInterval, unit, most, unit)
	}
	return uint16(p.AdvertInterval / unit), nil
}

// Parse reads one advertisement: b is the payload of an IP packet that went from src
// to dst. It refuses what RFC 9568 and RFC 3768 sections 7.1 tell every receiver to
// refuse, with ErrShort, ErrVersion, ErrType, ErrCount, ErrLength, ErrChecksum, ErrAuth
// or ErrInterval; what depends on the configuration is for Machine to refuse. Like
// keepalived it takes no byte after the last field, where the RFCs only ask that
// nothing is missing.
func Parse(b []byte, src, dst netip.Addr) (Packet, error) {
	if len(b) < headerLen {
		return Packet{}, fmt.Errorf("%w: %d bytes", ErrShort, len(b))
	}
	p := Packet{
		Version:  Version(b[0] >> 4),
		VRID:     VRID(b[1]),
		Priority: b[2],
	}
	if p.Version != V2 && p.Version != V3 {
		return Packet{}, fmt.Errorf("%w: %d", ErrVersion, p.Version)
	}
	if t := b[0] & 0x0f; t != typeAdvertisement {
		return Packet{}, fmt.Errorf("%w: type %d", ErrType, t)
	}
	count := int(b[3])
	if count == 0 {
		// RFC 9568 section 5.2.5, erratum 8299.
		return Packet{}, fmt.Errorf("%w: 0", ErrCount)
	}
	want := headerLen + count*addrLen
	if p.Version == V2 {
		want += authLen
	}
	if len(b) != want {
		return Packet{}, fmt.Errorf("%w: %d bytes, want %d for %d", ErrLength, len(b), want, count)
	}
	var err error
	if p.PlainChecksum, err = verify(p.Version, b, src, dst); err != nil {
		return Packet{}, err
	}
	if err := parseHeader(&p, b); err != nil {
		return Packet{}, err
	}
	p.Addresses = make([]netip.Addr, count)
	for i := range p.Addresses {
		p.Addresses[i] = netip.AddrFrom4([4]byte(b[headerLen+i*addrLen:]))
	}
	return p, nil
}

// parseHeader reads the four bytes that mean different things in the two versions.
func parseHeader(p *Packet, b []byte) error {
	if p.Version == V3 {
		// The four bits above the interval are reserved and ignored (RFC 9568 section 5.2.6).
		p.AdvertInterval = time.Duration(binary.BigEndian.Uint16(b[4:])&0x0fff) * centisecond
	} else {
		p.AdvertInterval = time.Duration(b[5]) * time.Second
		p.AuthType = b[4]
		switch p.AuthType {
		case AuthNone: // the data is ignored (RFC 3768 section 5.3.10)
		case AuthPass:
			p.AuthData = [authLen]byte(b[len(b)-authLen:])
		default:
			return fmt.Errorf("%w: %d", ErrAuth, p.AuthType)
		}
	}
	if p.AdvertInterval == 0 {
		// RFC 9568 section 7.1, erratum 8301. keepalived 2.2.7 takes it, with a master-down
		// interval of nothing, and becomes MASTER at every such advert.
		return fmt.Errorf("%w: 0", ErrInterval)
	}
	return nil
}

// verify checks the checksum of b and returns its form as PlainChecksum has it.
func verify(v Version, b []byte, src, dst netip.Addr) (plain bool, err error) {
	sum := sumBytes(0, b)
	if v == V3 && src.Is4() && dst.Is4() && fold(sumPseudoHeader(sum, src, dst, len(b))) == 0xffff {
		return false, nil
	}
	if fold(sum) != 0xffff {
		return false, fmt.Errorf("%w: %#04x", ErrChecksum, binary.BigEndian.Uint16(b[6:]))
	}
	return v == V3, nil
}

// sumBytes adds b to sum in 16-bit words, the last one padded with zero (RFC 1071).
// A packet is short enough never to overflow 32 bits.
func sumBytes(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// sumPseudoHeader adds the IPv4 pseudo-header of a message of n bytes.
func sumPseudoHeader(sum uint32, src, dst netip.Addr, n int) uint32 {
	s, d := src.As4(), dst.As4()
	return sumBytes(sumBytes(sum, s[:]), d[:]) + Protocol + uint32(n)
}

// fold brings a sum down to 16 bits, carries added back in.
func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
