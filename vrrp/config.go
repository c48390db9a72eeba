package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config says how one virtual router behaves. New checks it.
type Config struct {
	Name           string        // for error messages
	VRID           VRID          // 1 to 255
	Version        Version       // V2 or V3
	Priority       uint8         // 1 to 255; 255 is the address owner
	AdvertInterval time.Duration // V2: whole seconds, 1 to 255; V3: 10 ms steps up to 40.95 s

	// Preempt lets a machine of higher priority take over from a live master. An address
	// owner and a machine with InitialMaster preempt in any case, as in keepalived.
	Preempt bool
	// PreemptDelay is how long a live master of lower priority is respected after its
	// first advert was heard; default 0. It delays no take-over from a dead master.
	// As in keepalived, InitialMaster makes it 0.
	PreemptDelay time.Duration
	// InitialMaster is `state MASTER`. It makes a machine preempt, and an address owner
	// want to be MASTER right at Start; otherwise it changes nothing.
	InitialMaster bool

	Source    netip.Addr   // our primary IPv4 address: breaks a tie of priorities
	Addresses []netip.Addr // the virtual addresses as advertised, 1 to 255, IPv4
	// SkipAddressCheck accepts another list of addresses from the master last heard
	// (skip_check_adv_addr); a new master's list is checked all the same, as in keepalived.
	SkipAddressCheck bool
	AuthPass         string // V2: at most 8 bytes; empty: none. V3 has none and ignores it
	PlainChecksum    bool   // V3: see Packet.PlainChecksum; keepalived's v3_checksum_as_v2

	DownAdverts int // adverts missed before take-over, 1 to 100; 0: the RFCs' 3

	// ByPermission: what another node says in an advert does not end our being MASTER.
	// The machine reports Challenged, and only Yield, SetFault and Stop end it.
	ByPermission bool

	GARP GARP
}

// GARP says when and how often gratuitous ARP is announced. All counts and times may
// be 0: then that burst does not happen. keepalived's defaults are for config to fill in.
type GARP struct {
	Delay           time.Duration // from becoming MASTER to the second burst
	Repeat          int           // announcements in the first and second burst
	LowerPrioDelay  time.Duration // from an advert of lower priority to the second burst
	LowerPrioRepeat int           // announcements in either burst after such an advert
	Refresh         time.Duration // period while MASTER
	RefreshRepeat   int           // announcements in each period
}

const (
	defaultDownAdverts = 3
	maxDownAdverts     = 100
)

// Fixed returns the part of c that cannot change while a machine runs: all but the priority
// of one that is no address owner, how it preempts, and how it announces.
func (c Config) Fixed() Config {
	if c.Priority != PriorityOwner {
		c.Priority = 0
	}
	c.Preempt, c.PreemptDelay, c.InitialMaster, c.GARP = false, 0, false, GARP{}
	return c
}

// settled returns c with its defaults, and what follows from one setting for another.
func (c Config) settled() Config {
	if c.DownAdverts == 0 {
		c.DownAdverts = defaultDownAdverts
	}
	c.Addresses = slices.Clone(c.Addresses)
	// keepalived: "nopreempt will not work with initial state MASTER", "... preempt delay
	// will not work with ...", "nopreempt is incompatible with priority 255".
	if c.InitialMaster {
		c.PreemptDelay = 0
	}
	if c.InitialMaster || c.Priority == PriorityOwner {
		c.Preempt = true
	}
	return c
}

// check returns what is wrong with c, all of it.
func (c Config) check() error {
	p := Packet{
		Version: c.Version, VRID: c.VRID, Priority: c.Priority,
		AdvertInterval: c.AdvertInterval, Addresses: c.Addresses,
	}
	_, errWire := p.wireInterval()
	errs := []error{errWire, p.encodable(c.Source, Group())}
	if c.VRID == 0 {
		errs = append(errs, errors.New("VRID 0, want 1 to 255"))
	}
	if c.Priority == 0 {
		errs = append(errs, errors.New("priority 0, want 1 to 255"))
	}
	if c.Version == V2 && len(c.AuthPass) > authLen {
		errs = append(errs, fmt.Errorf("password of %d bytes, want at most %d", len(c.AuthPass), authLen))
	}
	if c.DownAdverts < 0 || c.DownAdverts > maxDownAdverts {
		errs = append(errs, fmt.Errorf("%d missed adverts before take-over, want 1 to %d", c.DownAdverts, maxDownAdverts))
	}
	g := c.GARP
	if min(c.PreemptDelay, g.Delay, g.LowerPrioDelay, g.Refresh) < 0 || min(g.Repeat, g.LowerPrioRepeat, g.RefreshRepeat) < 0 {
		errs = append(errs, errors.New("negative delay, period or count"))
	}
	return errors.Join(errs...)
}
