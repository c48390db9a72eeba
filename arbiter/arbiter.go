package arbiter

import (
	"fmt"
	"slices"
)

// Token is the fencing token of a holding: a number that only grows. Zero is no token.
type Token uint64

// Mode is the kind of permission a node needs before it may hold a claim.
// The zero Mode permits nothing.
type Mode uint8

// The modes, from the weakest to the strongest promise.
const (
	ModeNone   Mode = iota // not known yet: nothing may be held
	ModeVRRP               // plain VRRP: no permission; two holders are possible
	ModeVeto               // two nodes without a third: a live holder seen by any path forbids
	ModeQuorum             // promises of a majority of all configured voters
	ModeLease              // the etcd lease; promises of all other nodes while etcd is silent
)

// Path says how a piece of evidence came: directly from the node it speaks of, or
// through another member of the mesh.
type Path struct {
	Via string `json:"via,omitempty"` // empty: directly
}

// String returns "direct" or "via NAME".
func (p Path) String() string {
	if p.Via == "" {
		return "direct"
	}
	return "via " + p.Via
}

// Report is what a node says of itself in the mesh. A newer one (higher Incarnation,
// then higher Seq) replaces an older one.
type Report struct {
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"` // grows with each start of the daemon
	Seq         uint64 `json:"seq"`         // grows with each report
	Mode        Mode   `json:"mode"`
	Witness     bool   `json:"witness,omitempty"` // a mesh witness: votes, holds nothing
	Leaving     bool   `json:"leaving,omitempty"` // stopping in an orderly way
	// Left, with Leaving: the node stopped while the witness was silent, and takes nothing
	// when it is back before the others know that: a promise of every claim, for good.
	Left bool `json:"left,omitempty"`
	// Store is the etcd cluster that answers the node as witness; 0: none has answered.
	Store  uint64        `json:"store,omitempty"`
	Claims []ClaimReport `json:"claims,omitempty"`
}

// ClaimReport is what a node says of one claim.
type ClaimReport struct {
	Claim    string `json:"claim"`
	State    string `json:"state"`            // MASTER, BACKUP, FAULT or INIT, as VRRP has it
	Holds    bool   `json:"holds"`            // its addresses are, or may be, on this node
	Guards   bool   `json:"guards,omitempty"` // a guarded service of it runs, or may run, here
	Token    Token  `json:"token"`            // of the holding, else the highest one known
	Priority uint8  `json:"priority"`
	Address  string `json:"address,omitempty"` // what breaks a tie of priorities
	Barred   string `json:"barred,omitempty"`  // why the node would not take it; empty: it would
}

// Newer reports whether r replaces old.
func (r Report) Newer(old Report) bool {
	if r.Incarnation != old.Incarnation {
		return r.Incarnation > old.Incarnation
	}
	return r.Seq > old.Seq
}

// Same reports whether r and other say the same, whenever they say it.
func (r Report) Same(other Report) bool {
	return r.Node == other.Node && r.Incarnation == other.Incarnation && r.Mode == other.Mode && r.Witness == other.Witness &&
		r.Leaving == other.Leaving && r.Left == other.Left && slices.Equal(r.Claims, other.Claims)
}

// Claim returns what r says of the claim, and whether it says anything.
func (r Report) Claim(name string) (ClaimReport, bool) {
	for _, c := range r.Claims {
		if c.Claim == name {
			return c, true
		}
	}
	return ClaimReport{}, false
}

// RequestKind is what one node asks of another.
type RequestKind uint8

// The requests of the mesh.
const (
	RequestHolds    RequestKind = iota + 1 // do you hold this claim?
	RequestPromise                         // promise not to take it, nor to promise it to another
	RequestHandover                        // let go of it in my favour: my priority is higher
	RequestReleased                        // told, not asked: I have let go of it, in favour of For
)

// Request is a question from one node to another about one claim.
type Request struct {
	ID       uint64      `json:"id"` // grows with each request of From, also over its restarts
	Kind     RequestKind `json:"kind"`
	From     string      `json:"from"`
	To       string      `json:"to"`
	Claim    string      `json:"claim"`
	Token    Token       `json:"token,omitempty"`
	Priority uint8       `json:"priority,omitempty"`
	For      string      `json:"for,omitempty"` // RequestReleased: who is to take it; empty: anyone
	// Unsettled, with RequestReleased: guarded services of a holder before From may still be stopping.
	Unsettled bool `json:"unsettled,omitempty"`
}

// Answer is what a Request brings back.
type Answer struct {
	ID    uint64 `json:"id"` // the request's
	From  string `json:"from"`
	To    string `json:"to"`
	Claim string `json:"claim"`
	Yes   bool   `json:"yes"` // holds; promised; will hand over
	// Takes, with RequestHolds: the answerer is about to take it.
	Takes bool `json:"takes,omitempty"`
	// Guards, with RequestHolds: a guarded service of it runs there, or may run.
	Guards bool   `json:"guards,omitempty"`
	Token  Token  `json:"token,omitempty"` // the highest token of the claim the answerer knows
	Why    string `json:"why,omitempty"`   // for people, when the answer is no
}

// String returns the mode's name as the configuration and the status have it.
func (m Mode) String() string {
	switch m {
	case ModeNone:
		return "none"
	case ModeVRRP:
		return "vrrp"
	case ModeVeto:
		return "veto"
	case ModeQuorum:
		return "quorum"
	case ModeLease:
		return "lease"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}
