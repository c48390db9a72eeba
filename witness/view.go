package witness

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// State says what the records mean for a node that would like a claim.
// The zero State is Unknown and permits nothing.
type State uint8

// The states of a claim at the witness, as one node sees it.
const (
	Unknown State = iota // the witness has not answered yet
	Waiting              // held, or not certainly free before Standing.At
	Free                 // may be taken now
	Mine                 // granted to this node
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Waiting:
		return "waiting"
	case Free:
		return "free"
	case Mine:
		return "mine"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Standing is what a node knows of a claim at the witness.
type Standing struct {
	State    State
	At       time.Time // Waiting: free then, if nothing changes meanwhile
	Holder   string    // who holds it or held it last; empty: nobody ever did
	Token    arbiter.Token
	Released bool   // the holder let go in an orderly way
	To       string // and in favour of this node
}

// Standing returns what the records say of the claim at the given time.
func (l *Lease) Standing(now time.Time, claim string) Standing {
	c := l.claims[claim]
	r := c.Record
	s := Standing{State: Waiting, Holder: r.Holder, Token: r.Token, Released: r.Released, To: r.To}
	unseen := l.since.IsZero() || l.stale(now)
	// What was granted is so to its end, whatever can be seen now.
	if _, until, mine := l.Permission(claim); mine && (l.former[claim].Token == 0 && !unseen || now.Before(until)) {
		s.State = Mine
		return s
	}
	if unseen {
		return Standing{}
	}
	// Nothing is free before this store has been watched for a Wait, whatever it says: it
	// may be empty or an older backup, and the real holder known to a former one only.
	s.At = later(l.freeAt(now, c), l.since.Add(l.cfg.Timing.Wait))
	if !now.Before(s.At) {
		s.State = Free
	}
	return s
}

// stale reports whether the last answer is older than a Wait. The store may have been
// put back to an older state since, or edited, and nothing in it need show that: it is
// watched for a Wait anew. Permission has run out by then.
func (l *Lease) stale(now time.Time) bool { return now.Sub(l.answered) > l.cfg.Timing.Wait }

// freeAt returns from when on nobody else can be holding what c says, if it stays so and
// the store is the one that the holder knows.
func (l *Lease) freeAt(now time.Time, c seenClaim) time.Time {
	r, wait := c.Record, l.cfg.Timing.Wait
	switch {
	case c.Version == 0:
		// Never seen, or deleted by hand: somebody may hold it by a record that is gone.
		return c.changed.Add(wait)
	case r.Released && (r.To == "" || r.To == l.cfg.Node || l.used[r.Claim]):
		return now // who holds it by promises already takes nobody's turn
	case r.Released:
		return c.changed.Add(wait)
	case r.Holder == l.cfg.Node:
		// A take whose reply was lost: nobody else was let in since. Or one by a former start
		// of this daemon, which cleaned up behind it.
		return now
	}
	n := l.nodes[r.Holder]
	switch {
	case n.Version == 0:
		return n.changed.Add(wait)
	case n.Record.Incarnation != r.Incarnation:
		// The holder has been started anew since: the one that held is gone.
		return n.restarts.Add(n.Record.Wait(wait))
	}
	return n.changed.Add(n.Record.Wait(wait))
}

// Observe takes in what an answer or a watch shows. Older versions than known
// ones change nothing, so the order of arrival does not matter.
func (l *Lease) Observe(now time.Time, o Observation) {
	if l.strange(o.ClusterID) {
		return
	}
	if why := l.wentBack(o); why != "" {
		l.replace(now, why)
	}
	if !o.Complete && l.since.IsZero() {
		return // a fragment says nothing about what it leaves out
	}
	l.clusterID, l.trusted = o.ClusterID, o.ClusterID
	l.noteTerm(now, o.Term)
	l.revision = max(l.revision, o.Revision)
	if l.since.IsZero() {
		l.since = now
	}
	for name, v := range o.Nodes {
		l.seeNode(now, name, v, o.Revision)
	}
	for name, v := range o.Claims {
		known := l.claims[name]
		if v.Version > known.Version || removed(v.Version, known.Version, o.Revision) {
			l.claims[name] = seenClaim{v, now}
		}
	}
	if o.Complete {
		l.forgetAbsent(now, o)
	}
	l.settle(now)
}

// removed reports whether an observation at the revision shows that a known record is gone.
func removed(version, known, revision int64) bool {
	return version == 0 && known != 0 && known <= revision
}

func (l *Lease) seeNode(now time.Time, name string, v Versioned[NodeRecord], revision int64) {
	known := l.nodes[name]
	if removed(v.Version, known.Version, revision) {
		l.nodes[name] = seenNode{changed: now, restarts: now}
		return
	}
	if v.Version <= known.Version {
		return
	}
	seen := known
	seen.Versioned = v
	if known.Version == 0 || v.Record.Incarnation != known.Record.Incarnation {
		seen = seenNode{Versioned: v, changed: now, restarts: now}
	} else if v.Record.Beat != known.Record.Beat {
		seen.changed, seen.before = now, known.changed
	}
	l.nodes[name] = seen
}

// forgetAbsent notes the records that a complete observation no longer has.
func (l *Lease) forgetAbsent(now time.Time, o Observation) {
	for name, known := range l.nodes {
		if _, ok := o.Nodes[name]; !ok && removed(0, known.Version, o.Revision) {
			l.nodes[name] = seenNode{changed: now, restarts: now}
		}
	}
	for name, known := range l.claims {
		if _, ok := o.Claims[name]; !ok && removed(0, known.Version, o.Revision) {
			l.claims[name] = seenClaim{changed: now}
		}
	}
}

// settle draws the conclusions from the records: what is no longer held, what is no
// longer in doubt, and what names this node without its holding it.
func (l *Lease) settle(now time.Time) {
	for claim, token := range l.held {
		r := l.claims[claim].Record
		if r.Holder != l.cfg.Node || r.Incarnation != l.cfg.Incarnation || r.Token != token || r.Released {
			delete(l.held, claim)
			delete(l.wishes, claim)
		}
	}
	for claim, g := range l.former {
		if r := l.claims[claim].Record; r.Token > g.Token || r.Token == g.Token && r.Released {
			delete(l.former, claim) // somebody has had it after this node
		}
	}
	for claim, w := range l.wishes {
		// Only what the record still gives to this node can be released.
		if r := l.claims[claim].Record; !w.take && (r.Holder != l.cfg.Node || r.Released) {
			delete(l.wishes, claim)
		}
	}
	own := l.nodes[l.cfg.Node].Version
	l.doubts = slices.DeleteFunc(l.doubts, func(f flight) bool { return own > f.ownIf })
	if l.stores+l.starts > 0 && now.Before(l.since.Add(l.cfg.Timing.Wait)) {
		return // what it says of this node may be old, and another's holding not known to it
	}
	for _, claim := range slices.Sorted(maps.Keys(l.claims)) {
		r := l.claims[claim].Record
		_, held := l.held[claim]
		_, wished := l.wishes[claim]
		if r.Holder == l.cfg.Node && !r.Released && !held && !l.used[claim] && !wished && !l.Unsettled(claim) {
			// A take that nobody waits for any more, or one by a former start of this daemon,
			// which cleaned up behind it: nobody holds this.
			if r.Incarnation != l.cfg.Incarnation && !l.cfg.Settled[claim] {
				l.from[claim] = "" // from whom that one took it nobody knows any more
			}
			l.wishes[claim] = wish{}
		}
	}
}

// Beat returns when the node's record was last seen to change; ok is false when the
// witness has shown no record of it.
func (l *Lease) Beat(node string) (at time.Time, ok bool) {
	n := l.nodes[node]
	return n.changed, n.Version != 0
}

// Alive reports whether the node has read an answer of the witness while this node looked
// on. One renewal does not show that: its reply may have been lost. But a node sends
// the next one that can succeed only when it knows of the one before.
func (l *Lease) Alive(node string) bool {
	n := l.nodes[node]
	return n.Version != 0 && n.before.After(l.since)
}

// Answered returns when the witness last answered, and the error of the last try if
// that failed.
func (l *Lease) Answered() (time.Time, error) { return l.answered, l.err }

// Timing returns the timing the lease runs by.
func (l *Lease) Timing() Timing { return l.cfg.Timing }
