package arbiter

import (
	"fmt"
	"strings"
	"time"
)

// Tri is a truth value of evidence. The zero Tri is Unknown.
type Tri uint8

// The values of a Tri.
const (
	Unknown Tri = iota
	No
	Yes
)

// Want says why a node would like a claim.
type Want uint8

// The wishes, from none to the strongest.
const (
	WantNone    Want = iota
	WantPreempt      // a live holder has a lower priority
	WantVacant       // the adverts have stopped, or there never were any
	WantOffered      // the holder has let go and says so, or its lease has run out
)

// LeaseState is what the etcd witness says of a claim, for this node.
type LeaseState uint8

// The states of a lease. The zero LeaseState permits nothing.
const (
	LeaseSilent  LeaseState = iota // no answer, or too old a one: nothing is known
	LeaseWaiting                   // another holds it, or may
	LeaseFree                      // it may be taken now
	LeaseMine                      // it was granted to this node
)

// Lease is the witness's part of the evidence.
type Lease struct {
	State  LeaseState
	Until  time.Time // LeaseMine: the end of the permission
	Free   time.Time // LeaseWaiting: when it may be taken if nothing changes
	Holder string    // LeaseWaiting: who has it
	Token  Token     // of the holding
}

// Peer is what is known about another node of the cluster, for one claim.
type Peer struct {
	Name     string
	Alive    Tri           // by any path
	Holds    Tri           // what it says itself, and recently
	Takes    bool          // it has just said that it is about to take the claim. ModeVeto only
	Path     Path          // how that came
	Age      time.Duration // and how long ago
	Token    Token
	Priority uint8
	Address  string
}

// Input is all the evidence about one claim at one instant.
type Input struct {
	Now       time.Time
	Mode      Mode
	Holding   bool   // the claim's addresses are on this node
	Want      Want   // ignored while holding
	Barred    string // why this node may not hold it whatever others say; empty: it may
	Token     Token  // of the holding, if any
	Priority  uint8
	Address   string
	Lease     Lease     // ModeLease only
	Promised  time.Time // until when enough others have promised the claim to this node
	PromiseTo string    // another node that this node has promised the claim to
	Peers     []Peer    // the other nodes of the cluster, in order of their names
	Isolation Isolation // ModeVeto only
	// Reference is whether the address that a node in isolation must reach answers; Yes
	// when there is none to reach. ModeVeto only.
	Reference Tri
	// Off is whether an agent has shown all peers that no path reaches to be switched off; No:
	// it could not. IsolationFence only.
	Off Tri
	// ARP is whether another station answers ARP for the claim's addresses: Unknown while
	// the answers are still waited for. ModeVeto only: elsewhere permission decides.
	ARP     Tri
	ARPFrom string // ARP Yes: that station and the address, for people
}

// Do is what a Verdict tells the node to do.
type Do uint8

// The verdicts. The zero Do holds nothing.
const (
	Refuse   Do = iota // do not hold: let go, or stay without
	Consult            // do not hold yet: ask the peers that have not answered
	Obtain             // do not hold yet: get the lease, or the promises
	Handover           // do not hold yet: ask Verdict.Peer to hand over
	Shoot              // do not hold yet: have an agent switch Verdict.Peer off
	Hold               // hold, until Verdict.Until
)

// Verdict is the decision about one claim.
type Verdict struct {
	Do    Do
	Until time.Time // Hold: the end of the permission; zero: none needed
	Peer  string    // Handover: whom to ask; Shoot: whom to switch off; Refuse: the node that has the claim, if one is known
	Why   string    // for people: the rule and the evidence
}

// Decide returns whether the node may hold the claim. It depends on nothing but in.
func Decide(in Input) Verdict {
	if in.Barred != "" {
		return Verdict{Why: in.Barred}
	}
	switch in.Mode {
	case ModeNone:
		return Verdict{Why: "the mode is not known yet"}
	case ModeVRRP:
		if !in.Holding && in.Want == WantNone {
			return Verdict{Why: "another node is master"}
		}
		return Verdict{Do: Hold, Why: "plain VRRP: no permission is needed"}
	case ModeVeto:
		return decideVeto(in)
	case ModeQuorum, ModeLease:
		return decidePermission(in)
	}
	return Verdict{Why: fmt.Sprintf("%v is not a mode", in.Mode)}
}

// decideVeto needs no permission, but takes nothing while any path shows a live holder.
func decideVeto(in Input) Verdict {
	if in.Holding {
		if p, ok := outranked(in); ok {
			return Verdict{Why: fmt.Sprintf("%s holds it too and outranks this node: %s", p.Name, p.rank())}
		}
		return Verdict{Do: Hold, Why: "no live holder outranks this node"}
	}
	if in.Want == WantNone {
		return Verdict{Why: "another node is master"}
	}
	if p, ok := holder(in); ok {
		if in.Want == WantPreempt && in.Priority > p.Priority {
			return Verdict{Do: Handover, Peer: p.Name, Why: fmt.Sprintf("%s holds it with the lower priority %d", p.Name, p.Priority)}
		}
		return Verdict{Peer: p.Name, Why: fmt.Sprintf("%s lives and holds it (%s)", p.Name, p.source())}
	}
	var silent, gone []string
	for _, p := range in.Peers {
		switch {
		case p.Takes && p.outranks(p.Token, in.Priority, in.Address):
			return Verdict{Peer: p.Name, Why: p.Name + " is about to take it too, and comes first"}
		case p.Holds == No:
		case p.Alive == No:
			gone = append(gone, p.Name)
		default:
			silent = append(silent, p.Name)
		}
	}
	switch {
	case len(silent) > 0:
		return Verdict{Do: Consult, Why: "no word yet from " + strings.Join(silent, ", ")}
	}
	if v, ok := decideShot(in, gone); !ok {
		return v
	}
	switch {
	case in.ARP == Yes:
		return Verdict{Why: in.ARPFrom + ": another device has it, or a peer that no other path reaches"}
	case len(gone) > 0 && in.Want == WantPreempt:
		return Verdict{Why: "adverts of a live master are heard, but no path of the mesh reaches " + strings.Join(gone, ", ")}
	case len(gone) > 0 && in.Isolation == IsolationHold:
		return Verdict{Why: "no path reaches " + strings.Join(gone, ", ") + ", and on_isolation is hold"}
	case len(gone) > 0 && in.Reference == No:
		return Verdict{Why: "no path reaches " + strings.Join(gone, ", ") + ", nor does the reference answer: this node is the one cut off"}
	case len(gone) > 0 && in.Reference == Unknown:
		return Verdict{Do: Consult, Why: "no word yet from the reference"}
	case in.ARP == Unknown && in.Want != WantOffered:
		// Of an offered claim the former holder says itself that it is off.
		return Verdict{Do: Consult, Why: "waiting for who answers ARP for the address"}
	case len(gone) > 0:
		return Verdict{Do: Hold, Why: isolated(in, gone)}
	}
	return Verdict{Do: Hold, Why: "every peer says that it does not hold it"}
}

// decidePermission holds only with the lease, or with promises.
func decidePermission(in Input) Verdict {
	until := in.Promised
	by := "promised by the other nodes"
	if in.Mode == ModeLease && in.Lease.State == LeaseMine && in.Lease.Until.After(until) {
		until, by = in.Lease.Until, "leased by the witness"
	}
	permitted := until.After(in.Now)
	if in.Holding {
		if p, ok := outranked(in); ok && p.Token > in.Token {
			return Verdict{Why: fmt.Sprintf("%s holds it with the higher token %d (%s)", p.Name, p.Token, p.source())}
		}
		if !permitted {
			return Verdict{Why: "the permission has ended"}
		}
		return Verdict{Do: Hold, Until: until, Why: by}
	}
	p, held := holder(in)
	switch {
	case in.Want == WantNone:
		return Verdict{Why: "another node is master"}
	case held && in.Want == WantPreempt && in.Priority > p.Priority:
		// Also of one that holds by this node's promise: letting go, it gives that back.
		return Verdict{Do: Handover, Peer: p.Name, Why: fmt.Sprintf("%s holds it with the lower priority %d", p.Name, p.Priority)}
	case in.PromiseTo != "":
		return Verdict{Peer: in.PromiseTo, Why: "promised to " + in.PromiseTo}
	case held:
		return Verdict{Peer: p.Name, Why: fmt.Sprintf("%s lives and holds it (%s)", p.Name, p.source())}
	case permitted:
		return Verdict{Do: Hold, Until: until, Why: by}
	case in.Mode == ModeLease && in.Lease.State == LeaseWaiting && in.Want != WantOffered:
		return Verdict{Peer: in.Lease.Holder, Why: waiting(in)}
	case in.Mode == ModeLease && in.Lease.State == LeaseSilent:
		return Verdict{Do: Obtain, Why: "the witness is silent: asking all other nodes for a promise"}
	}
	return Verdict{Do: Obtain, Why: "asking for permission"}
}

func waiting(in Input) string {
	free := in.Lease.Free.Sub(in.Now).Round(time.Millisecond)
	if in.Lease.Holder == "" {
		return fmt.Sprintf("the witness has not been watched for long enough: free in %v", free)
	}
	return fmt.Sprintf("the witness says that %s holds it: free in %v if it stays silent", in.Lease.Holder, free)
}

// holder returns the live peer that says that it holds the claim: the one with the
// highest rank if there are two.
func holder(in Input) (Peer, bool) {
	var best Peer
	found := false
	for _, p := range in.Peers {
		if p.Holds == Yes && (!found || p.outranks(best.Token, best.Priority, best.Address)) {
			best, found = p, true
		}
	}
	return best, found
}

// outranked returns the live peer that also holds the claim and comes before this node.
func outranked(in Input) (Peer, bool) {
	p, ok := holder(in)
	return p, ok && p.outranks(in.Token, in.Priority, in.Address)
}

// outranks reports whether p comes before a node with the given token, priority and
// address: the token first, then VRRP's rule (RFC 9568 section 6.4.3).
func (p Peer) outranks(token Token, priority uint8, address string) bool {
	if p.Token != token {
		return p.Token > token
	}
	if p.Priority != priority {
		return p.Priority > priority
	}
	return compareAddresses(p.Address, address) > 0
}

func (p Peer) rank() string {
	return fmt.Sprintf("token %d, priority %d (%s)", p.Token, p.Priority, p.source())
}

func (p Peer) source() string {
	return fmt.Sprintf("mesh, %v, %v ago", p.Path, p.Age.Round(time.Millisecond))
}

// String returns "unknown", "no" or "yes".
func (t Tri) String() string {
	switch t {
	case Unknown:
		return "unknown"
	case No:
		return "no"
	case Yes:
		return "yes"
	}
	return fmt.Sprintf("Tri(%d)", uint8(t))
}

// String returns the verdict in lower case.
func (d Do) String() string {
	names := [...]string{"refuse", "consult", "obtain", "handover", "shoot", "hold"}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("Do(%d)", uint8(d))
}

// String returns the wish in lower case.
func (w Want) String() string {
	names := [...]string{"none", "preempt", "vacant", "offered"}
	if int(w) < len(names) {
		return names[w]
	}
	return fmt.Sprintf("Want(%d)", uint8(w))
}

// String returns the lease's state in lower case.
func (s LeaseState) String() string {
	names := [...]string{"silent", "waiting", "free", "mine"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("LeaseState(%d)", uint8(s))
}
