package node

import (
	"net/netip"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// Action is an effect that the shell has to bring about, in the order given.
//
//sumtype:decl
type Action interface{ action() }

type (
	// Begin says that the claim is there from now on: open what it needs.
	Begin struct{ Claim string }
	// End says that the claim, let go of, is gone from the configuration, or about to
	// begin anew with other settings: close what it needed.
	End struct{ Claim string }
	// SendAdvert sends a VRRP packet to where the instance's adverts go.
	SendAdvert struct {
		Instance string
		Packet   vrrp.Packet
	}
	// StoreToken makes the token durable, or keeps a higher one that is. TokenStored follows.
	StoreToken struct {
		Claim string
		Token arbiter.Token
	}
	// StoreLeft makes it durable that this node left while the witness was silent, or that
	// this is over. LeftStored follows.
	StoreLeft struct{ Left bool }
	// ArmGate lets the claim's addresses through until the deadline, by the kernel's timer.
	ArmGate struct {
		Claim string
		Until time.Time
	}
	// ShutGate silences the claim's addresses at once.
	ShutGate struct{ Claim string }
	// AddAddresses puts the claim's addresses on, or extends them. The kernel takes
	// them off by itself some time after Until. AddressesDone follows.
	AddAddresses struct {
		Claim string
		Until time.Time
	}
	// RemoveAddresses takes the claim's addresses off and verifies it. AddressesDone follows.
	RemoveAddresses struct{ Claim string }
	// Announce sends gratuitous ARP for the instance's addresses, Count of each; with an
	// Address for that one alone, if the instance has it.
	Announce struct {
		Instance string
		Count    int
		Address  netip.Addr
	}
	// ProbeAddresses asks the link which stations answer for the claim's addresses.
	// AddressesProbed follows within half a second.
	ProbeAddresses struct{ Claim string }
	// StartGuards starts the claim's guarded services: those that run only where it is
	// held, or with Always those that run on every node. GuardsDone follows.
	StartGuards struct {
		Claim  string
		Always bool
		Token  arbiter.Token
		// Until is the end of the permission, zero when none is needed: after it nothing is
		// started, however long the daemon was held up.
		Until time.Time
	}
	// StopGuards stops them, Kill without grace, and verifies it. GuardsDone follows.
	StopGuards struct {
		Claim  string
		Always bool
		Kill   bool
	}
	// Notify runs the notify scripts of an instance, or of a sync group.
	Notify struct {
		Name     string
		Group    bool
		State    string // MASTER, BACKUP, FAULT or STOP
		Priority uint8
		Token    arbiter.Token
	}
	// Publish tells the mesh how this node stands.
	Publish struct{ Report arbiter.Report }
	// Question sends a question to a peer, by every path.
	Question struct{ Request arbiter.Request }
	// AskReference asks whether the reference address answers. ReferenceDone follows.
	AskReference struct{}
	// Reply answers a question of a peer.
	Reply struct{ Answer arbiter.Answer }
	// AskWitness carries a Swap to the witness. WitnessDone follows.
	AskWitness struct{ Operation witness.Operation }
	// Respond answers an operator's command: Err says why it was refused, or is nil.
	Respond struct {
		ID   uint64
		Text string
		Err  error
	}
	// StoreWitness makes it durable which etcd cluster is the witness.
	StoreWitness struct{ Cluster uint64 }
	// StoreStandby makes it durable that the node is in standby, or no longer.
	StoreStandby struct{ On bool }
	// OpenWatchdog opens the watchdog if it is not open, and sets its timeout. WatchdogDone follows.
	OpenWatchdog struct{ Timeout time.Duration }
	// PetWatchdog makes the watchdog count anew, unless the machine could then live until
	// after By; zero: for as long as it likes. WatchdogDone follows when that fails, and
	// when it works again.
	PetWatchdog struct{ By time.Time }
	// Tell is a line for the operator.
	Tell struct {
		Level Level
		Claim string // or instance, or empty
		Text  string // a constant
		Why   string // the evidence
	}
	// Stopped says that everything is released after a Stop: the daemon may end.
	Stopped struct{}
)

// Level is how much a Tell matters to an operator.
type Level uint8

// The levels of a Tell.
const (
	Debug Level = iota
	Info
	Warning
)

func (Begin) action()           {}
func (End) action()             {}
func (SendAdvert) action()      {}
func (StoreToken) action()      {}
func (StoreLeft) action()       {}
func (ArmGate) action()         {}
func (ShutGate) action()        {}
func (AddAddresses) action()    {}
func (RemoveAddresses) action() {}
func (Announce) action()        {}
func (ProbeAddresses) action()  {}
func (StartGuards) action()     {}
func (StopGuards) action()      {}
func (Notify) action()          {}
func (Publish) action()         {}
func (Question) action()        {}
func (AskReference) action()    {}
func (Reply) action()           {}
func (AskWitness) action()      {}
func (Respond) action()         {}
func (StoreStandby) action()    {}
func (StoreWitness) action()    {}
func (OpenWatchdog) action()    {}
func (PetWatchdog) action()     {}
func (Tell) action()            {}
func (Stopped) action()         {}
