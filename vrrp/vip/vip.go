package vip

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// ErrInterface marks errors whose cause is an interface that is missing, is down, or
// has no IPv4 address yet. They are retryable: try again when Watch reports a change.
var ErrInterface = errors.New("interface not ready")

// Address is one virtual address as the kernel is to hold it.
type Address struct {
	// Prefix is the IPv4 address with its prefix length, as in 10.0.0.10/24.
	Prefix netip.Prefix
	// Interface is the name of the interface that carries it.
	Interface string
	// Label is the name shown by ifconfig, as in eth0:1: at most 15 characters.
	// Empty: the interface's name.
	Label string
	// Broadcast is the broadcast address; the zero Addr sets none, as keepalived does.
	Broadcast netip.Addr
	// Scope is global, site, link, host or nowhere; empty means global.
	Scope string
}

// String returns the address and its interface, as in "10.0.0.10/24 on eth0".
func (a Address) String() string {
	return fmt.Sprintf("%s on %s", a.Prefix, a.Interface)
}

// scopes are the names of iproute2's rt_scopes file, which keepalived takes too.
var scopes = map[string]int{"": 0, "global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255} //nolint:gochecknoglobals // a table

// maxLabel is what IFNAMSIZ leaves for a label.
const maxLabel = 15

// validate rejects what the kernel would refuse without saying why, or would
// silently understand differently.
func (a Address) validate() error {
	if !a.Prefix.IsValid() || !a.Prefix.Addr().Is4() {
		return fmt.Errorf("%s: not an IPv4 address with a prefix length, as in 10.0.0.10/24", a)
	}
	if a.Interface == "" {
		return fmt.Errorf("%s: no interface: name one with dev", a.Prefix)
	}
	if len(a.Label) > maxLabel {
		return fmt.Errorf("%s: label %q is longer than %d characters", a, a.Label, maxLabel)
	}
	if a.Broadcast.IsValid() && !a.Broadcast.Is4() {
		return fmt.Errorf("%s: broadcast address %s is not IPv4", a, a.Broadcast)
	}
	if _, known := scopes[a.Scope]; !known {
		return fmt.Errorf("%s: scope %q is none of global, site, link, host, nowhere", a, a.Scope)
	}
	return nil
}

// LifetimeLate is how late the kernel may be to take an address off whose lifetime has
// ended: it looks no more than once a second, and batches what is due within a quarter.
const LifetimeLate = 1300 * time.Millisecond

// validSeconds converts a lifetime to the kernel's valid_lft in whole seconds: rounded
// up, because an address must not go before its permission does (the gate is exact,
// the lifetime is the net below it). 0 is forever. Lifetimes beyond 68 years are cut.
func validSeconds(lifetime time.Duration) (int, error) {
	if lifetime < 0 {
		return 0, fmt.Errorf("lifetime %s is over already", lifetime)
	}
	seconds := lifetime / time.Second
	if lifetime%time.Second != 0 {
		seconds++
	}
	return int(min(seconds, math.MaxInt32)), nil
}

// Event is what Watch reports: a LinkEvent or an AddressEvent.
//
//sumtype:decl
type Event interface{ isEvent() }

// LinkEvent says that an interface appeared, went away, or changed between up and down.
type LinkEvent struct {
	Interface string
	// Index is the kernel's number of the interface; 0 when there is no interface of
	// that name any more. An interface that is made again has a new index, and sockets
	// bound to the old one are deaf: open them again.
	Index int
	// Up is true when the interface is set up, has a carrier, and its operational state
	// lets packets through.
	Up bool
}

// AddressEvent says that an IPv4 address came onto an interface or left it, whoever
// did it: Kernel's own changes are reported too.
type AddressEvent struct {
	Interface string
	Prefix    netip.Prefix
	Added     bool
}

func (LinkEvent) isEvent()    {}
func (AddressEvent) isEvent() {}
