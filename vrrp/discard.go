package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Cause is why a well-formed advert was dropped: it does not fit the configuration.
// The zero Cause is none.
type Cause uint8

// The causes, in the order they are checked. Priority plays no part: a stranger's
// advert is dropped even when it says goodbye.
const (
	// CauseOwnAddress: it came from our own address, looped back or from a host that
	// has the same one. Answering it, as an advert that loses the tie is answered,
	// would start a storm.
	CauseOwnAddress Cause = iota + 1
	CauseVersion          // another VRRP version
	CauseVRID             // another virtual router
	CauseAuthType         // V2: authentication on one side only
	CauseAuthPass         // V2: another password
	CauseInterval         // V2: another advertisement interval (V3 learns it instead)
	CauseAddresses        // another list of virtual addresses
	causeEnd
)

// String returns the cause as a short fixed phrase, fit for a metric's label.
func (c Cause) String() string {
	switch c {
	case CauseOwnAddress:
		return "own address"
	case CauseVersion:
		return "version"
	case CauseVRID:
		return "vrid"
	case CauseAuthType:
		return "authentication type"
	case CauseAuthPass:
		return "password"
	case CauseInterval:
		return "interval"
	case CauseAddresses:
		return "addresses"
	case causeEnd: // the bound of the list, no cause
	}
	return "Cause(" + strconv.Itoa(int(c)) + ")"
}

// Causes returns all causes, for who lists them.
func Causes() []Cause {
	all := make([]Cause, 0, causeEnd-1)
	for c := CauseOwnAddress; c < causeEnd; c++ {
		all = append(all, c)
	}
	return all
}

// maxToldSources bounds the memory of who was told of as discarded. Forged sources
// beyond it are counted and not told.
const maxToldSources = 64

// accepts checks an advert against the configuration (RFC 9568 and RFC 3768 sections
// 7.1), counts it, and emits Discarded when there is news about its source.
func (m *Machine) accepts(ev Received) bool {
	cause, why := m.mismatch(ev.Packet, ev.Source)
	if cause == 0 {
		delete(m.told, ev.Source)
		m.counters.Received++
		if ev.Packet.Priority == PriorityLeaving {
			m.counters.GoodbyesReceived++
		}
		return true
	}
	m.counters.discarded[cause]++
	if old, known := m.told[ev.Source]; old != cause && (known || len(m.told) < maxToldSources) {
		m.told[ev.Source] = cause
		m.emit(Discarded{Cause: cause, Source: ev.Source, Why: why})
	}
	return false
}

// mismatch returns the first thing in which an advert differs from the configuration.
func (m *Machine) mismatch(p Packet, source netip.Addr) (Cause, string) {
	ours := &m.cfg
	switch {
	case source == ours.Source:
		return CauseOwnAddress, fmt.Sprintf("it has our own address %v: looped back, or another host uses it", source)
	case p.Version != ours.Version:
		return CauseVersion, fmt.Sprintf("version %d, ours is %d", p.Version, ours.Version)
	case p.VRID != ours.VRID:
		return CauseVRID, fmt.Sprintf("VRID %d, ours is %d", p.VRID, ours.VRID)
	}
	if p.Version == V2 {
		authType, authData := m.auth()
		switch {
		case p.AuthType != authType:
			// RFC 2338 and RFC 3768 section 7.1.
			return CauseAuthType, fmt.Sprintf("authentication type %d, ours is %d", p.AuthType, authType)
		case authType != AuthNone && p.AuthData != authData:
			return CauseAuthPass, "another password than ours"
		case p.AdvertInterval != ours.AdvertInterval:
			// RFC 3768 section 7.1; keepalived drops a priority 0 for it too (measured).
			return CauseInterval, fmt.Sprintf("advertisement interval %v, ours is %v", p.AdvertInterval, ours.AdvertInterval)
		}
	}
	if ours.SkipAddressCheck && source == m.heard.addr {
		return 0, ""
	}
	// RFC 3768 section 7.1 would go on if the sender is the address owner, RFC 9568 leaves
	// it open; keepalived drops it whoever sends it (measured), and so do we. The order
	// of the list does not matter.
	if theirs := sortedAddrs(p.Addresses); !slices.Equal(theirs, m.sorted) {
		return CauseAddresses, fmt.Sprintf("virtual addresses %v, ours are %v", theirs, m.sorted)
	}
	return 0, ""
}

// auth returns the authentication fields of our own adverts.
func (m *Machine) auth() (authType uint8, data [authLen]byte) {
	if m.cfg.Version != V2 || m.cfg.AuthPass == "" {
		return AuthNone, data
	}
	copy(data[:], m.cfg.AuthPass)
	return AuthPass, data
}

func sortedAddrs(addrs []netip.Addr) []netip.Addr {
	return slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare)
}

// Counters is what a machine has counted since New.
type Counters struct {
	Sent, Received                 uint64 // adverts; Received ones are those accepted
	GoodbyesSent, GoodbyesReceived uint64 // of these, with priority 0
	BecameMaster, LeftMaster       uint64
	Challenges                     uint64 // adverts that outranked a MASTER by permission
	discarded                      [causeEnd]uint64
}

// Discarded returns how many adverts were dropped for the cause.
func (c Counters) Discarded(cause Cause) uint64 {
	if cause >= causeEnd {
		return 0
	}
	return c.discarded[cause]
}
