package witness_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// store is what a Lease can know of an etcd: records with the revision that last changed
// them, comparisons, transactions. What is written goes through its text.
type store struct {
	witness.Observation        // all records; of removed ones the revision at which they went
	bad                 string // the first rule of records that a write broke
}

func newStore(id uint64) *store {
	return &store{Observation: witness.Observation{
		ClusterID: id, Revision: 1, Term: 2,
		Nodes: map[string]witness.Versioned[witness.NodeRecord]{}, Claims: map[string]witness.Versioned[witness.ClaimRecord]{},
	}}
}

// version is what a comparison sees: 0 when there is no such record.
func version[R comparable](v witness.Versioned[R]) int64 {
	if v.Record == *new(R) {
		return 0
	}
	return v.Version
}

// do carries out a swap.
func (s *store) do(swap witness.Swap) witness.Outcome {
	done := true
	for name, want := range swap.IfNodes {
		done = done && version(s.Nodes[name]) == want
	}
	for name, want := range swap.IfClaims {
		done = done && version(s.Claims[name]) == want
	}
	if done && len(swap.Nodes)+len(swap.Claims) > 0 {
		s.Revision++
		for _, r := range swap.Nodes {
			s.write(witness.NodeKey(r.Node), r)
		}
		for _, r := range swap.Claims {
			if old := s.claim(r.Claim); r.Token < old.Token || r.Token == old.Token && r.Holder != old.Holder {
				s.bad = fmt.Sprintf("a token did not grow: %+v became %+v", old, r)
			}
			s.write(witness.ClaimKey(r.Claim), r)
		}
	}
	return witness.Outcome{Done: done, Observation: s.observe()}
}

func (s *store) write(key string, record any) {
	if err := s.Add(key, witness.Encode(record), s.Revision); err != nil {
		panic(err)
	}
}

// observe returns everything.
func (s *store) observe() witness.Observation { return s.since(0) }

// since returns what changed after a revision, as a watch does; 0: all that there is.
func (s *store) since(revision int64) witness.Observation {
	o := witness.Observation{
		ClusterID: s.ClusterID, Revision: s.Revision, Term: s.Term, Complete: revision == 0,
		Nodes: map[string]witness.Versioned[witness.NodeRecord]{}, Claims: map[string]witness.Versioned[witness.ClaimRecord]{},
	}
	for name, v := range s.Nodes {
		if v.Version > revision && (version(v) != 0 || !o.Complete) {
			o.Nodes[name] = witness.Versioned[witness.NodeRecord]{Version: version(v), Record: v.Record}
		}
	}
	for name, v := range s.Claims {
		if v.Version > revision && (version(v) != 0 || !o.Complete) {
			o.Claims[name] = witness.Versioned[witness.ClaimRecord]{Version: version(v), Record: v.Record}
		}
	}
	return o
}

func (s *store) node(name string) witness.NodeRecord { return s.Nodes[name].Record }

func (s *store) claim(name string) witness.ClaimRecord { return s.Claims[name].Record }

// removeNode deletes a record, as an operator would by hand.
func (s *store) removeNode(name string) {
	s.Revision++
	s.Nodes[name] = witness.Versioned[witness.NodeRecord]{Version: s.Revision}
}

// removeClaim deletes a record, as an operator would by hand.
func (s *store) removeClaim(name string) {
	s.Revision++
	s.Claims[name] = witness.Versioned[witness.ClaimRecord]{Version: s.Revision}
}

// backup returns a copy, to be run later as another store with the given id.
func (s *store) backup(id uint64) *store {
	copied := *s
	copied.ClusterID, copied.Nodes, copied.Claims = id, maps.Clone(s.Nodes), maps.Clone(s.Claims)
	return &copied
}

func TestStoreOfTheseTests(t *testing.T) {
	s := newStore(9)
	first := s.do(witness.Swap{
		IfNodes: map[string]int64{"a": 0}, Nodes: []witness.NodeRecord{{Node: "a"}},
		IfClaims: map[string]int64{"web": 0}, Claims: []witness.ClaimRecord{{Claim: "web", Holder: "a", Token: 1}},
	})
	if !first.Done || first.Nodes["a"].Version != 2 || first.Claims["web"].Record.Token != arbiter.Token(1) {
		t.Errorf("first swap: %+v", first)
	}
	if again := s.do(witness.Swap{IfNodes: map[string]int64{"a": 0}, Nodes: []witness.NodeRecord{{Node: "a", Beat: 5}}}); again.Done || again.Nodes["a"].Record.Beat != 0 {
		t.Errorf("a swap on an old version: %+v", again)
	}
}
