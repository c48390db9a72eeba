package lvs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Event is something that happened in the world.
//
//sumtype:decl
type Event interface{ event() }

type (
	// Start is the first event.
	Start struct{}
	// Tick says that time has passed: due at Balancer.Deadline.
	Tick struct{}
	// Stop asks for an orderly end. Stopped follows.
	Stop struct{}
	// Reconfigure replaces the configuration. What is the same keeps its state; the
	// overrides in it are not looked at. A configuration that New would refuse changes
	// nothing and is told.
	Reconfigure struct{ Config Config }

	// Checked brings results of checks, all those that are there at once: a Step in which
	// a server of ten thousand changes takes a millisecond, however many change.
	Checked struct{ Results []Result }

	// Kernel is the answer to the ReadKernel of that ID: what the kernel has.
	Kernel struct {
		ID    uint64
		State State
	}
	// KernelFailed says why the ReadKernel of that ID has no answer.
	KernelFailed struct {
		ID  uint64
		Err string
	}
	// Applied says that the steps of an Apply are done; Err holds what went wrong with
	// any of them.
	Applied struct{ Err string }

	// Address says whether an address is on this host; without one it is not.
	Address struct {
		Addr netip.Addr
		Here bool
	}
	// Instance says whether a VRRP instance is MASTER here; without one it is not.
	Instance struct {
		Name   string
		Master bool
	}

	// Operate is an operator's word about a real server. Respond follows.
	Operate struct {
		ID       uint64
		Server   string         // a virtual server; empty: all that have the real server
		Real     netip.AddrPort // port 0: with any port
		Override Override
	}
)

func (Start) event()        {}
func (Tick) event()         {}
func (Stop) event()         {}
func (Reconfigure) event()  {}
func (Checked) event()      {}
func (Kernel) event()       {}
func (KernelFailed) event() {}
func (Applied) event()      {}
func (Address) event()      {}
func (Instance) event()     {}
func (Operate) event()      {}

// Result is what a check has found. Rise and fall are applied: it is the state, not one attempt.
type Result struct {
	Check CheckID
	Up    bool
	// Adjust moves the weights of the real servers that have the check.
	Adjust Adjust
	Why    string // for people
}

// Adjust is what a check says of a weight.
type Adjust struct {
	Kind  AdjustKind
	Value int
}

// AdjustKind says what the value of an Adjust is.
type AdjustKind uint8

// The kinds of an Adjust.
const (
	Keep AdjustKind = iota // what the check said before goes on
	Set                    // the weight, as MISC_CHECK with misc_dynamic says
	Add                    // added to the weight, as FILE_CHECK says
)

// Override is an operator's word about a real server. It outranks checks and weights
// until it is cleared.
type Override struct {
	Kind   OverrideKind `json:"do"`
	Weight int          `json:"weight,omitempty"` // with OverrideWeight: 0 to 65535
}

// OverrideKind is what an operator wants of a real server.
type OverrideKind uint8

// The kinds of an Override.
const (
	NoOverride     OverrideKind = iota // enable: an override before is cleared
	Drain                              // weight 0: no new connections
	OverrideWeight                     // this weight while it is up
	Disable                            // not in the table
)

var overrideKinds = [...]string{"enable", "drain", "weight", "disable"} //nolint:gochecknoglobals // a table

// String returns "enable", "drain", "weight" or "disable".
func (k OverrideKind) String() string { return overrideKinds[k] }

// MarshalText returns what String does.
func (k OverrideKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes a word in that String returns.
func (k *OverrideKind) UnmarshalText(text []byte) error {
	i := slices.Index(overrideKinds[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is none of %s", text, strings.Join(overrideKinds[:], ", "))
	}
	*k = OverrideKind(i)
	return nil
}

// StoredOverride is an override with what it is about, as it is kept over a restart.
type StoredOverride struct {
	Server   string         `json:"server"`
	Real     netip.AddrPort `json:"real"`
	Override                // its fields stand beside these
}
