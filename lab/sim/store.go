package sim

import (
	"encoding/json"
	"maps"

	"github.com/solovip/solovip/witness"
)

// Store is an etcd as far as package witness can tell: versions, comparisons, one revision.
type Store struct {
	Up       bool
	id       uint64
	revision int64
	nodes    map[string]witness.Versioned[witness.NodeRecord]
	claims   map[string]witness.Versioned[witness.ClaimRecord]
}

func newStore() *Store {
	s := &Store{Up: true}
	s.Wipe()
	return s
}

// Wipe makes it a new and empty store, as when the witness's disk was replaced.
func (s *Store) Wipe() {
	s.id++
	s.revision = 1
	s.nodes = map[string]witness.Versioned[witness.NodeRecord]{}
	s.claims = map[string]witness.Versioned[witness.ClaimRecord]{}
}

// do carries out a swap.
func (s *Store) do(swap witness.Swap) witness.Outcome {
	done := true
	for name, version := range swap.IfNodes {
		done = done && s.nodes[name].Version == version
	}
	for name, version := range swap.IfClaims {
		done = done && s.claims[name].Version == version
	}
	if done && len(swap.Nodes)+len(swap.Claims) > 0 {
		s.revision++
		for _, r := range swap.Nodes {
			s.nodes[r.Node] = witness.Versioned[witness.NodeRecord]{Version: s.revision, Record: roundTrip(r)}
		}
		for _, r := range swap.Claims {
			s.claims[r.Claim] = witness.Versioned[witness.ClaimRecord]{Version: s.revision, Record: roundTrip(r)}
		}
	}
	return witness.Outcome{Done: done, Observation: s.observe()}
}

func (s *Store) observe() witness.Observation {
	return witness.Observation{
		ClusterID: s.id, Revision: s.revision, Complete: true,
		Nodes: maps.Clone(s.nodes), Claims: maps.Clone(s.claims),
	}
}

// roundTrip stores a record as etcd would: as text.
func roundTrip[R any](r R) R {
	var back R
	if err := json.Unmarshal(witness.Encode(r), &back); err != nil {
		panic("sim: a record does not survive its encoding: " + err.Error())
	}
	return back
}
