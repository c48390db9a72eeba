package arbiter

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Promises is the giving side: what this node has promised to whom. A promise says:
// I do not take this claim, nor promise it to anybody else, for Wait.
type Promises struct {
	wait    time.Duration
	started time.Time
	given   map[string]promise
	owing   map[string]map[string]uint64 // by claim: who was promised it and has not said since that it let go; the request
}

type promise struct {
	to    string
	id    uint64 // of the request that asked for it
	until time.Time
}

// NewPromises returns a giver that has promised nothing. Until wait has passed since
// started it refuses: it may have promised something just before it was restarted.
func NewPromises(wait time.Duration, started time.Time) *Promises {
	return &Promises{wait: wait, started: started, given: map[string]promise{}, owing: map[string]map[string]uint64{}}
}

// Grant decides about the promise that r asks for. An empty why means: promised. The
// caller refuses by itself while it holds the claim, or a take of its own is under way.
func (p *Promises) Grant(now time.Time, r Request) (why string) {
	g := p.given[r.Claim]
	switch {
	case p.fresh(now):
		return fmt.Sprintf("started less than %v ago: it may have promised before", p.wait)
	case g.to != "" && g.to != r.From && now.Before(g.until):
		return "promised to " + g.to
	case g.to == r.From && now.Before(g.until) && r.ID < g.id:
		// It overtook nothing: it was late. A release that belongs to it must not end this promise.
		return "asked for anew since"
	}
	p.given[r.Claim] = promise{r.From, r.ID, now.Add(p.wait)}
	if p.owing[r.Claim] == nil {
		p.owing[r.Claim] = map[string]uint64{}
	}
	p.owing[r.Claim][r.From] = r.ID
	return ""
}

// beforeStart stands for the node that a former start of this one may have promised to.
const beforeStart = "somebody before this node was started"

// To returns the node that the claim is promised to at this time, or words for one that
// it may be promised to; empty: to nobody.
func (p *Promises) To(now time.Time, claim string) string {
	if g := p.given[claim]; now.Before(g.until) {
		return g.to
	}
	if p.fresh(now) {
		return beforeStart
	}
	return ""
}

// Owing reports whether some node that the claim was ever promised to has not said since
// that it let go of it.
func (p *Promises) Owing(claim string) bool { return len(p.owing[claim]) > 0 }

// Settle says that no other node can have anything of the claim any more: nobody owes a word.
func (p *Promises) Settle(claim string) { delete(p.owing, claim) }

// fresh reports whether promises of a former start may still bind this node.
func (p *Promises) fresh(now time.Time) bool { return now.Before(p.started.Add(p.wait)) }

// Release ends a promise because r.From says that it has let go. One that it asked for
// later stays: messages overtake each other.
func (p *Promises) Release(r Request) {
	if g := p.given[r.Claim]; g.to == r.From && g.id < r.ID {
		delete(p.given, r.Claim)
	}
	if p.owing[r.Claim][r.From] < r.ID {
		delete(p.owing[r.Claim], r.From)
	}
}

// Ballot is the asking side: the promises that others have made to this node for
// one claim. It counts from before it asked.
type Ballot struct {
	hold   time.Duration
	needed int
	voters []string

	id    uint64
	asked time.Time
	yes   map[string]bool
	no    map[string]string
	until time.Time
}

// NewBallot returns a ballot among the voters (others only, not this node), of which
// needed must promise. Its permission lasts hold from each asking.
func NewBallot(hold time.Duration, voters []string, needed int) *Ballot {
	return &Ballot{hold: hold, voters: voters, needed: needed}
}

// Open starts a round with the given request id at the instant before it is sent.
// What earlier rounds brought stays valid.
func (b *Ballot) Open(now time.Time, id uint64) {
	b.id, b.asked = id, now
	b.yes, b.no = map[string]bool{}, map[string]string{}
	b.count()
}

// Answered takes in an answer; one to an earlier round, to none that is open, or of
// somebody who has no vote, changes nothing.
func (b *Ballot) Answered(a Answer) {
	if b.id == 0 || a.ID != b.id || !slices.Contains(b.voters, a.From) {
		return
	}
	if a.Yes {
		b.yes[a.From] = true
		delete(b.no, a.From)
	} else if !b.yes[a.From] {
		b.no[a.From] = a.Why
	}
	b.count()
}

// Grant counts a promise that needs no asking: the voter left and gave it for good.
func (b *Ballot) Grant(voter string) {
	if b.id != 0 && slices.Contains(b.voters, voter) {
		b.yes[voter] = true
		b.count()
	}
}

func (b *Ballot) count() {
	if until := b.asked.Add(b.hold); len(b.yes) >= b.needed && until.After(b.until) {
		b.until = until
	}
}

// Won reports whether enough have promised in this round.
func (b *Ballot) Won() bool { return b.Running() && len(b.yes) >= b.needed }

// Failed reports whether so many have refused in this round, or are gone and will not answer,
// that it cannot bring enough.
func (b *Ballot) Failed(gone func(voter string) bool) bool {
	lost := 0
	for _, v := range b.voters {
		if _, refused := b.no[v]; refused || !b.yes[v] && gone(v) {
			lost++
		}
	}
	return lost > len(b.voters)-b.needed
}

// Adopt takes over the permission that promises have given to a former start of this node.
func (b *Ballot) Adopt(until time.Time) { b.until = until }

// Until returns the end of the permission that the promises give; zero: none was
// ever given.
func (b *Ballot) Until() time.Time { return b.until }

// Running reports whether a round was opened and has not been ended.
func (b *Ballot) Running() bool { return b.id != 0 }

// Asked returns when the last round was opened.
func (b *Ballot) Asked() time.Time { return b.asked }

// End forgets all promises: this node has let go of the claim.
func (b *Ballot) End() { b.id, b.until = 0, time.Time{} }

// Voters returns the others who have a vote.
func (b *Ballot) Voters() []string { return b.voters }

// Missing says in words who has not promised in this round, and why.
func (b *Ballot) Missing() string {
	var parts []string
	for _, v := range b.voters {
		if why, said := b.no[v]; said {
			parts = append(parts, v+" refuses: "+why)
		} else if !b.yes[v] {
			parts = append(parts, v+" has not answered")
		}
	}
	return strings.Join(parts, "; ")
}

// Promised returns who has promised in this round, in order.
func (b *Ballot) Promised() []string {
	return slices.Sorted(maps.Keys(b.yes))
}

// compareAddresses orders two addresses as numbers, as VRRP breaks ties
// (RFC 9568 section 6.4.3); text that is no address comes first.
func compareAddresses(a, b string) int {
	x, _ := netip.ParseAddr(a)
	y, _ := netip.ParseAddr(b)
	return x.Compare(y)
}
