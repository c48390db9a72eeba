package node

import (
	"maps"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// What a former start of this daemon held when it died, nobody has released. The shell has
// cleaned up behind it: it knows that one to be dead, and has verified that nothing of its
// claims is left on this node. So they are released now: VRRP says priority 0, the lease
// turns the records of former starts into tombstones, and the peers, who have promised
// the claims to this node, are told until they have heard it. Messages of the one that
// died change nothing then: the requests are younger than its own.

// Former is a claim that a former start of this daemon held when it died.
type Former struct {
	Token arbiter.Token
	// Settled: its guarded services were to be started, so no other node's could run any more.
	Settled bool
}

// settled returns the claims whose guarded services could run nowhere else.
func (cfg Config) settled() map[string]bool {
	all := map[string]bool{}
	for claim, f := range cfg.Former {
		all[claim] = f.Settled
	}
	return all
}

// former is what of that is still to be told.
type former struct {
	owed  map[string]*debt // by claim
	next  time.Time
	until time.Time
}

// debt is a claim that some peers do not know to be released.
type debt struct {
	id    uint64 // of the requests: the same each time, so that each counts once
	peers []string
}

const (
	// formerEvery is how often a peer that does not answer is told again.
	formerEvery = 50 * time.Millisecond
	// formerFor is for how long: then promises have run out, or will soon.
	formerFor = 3 * time.Second
)

// beginFormer notes whom to tell what.
func (n *Node) beginFormer(now time.Time) {
	n.former = former{owed: map[string]*debt{}, next: now, until: now.Add(formerFor)}
	for _, c := range n.inOrder() {
		if _, held := n.cfg.Former[c.cfg.Name]; held {
			n.former.owed[c.cfg.Name] = &debt{id: n.newRequest(), peers: slices.Concat(n.cfg.Peers, n.cfg.Witnesses)}
		}
	}
}

// settleFormer tells those who have not answered.
func (n *Node) settleFormer(now time.Time) {
	f := &n.former
	if len(f.owed) == 0 || now.Before(f.next) {
		return
	}
	f.next = now.Add(formerEvery)
	for _, claim := range slices.Sorted(maps.Keys(f.owed)) {
		if c := n.claims[claim]; c == nil || c.phase != Idle || !now.Before(f.until) {
			delete(f.owed, claim) // taken anew, or given up
			continue
		}
		for _, name := range f.owed[claim].peers {
			held := n.cfg.Former[claim]
			n.question(arbiter.Request{
				ID: f.owed[claim].id, Kind: arbiter.RequestReleased, To: name, Claim: claim, Token: held.Token, Unsettled: !held.Settled,
			})
		}
	}
}

// answered notes who has heard it.
func (f *former) answered(a arbiter.Answer) {
	d := f.owed[a.Claim]
	if d == nil || d.id != a.ID {
		return
	}
	d.peers = slices.DeleteFunc(d.peers, func(name string) bool { return name == a.From })
	if len(d.peers) == 0 {
		delete(f.owed, a.Claim)
	}
}

// due returns when somebody is told again; zero: nobody is.
func (f *former) due() time.Time {
	if len(f.owed) == 0 {
		return time.Time{}
	}
	return f.next
}
