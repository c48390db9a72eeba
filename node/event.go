package node

import (
	"net/netip"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// Event is something that happened in the world.
//
//sumtype:decl
type Event interface{ event() }

type (
	// Start is the first event. Whatever a former start of the daemon left behind has
	// been cleaned up before.
	Start struct{}
	// Tick says that time has passed: due at Node.Deadline.
	Tick struct{}
	// Stop asks for an orderly end: everything held is released. Stopped follows.
	Stop struct{}
	// Reconfigure replaces the claims. Those that are the same stay held.
	Reconfigure struct{ Claims []ClaimConfig }

	// Handover asks to give a claim to another node: To, or the best one. Respond follows.
	Handover struct {
		ID    uint64 // of the Respond
		Claim string
		To    string
	}
	// TrustWitness is an operator's word that no node which is not heard holds anything, so
	// that the witness counts as it is now. Respond follows.
	TrustWitness struct{ ID uint64 }
	// Standby makes the node give away what it holds and take nothing, or ends that.
	// Respond follows.
	Standby struct {
		ID uint64
		On bool
	}

	// Advert is a VRRP packet that has been received for an instance and parsed.
	Advert struct {
		Instance string
		Packet   vrrp.Packet
		Source   netip.Addr
	}
	// Link is the state of a network interface.
	Link struct {
		Interface string
		Up        bool
	}
	// Script is the state of a track script, its rise and fall applied.
	Script struct {
		Name string
		Up   bool
	}

	// PeerReport is what a member of the mesh says of itself.
	PeerReport struct {
		Report arbiter.Report
		Path   arbiter.Path
	}
	// PeerAlive is the mesh's own view of a member.
	PeerAlive struct {
		Name  string
		Alive bool
	}
	// PeerAsked is a question to this node.
	PeerAsked struct{ Request arbiter.Request }
	// PeerAnswered is the answer to a question of this node.
	PeerAnswered struct {
		Answer arbiter.Answer
		Path   arbiter.Path
	}

	// ReferenceDone is the result of AskReference.
	ReferenceDone struct{ Answers bool }

	// WitnessDone is the reply to an Ask of the witness.
	WitnessDone struct {
		ID      uint64
		Outcome witness.Outcome
		Err     error // the reply is lost, or
		Refused bool  // what was asked for has surely not happened
	}
	// WitnessSeen is a change at the witness, noticed by watching.
	WitnessSeen struct{ Observation witness.Observation }

	// WatchdogDone is the result of OpenWatchdog, and of PetWatchdog (Petted) if that failed, or
	// works again.
	WatchdogDone struct {
		Petted     bool
		Timeout    time.Duration // what the watchdog made of it; 0: there is none
		Pretimeout time.Duration // how long before the reset it tells the kernel, which may panic then; 0: not at all
		Err        error
	}

	// TokenStored is the result of StoreToken.
	TokenStored struct {
		Claim string
		Token arbiter.Token
		Err   error
	}
	// LeftStored is the result of StoreLeft.
	LeftStored struct{ Err error }
	// AddressesDone is the result of AddAddresses (On) or RemoveAddresses.
	AddressesDone struct {
		Claim string
		On    bool
		Err   error
	}
	// AddressesProbed is the result of ProbeAddresses: who answers, this host left out.
	AddressesProbed struct {
		Claim   string
		Answers []arbiter.Station
		Err     error
	}
	// AddressSeen says that another station speaks for an address of the claim: a conflict
	// as in RFC 5227 section 2.4, if the claim is held here.
	AddressSeen struct {
		Claim   string
		Station arbiter.Station
	}
	// GuardsDone is the result of StartGuards (On) or StopGuards; On with an error also comes
	// when a service that was started has ended by itself.
	GuardsDone struct {
		Claim  string
		Always bool
		On     bool
		Err    error
	}
)

func (Start) event()           {}
func (Tick) event()            {}
func (Stop) event()            {}
func (Reconfigure) event()     {}
func (Handover) event()        {}
func (Standby) event()         {}
func (TrustWitness) event()    {}
func (Advert) event()          {}
func (Link) event()            {}
func (Script) event()          {}
func (PeerReport) event()      {}
func (PeerAlive) event()       {}
func (PeerAsked) event()       {}
func (PeerAnswered) event()    {}
func (ReferenceDone) event()   {}
func (WitnessDone) event()     {}
func (WitnessSeen) event()     {}
func (WatchdogDone) event()    {}
func (TokenStored) event()     {}
func (LeftStored) event()      {}
func (AddressesDone) event()   {}
func (AddressesProbed) event() {}
func (AddressSeen) event()     {}
func (GuardsDone) event()      {}
