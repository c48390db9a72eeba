package vrrp

import (
	"net/netip"
	"strconv"
)

// Event is what a Machine is told. The variants are Start, Tick, Received,
// SetPriority, SetFault, Preempt, Grant, Yield and Stop.
//
//sumtype:decl
type Event interface{ isEvent() }

// Start leaves INIT: for FAULT if there is a fault, else for BACKUP, whatever the
// configuration's state says: also a node with `state MASTER` waits and listens first.
type Start struct {
	// Goodbye says that a former run of this router was MASTER, is dead, and left without a
	// word: a priority-0 advert is sent for it before anything else.
	Goodbye bool
}

// Tick says that time has passed: it does what is due. Send it at Deadline or later.
type Tick struct{}

// Received is an advert that Parse accepted.
type Received struct {
	Packet Packet
	Source netip.Addr // of the IP packet: the sender's primary address
}

// SetPriority changes the effective priority, as tracked scripts and interfaces do.
// It is held to 1..254; an address owner (255) keeps its priority. A master tells it
// with its next regular advert.
type SetPriority struct{ Priority uint8 }

// SetFault says that the node cannot serve (interface down, script failed) or can again.
type SetFault struct {
	Fault bool
	Why   string // for people; of a Fault
}

// Preempt says that the node is about to take the addresses from the live master of lower
// priority that a Want has told of. BACKUP sends one advert, by which that master lets go (RFC 9568
// section 6.4.3), so that the composer can wait for it with the addresses and with Grant. Without
// a live master, and in every other state, it does nothing.
type Preempt struct{}

// Grant says that the virtual addresses are on: be MASTER. The composer may send it at
// any time in BACKUP, wanted or not (a hand-over waits for no timer). In INIT, FAULT
// and MASTER it does nothing.
type Grant struct{}

// Yield says that the node holds no longer: MASTER becomes BACKUP. In every other
// state it does nothing.
type Yield struct {
	Quiet bool   // send no priority-0 advert: the successor already advertises
	Why   string // for people
}

// Stop leaves every state for INIT, with a priority-0 advert if MASTER.
type Stop struct{}

func (Start) isEvent()       {}
func (Tick) isEvent()        {}
func (Received) isEvent()    {}
func (SetPriority) isEvent() {}
func (SetFault) isEvent()    {}
func (Preempt) isEvent()     {}
func (Grant) isEvent()       {}
func (Yield) isEvent()       {}
func (Stop) isEvent()        {}

// Action is what a Machine asks for; the order of actions is the order of effects.
// The variants are Send, Want, Unwant, Changed, Overdue, Challenged, Announce and
// Discarded.
//
//sumtype:decl
type Action interface{ isAction() }

// Send asks for an advert to the group or to all unicast peers. It comes only while
// MASTER, or on Preempt; the farewell with priority 0 comes just before the Changed out of MASTER.
type Send struct{ Packet Packet }

// Want says that the machine would be MASTER now. It stays BACKUP and says so again
// every advertisement interval, and at once when Alive changes, until Grant, or until
// Unwant or a Changed takes it back.
type Want struct {
	Why Reason
	// Alive: a master of lower priority was heard within the last master-down interval,
	// so taking over now would preempt it.
	Alive bool
}

// Unwant takes a Want back: a master that outranks us (or, with nopreempt, any master)
// has been heard.
type Unwant struct{ Why string }

// Changed reports a new state. Out of MASTER, the composer takes the addresses off.
type Changed struct {
	From, To State
	Why      string
}

// Overdue says, once per silence, that the first advert was missed: one and a half
// advertisement intervals have passed since the last. It also comes right when the
// machine starts to listen with no master known, and when a master says goodbye. It is
// the time to start asking other nodes: the master-down timer is still running.
type Overdue struct{}

// Challenged says that a MASTER by permission heard an advert that outranks it, and
// stays MASTER: an advert can be forged, so the composer asks around.
type Challenged struct {
	Packet Packet
	Source netip.Addr
}

// Announce asks for a burst of Count gratuitous ARPs for each virtual address.
type Announce struct{ Count int }

// Discarded says that an advert was dropped and why: once per source, until the cause
// changes or a good advert comes from there.
type Discarded struct {
	Cause  Cause
	Source netip.Addr
	Why    string // for people, with the values that differ
}

func (Send) isAction()       {}
func (Want) isAction()       {}
func (Unwant) isAction()     {}
func (Changed) isAction()    {}
func (Overdue) isAction()    {}
func (Challenged) isAction() {}
func (Announce) isAction()   {}
func (Discarded) isAction()  {}

// State is a machine's state, by the names keepalived's users know. RFC 9568 says
// Initialize, Backup and Active where we say INIT, BACKUP and MASTER; FAULT is
// keepalived's: configured, but unable to serve.
type State uint8

// The states; the zero State holds nothing.
const (
	StateInit State = iota
	StateBackup
	StateMaster
	StateFault
)

// String returns INIT, BACKUP, MASTER or FAULT.
func (s State) String() string {
	switch s {
	case StateInit:
		return "INIT"
	case StateBackup:
		return "BACKUP"
	case StateMaster:
		return "MASTER"
	case StateFault:
		return "FAULT"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// Reason is why a machine wants to be MASTER; the zero Reason is no wish at all.
type Reason uint8

// The reasons.
const (
	ReasonTimeout Reason = iota + 1 // no advert for a master-down interval
	ReasonLeft                      // the master said goodbye (priority 0)
	ReasonPreempt                   // the master alive has a lower priority
	ReasonOwner                     // we own the address and the configuration says MASTER
)

// String returns the reason in words that follow "because".
func (r Reason) String() string {
	switch r {
	case ReasonTimeout:
		return "no advert heard"
	case ReasonLeft:
		return "master left"
	case ReasonPreempt:
		return "master has lower priority"
	case ReasonOwner:
		return "address owner"
	}
	return "Reason(" + strconv.Itoa(int(r)) + ")"
}
