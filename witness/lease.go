package witness

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// Config says who a Lease belongs to.
type Config struct {
	Node        string
	Incarnation uint64 // grows with each start of the daemon
	Timing      Timing // must pass Check
	Trusted     uint64 // the etcd cluster that was the witness before this start; 0: none is known
	// Held is what a former start of the daemon held by this witness when it left that in place. It is
	// dead, so nobody but this one holds it until then.
	Held map[string]Grant
	// Settled are the claims of which a former start knew, as by Settle, that nothing was anywhere else.
	Settled map[string]bool
}

// Grant is a permission to hold a claim with a token until an instant.
type Grant struct {
	Token arbiter.Token
	Until time.Time
}

// Lease is one node's relation to the witness: what it has seen there, what it holds
// by it and until when, and what it has to send next. It is driven by Poll, Done and
// Observe; Standing and Permission read it.
//
// At most one Swap is in flight. Each one compares the node's own record, so that
// they take effect in the order sent or not at all: once a later answer shows another version of
// the own record, a Swap whose reply was lost can never take effect any more.
type Lease struct {
	cfg Config

	trusted  uint64        // the etcd cluster whose word counts; 0: the first that answers
	stranger uint64        // another one that answers in its place
	why      string        // the store was last replaced
	replaced time.Time     // and when
	took     time.Duration // the last answer
	strayed  time.Time     // when an answer last came that nobody waited for
	refuses  bool          // err: it answers, and refuses

	clusterID uint64
	revision  int64
	since     time.Time // of the first complete observation since it was last silent for long
	stores    int       // how often the witness was replaced by another store
	term      uint64    // etcd's, as it last answered
	starts    int       // how often that has changed
	nodes     map[string]seenNode
	claims    map[string]seenClaim

	beat    uint64
	until   time.Time // the end of the last renewal that was seen to succeed
	held    map[string]arbiter.Token
	used    map[string]bool   // something of the claim may be on this node, whatever the records say
	former  map[string]Grant  // held by a witness that was replaced, or by a former start: to be asserted
	from    map[string]string // who a claim was last taken from without a release
	wishes  map[string]wish
	next    time.Time // the next renewal
	rest    time.Time // after trouble: nothing goes out before
	flight  *flight
	doubts  []flight // replies lost, not yet known to be without effect
	clashes int      // conditions failed in a row

	answered time.Time
	err      error
	nextID   uint64
}

type seenNode struct {
	Versioned[NodeRecord]
	changed  time.Time // when Beat (or the record's absence) was first seen so
	before   time.Time // and when the Beat before it was, of the same Incarnation
	restarts time.Time // when Incarnation was first seen so
}

type seenClaim struct {
	Versioned[ClaimRecord]
	changed time.Time // when this version was first seen
}

// wish is what is to become of a claim: take it, or release it in favour of to.
type wish struct {
	take  bool
	floor arbiter.Token // the new token must be above this
	to    string
}

type flight struct {
	id       uint64
	sent     time.Time
	ownIf    int64 // the own record's version that the Swap compares
	revision int64 // known when it left: an answer below is another store's
	stores   int   // replaced when it left: what it was built on
	starts   int   // and how often it had been started anew
	takes    map[string]arbiter.Token
	releases []string
	renews   bool
}

// Operation is a Swap to be carried to the witness, and its reply to Done.
type Operation struct {
	ID      uint64
	Swap    Swap
	Timeout time.Duration // after which the reply counts as lost
}

// NewLease returns a Lease that has seen nothing and holds nothing.
// It panics when the timing is unsafe: the configuration is checked before.
func NewLease(cfg Config) *Lease {
	if err := cfg.Timing.Check(); err != nil {
		panic("witness: " + err.Error())
	}
	l := &Lease{
		cfg: cfg, trusted: cfg.Trusted,
		nodes:  map[string]seenNode{},
		claims: map[string]seenClaim{},
		held:   map[string]arbiter.Token{},
		used:   map[string]bool{},
		former: map[string]Grant{},
		from:   map[string]string{},
		wishes: map[string]wish{},
	}
	maps.Copy(l.former, cfg.Held)
	return l
}

// Take asks for the claim, with a token above floor, as soon as the records allow it,
// until Drop or Release.
func (l *Lease) Take(claim string, floor arbiter.Token) {
	l.wishes[claim] = wish{take: true, floor: floor}
}

// Use says that something of the claim may be on this node from now on, by whatever
// permission. Until Release nothing tells the others that it is free.
func (l *Lease) Use(claim string) { l.used[claim] = true }

// Release gives the claim back as a tombstone in favour of the node to, or of anyone
// if empty. The caller has let go of it and has verified that.
func (l *Lease) Release(claim, to string) {
	delete(l.former, claim)
	delete(l.used, claim)
	if _, held := l.held[claim]; held {
		delete(l.held, claim) // the permission ends here, whatever becomes of the record
		l.wishes[claim] = wish{to: to}
	} else if l.wishes[claim].take {
		delete(l.wishes, claim)
	}
}

// Drop withdraws a Take that has not been sent.
func (l *Lease) Drop(claim string) {
	if l.wishes[claim].take && !l.Unsettled(claim) {
		delete(l.wishes, claim)
	}
}

// Hasten makes the next Swap due at once: somebody said that a record has changed.
func (l *Lease) Hasten(now time.Time) { l.next = now }

// Permission returns the claim's token and the instant until which this node may
// hold it, and whether the witness has granted it at all.
func (l *Lease) Permission(claim string) (arbiter.Token, time.Time, bool) {
	if g, ok := l.former[claim]; ok {
		return g.Token, g.Until, true
	}
	token, ok := l.held[claim]
	return token, l.until, ok
}

// Unsettled reports whether a take of the claim may still happen that this node does
// not know the end of: it must promise the claim to nobody meanwhile.
func (l *Lease) Unsettled(claim string) bool {
	if l.flight != nil {
		if _, ok := l.flight.takes[claim]; ok {
			return true
		}
	}
	return slices.ContainsFunc(l.doubts, func(f flight) bool {
		_, ok := f.takes[claim]
		return ok
	})
}

// Releasing reports whether a release of the claim has not been confirmed yet.
func (l *Lease) Releasing(claim string) bool {
	w, ok := l.wishes[claim]
	return ok && !w.take
}

// Deadline returns when Poll wants to be called next; zero while a Swap is in flight.
func (l *Lease) Deadline(now time.Time) time.Time {
	if l.flight != nil {
		return time.Time{}
	}
	due := l.next
	for claim, w := range l.wishes {
		at := now
		if w.take {
			s := l.Standing(now, claim)
			if s.State == Unknown || s.State == Mine || l.err != nil {
				continue
			}
			at = s.At
		}
		if at.Before(due) {
			due = at
		}
	}
	return later(due, l.rest)
}

// Poll returns the Swap to be sent now, if one is due. Its renewal counts from now:
// the caller sends it at once, or the holding is shorter than it could be, never longer.
func (l *Lease) Poll(now time.Time) (Operation, bool) {
	if l.flight != nil || now.Before(l.Deadline(now)) {
		return Operation{}, false
	}
	if l.stale(now) {
		l.since = time.Time{}
	}
	l.nextID++
	f := flight{id: l.nextID, sent: now, revision: l.revision, stores: l.stores, starts: l.starts}
	var s Swap
	if !l.since.IsZero() && l.stranger == 0 {
		s = l.build(now, &f)
	}
	l.flight = &f
	l.next = now.Add(l.cfg.Timing.Renew)
	return Operation{ID: f.id, Swap: s, Timeout: l.cfg.Timing.Renew}, true
}

// build assembles the Swap: the renewal, and each wish that the records allow now.
func (l *Lease) build(now time.Time, f *flight) Swap {
	me := l.nodes[l.cfg.Node]
	l.beat = max(l.beat, me.Record.Beat) + 1
	f.ownIf, f.renews, f.takes = me.Version, true, map[string]arbiter.Token{}
	s := Swap{
		IfNodes:  map[string]int64{l.cfg.Node: me.Version},
		IfClaims: map[string]int64{},
		Nodes: []NodeRecord{{
			Node: l.cfg.Node, Incarnation: l.cfg.Incarnation, Beat: l.beat,
			HoldMS: l.cfg.Timing.Hold.Milliseconds(), LateMS: l.cfg.Timing.Late.Milliseconds(),
			Taken: me.Record.Taken,
		}},
	}
	for _, claim := range slices.Sorted(maps.Keys(l.wishes)) {
		w, rec := l.wishes[claim], l.claims[claim]
		if w.take {
			// After a lost reply only a renewal goes out: a take that is lost as well would be in
			// doubt for as long as the witness is silent, and bar this node from promising.
			if st := l.Standing(now, claim); st.State != Free || l.err != nil {
				continue
			}
			token := max(rec.Record.Token, w.floor) + 1
			f.takes[claim] = token
			l.noteFormer(claim, rec.Record)
			s.Claims = append(s.Claims, ClaimRecord{Claim: claim, Holder: l.cfg.Node, Incarnation: l.cfg.Incarnation, Token: token})
			l.evict(&s, rec.Record)
		} else {
			r := rec.Record
			r.Released, r.To = true, w.to
			_, r.Unsettled = l.from[claim]
			f.releases = append(f.releases, claim)
			s.Claims = append(s.Claims, r)
		}
		s.IfClaims[claim] = rec.Version
	}
	l.assert(now, &s, f)
	return s
}

// assert adds to the Swap what this node holds by a witness that was replaced. Nobody
// can have taken it since: whoever saw the new store first has to wait for longer
// than what is left of this holding.
func (l *Lease) assert(now time.Time, s *Swap, f *flight) {
	for _, claim := range slices.Sorted(maps.Keys(l.former)) {
		g, rec := l.former[claim], l.claims[claim]
		if _, wished := s.IfClaims[claim]; wished || !now.Before(g.Until) {
			continue
		}
		f.takes[claim] = g.Token
		s.Claims = append(s.Claims, ClaimRecord{Claim: claim, Holder: l.cfg.Node, Incarnation: l.cfg.Incarnation, Token: g.Token})
		l.evict(s, rec.Record)
		s.IfClaims[claim] = rec.Version
	}
}

// noteFormer remembers whom the claim is being taken from. A take that is sent once
// more because its reply was lost finds this node in the record: that changes nothing.
func (l *Lease) noteFormer(claim string, r ClaimRecord) {
	switch {
	case r.Holder == l.cfg.Node && !r.Unsettled: // also as a tombstone: it may have let go before Settle
	case r.Released && !r.Unsettled:
		delete(l.from, claim)
	default:
		l.from[claim] = r.Holder // empty: there is no record, so nobody knows
	}
}

// TakenFrom reports whether the claim was taken from a node that did not release it, or released
// it unsettled, and from which; empty when that is not known.
func (l *Lease) TakenFrom(claim string) (node string, unreleased bool) {
	node, unreleased = l.from[claim]
	return node, unreleased
}

// Settle says that nothing of the claim can be anywhere else any more, whoever it was taken from.
func (l *Lease) Settle(claim string) { delete(l.from, claim) }

// evict adds to the Swap what makes the former holder's next renewal fail, unless it
// has let go itself: its record must be as seen, and changes.
func (l *Lease) evict(s *Swap, r ClaimRecord) {
	if r.Holder == "" || r.Holder == l.cfg.Node || r.Released {
		return
	}
	if _, done := s.IfNodes[r.Holder]; done {
		return
	}
	victim := l.nodes[r.Holder]
	s.IfNodes[r.Holder] = victim.Version
	if victim.Version != 0 {
		rec := victim.Record
		rec.Taken++
		s.Nodes = append(s.Nodes, rec)
	}
}

// Done brings the reply to the Swap with the given id. With an error the reply is lost: what was
// sent may have happened. refused says that it surely has not.
func (l *Lease) Done(now time.Time, id uint64, out Outcome, err error, refused bool) {
	if l.flight == nil || l.flight.id != id {
		l.strayed = now
		return
	}
	f := *l.flight
	l.took = now.Sub(f.sent)
	if err != nil {
		l.flight = nil
		l.err, l.refuses = err, refused
		if !refused && f.renews && l.stores == f.stores {
			l.doubt(f)
		}
		// The next try is due a Renew after this one left; never in a tight loop.
		l.rest = now.Add(l.cfg.Timing.Renew / 4)
		return
	}
	if l.stores != f.stores && out.ClusterID != l.clusterID {
		l.flight, l.next = nil, now // the last word of a store that was replaced
		return
	}
	if l.strange(out.ClusterID) {
		l.flight, l.rest = nil, now.Add(l.cfg.Timing.Renew/4)
		return
	}
	l.err, l.answered = nil, now
	if out.Revision < f.revision && l.stores == f.stores {
		l.replace(now, fmt.Sprintf("it was emptied, or put back to an older state: its revision is %d and was %d", out.Revision, f.revision))
	}
	l.Observe(now, out.Observation) // with the flight still known: what it took is no orphan
	l.flight = nil
	switch {
	case l.stores != f.stores:
		// What it was built on was another store's: what it has done here, if anything, was
		// decided on nothing, and counts for nothing.
		l.next = now
	case !f.renews: // the first reading: now the work can begin
		l.next = now
	case out.Done:
		l.clashes = 0
		l.until = later(l.until, f.sent.Add(l.cfg.Timing.Hold))
		for claim, token := range f.takes {
			if l.starts == f.starts { // else it was built on what may have been lost
				l.granted(claim, token)
			}
		}
		for _, claim := range f.releases {
			if w, ok := l.wishes[claim]; ok && !w.take {
				delete(l.wishes, claim)
			}
		}
	default:
		l.clashes++
		l.next = now
		if l.clashes > maxClashes {
			l.rest = now.Add(l.cfg.Timing.Renew / 4)
		}
	}
	l.settle(now) // what it took and nobody wants any more is an orphan now
}

// maxClashes is how often a Swap that met changed records is sent again at once.
const maxClashes = 3

// maxDoubts bounds the list of lost replies that are remembered one by one.
const maxDoubts = 64

func (l *Lease) doubt(f flight) {
	if len(l.doubts) >= maxDoubts {
		// Fold the newest into the last one: the union of the claims is what matters.
		last := &l.doubts[len(l.doubts)-1]
		maps.Copy(last.takes, f.takes)
		last.ownIf = max(last.ownIf, f.ownIf)
		return
	}
	l.doubts = append(l.doubts, f)
}

// granted notes a take that was seen to succeed, if the record still says so.
func (l *Lease) granted(claim string, token arbiter.Token) {
	if _, asserted := l.former[claim]; !asserted && !l.wishes[claim].take {
		return // withdrawn on the way: it goes back
	}
	r := l.claims[claim].Record
	if r.Holder == l.cfg.Node && r.Incarnation == l.cfg.Incarnation && r.Token == token && !r.Released {
		l.held[claim] = token
		delete(l.former, claim)
		if l.wishes[claim].take {
			delete(l.wishes, claim)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
