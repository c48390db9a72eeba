package fencing

import (
	"fmt"
	"time"
)

// Ban keeps a node out of a claim that it was fenced from, until the cause is gone and
// its time is over, or an operator clears it. It ends before its time when nobody else is
// there to take the claim: permission, and not the ban, is what makes two holders
// impossible, so the only healthy node must not stay out for it.
type Ban struct {
	Cause Cause
	Until time.Time // on the boot clock; zero: only an operator ends it

	vacant time.Time // since when the cause is gone and nobody is known to hold the claim
	waits  string    // what is waited for, in words; empty: not looked at yet
}

// Surroundings is what the end of a ban depends on.
type Surroundings struct {
	Present  string        // why the cause is not gone yet; empty: it is
	Holder   string        // who is known to hold the claim; empty: nobody
	Ready    string        // another node that says that it would take it; empty: none
	Patience time.Duration // how long the claim may stay without a holder before the ban ends
}

// NewBan returns the ban of a fencing at the instant now. after is how long it lasts at
// the least; 0: until an operator clears it, as always when an operator has fenced.
func NewBan(now time.Time, cause Cause, after time.Duration) *Ban {
	b := &Ban{Cause: cause}
	if after > 0 && cause != Operator {
		b.Until = now.Add(after)
	}
	return b
}

// Look reports whether the ban is over now, and why: empty, it is not. It never is while
// the cause is there.
func (b *Ban) Look(now time.Time, s Surroundings) (over string) {
	if s.Present != "" || s.Holder != "" {
		b.vacant = time.Time{}
	} else if b.vacant.IsZero() {
		b.vacant = now
	}
	switch {
	case b.Until.IsZero():
		b.waits = "an operator's `solovip fence clear`"
	case s.Present != "":
		b.waits = s.Present
	case !now.Before(b.Until):
		return "the cause is gone and clear_after is over"
	case s.Holder == "" && s.Ready == "":
		return "the cause is gone and no other node is there to take the claim"
	case s.Holder == "" && now.Sub(b.vacant) >= s.Patience:
		return fmt.Sprintf("the cause is gone and nobody has taken the claim for %v", s.Patience)
	default:
		b.waits = "clear_after to be over"
	}
	return ""
}

// Waits says in words what the ban waits for.
func (b *Ban) Waits() string { return b.waits }

// Due returns when the ban wants to be looked at again if nothing happens; zero: never.
func (b *Ban) Due(s time.Duration) time.Time {
	if b.Until.IsZero() {
		return time.Time{}
	}
	if at := b.vacant.Add(s); !b.vacant.IsZero() && at.Before(b.Until) {
		return at
	}
	return b.Until
}
