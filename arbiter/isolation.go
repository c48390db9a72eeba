package arbiter

import "strings"

// What a node in veto mode does about peers that no path shows.

// Isolation says what a node in veto mode does about peers that no path shows.
type Isolation uint8

// The ways to deal with isolation. The zero Isolation takes nothing.
const (
	IsolationHold  Isolation = iota // keep what is held, take nothing
	IsolationClaim                  // take, as plain VRRP does
	IsolationFence                  // take once an agent has shown them to be switched off
)

// decideShot decides whether peers that no path reaches have to be switched off, and may
// be, before the claim is taken; ok: they need not, or are. A node that is the one cut off must not shoot,
// and one that hears a live master has no cause to.
func decideShot(in Input, gone []string) (v Verdict, ok bool) {
	switch {
	case len(gone) == 0 || in.Isolation != IsolationFence || in.Want == WantPreempt || in.Off == Yes:
		return Verdict{}, true
	case in.Reference == No:
		return Verdict{Why: "no path reaches " + strings.Join(gone, ", ") + ", nor does the reference answer: this node is the one cut off, and shoots nobody"}, false
	case in.Reference == Unknown:
		return Verdict{Do: Consult, Why: "no word yet from the reference"}, false
	case in.Off == No:
		return Verdict{Why: "no path reaches " + strings.Join(gone, ", ") + ", and no agent has shown it to be switched off"}, false
	}
	return Verdict{Do: Shoot, Peer: gone[0], Why: "no path reaches " + strings.Join(gone, ", ") + ": waiting for an agent to show it to be switched off"}, false
}

// isolated says in words why a claim is taken although peers are not heard.
func isolated(in Input, gone []string) string {
	if in.Isolation == IsolationFence {
		return "an agent has shown that " + strings.Join(gone, ", ") + " is switched off"
	}
	return "no path reaches " + strings.Join(gone, ", ") + ", and on_isolation is claim"
}
