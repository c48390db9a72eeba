package witness

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// NodeRecord is what a node keeps at the witness about itself. Only its own node
// writes it, but for Taken.
type NodeRecord struct {
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"` // grows with each start of the daemon
	Beat        uint64 `json:"beat"`        // grows with each renewal
	HoldMS      int64  `json:"hold_ms"`     // how long this renewal lets the node serve
	LateMS      int64  `json:"late_ms"`     // and how late it can be in stopping
	Taken       uint64 `json:"taken"`       // grows when another node takes a claim from this one
}

// ClaimRecord is what is kept at the witness about a claim.
type ClaimRecord struct {
	Claim       string        `json:"claim"`
	Holder      string        `json:"holder"`                // who has it, or had it last
	Incarnation uint64        `json:"incarnation,omitempty"` // of the holder when it took it
	Token       arbiter.Token `json:"token"`
	Released    bool          `json:"released,omitempty"` // a tombstone: the holder has let go, all verified
	To          string        `json:"to,omitempty"`       // released in favour of this node; empty: of anyone
	// Unsettled, with Released: the claim was taken from a holder that had not released it, and its
	// guarded services may still be stopping.
	Unsettled bool `json:"unsettled,omitempty"`
}

// Versioned is a record with the revision that last changed it. Version 0 says that
// there is no such record; Record is then empty.
type Versioned[R any] struct {
	Version int64
	Record  R
}

// Observation is what one answer of the witness shows.
type Observation struct {
	ClusterID uint64 // of the etcd cluster: another one is another witness
	Revision  int64  // of the store when it answered
	// Term is etcd's raft term: it is another one after each start of the witness on the same
	// disk, and after each change of the leader. 0: this observation does not tell.
	Term   uint64
	Nodes  map[string]Versioned[NodeRecord]
	Claims map[string]Versioned[ClaimRecord]
	// Complete says that what is not listed does not exist.
	Complete bool
}

// Swap is one transaction: when every record of If still has the version given there,
// all of Nodes and Claims are written, else nothing. Whichever it is, the answer holds
// all records.
type Swap struct {
	IfNodes  map[string]int64
	IfClaims map[string]int64
	Nodes    []NodeRecord
	Claims   []ClaimRecord
}

// Outcome is the answer to a Swap.
type Outcome struct {
	Done bool // the conditions held and the records are written
	Observation
}

// Wait returns how long a candidate must see r unchanged: its writer's own word on
// how long it serves, and no less than the candidate's own wait.
func (r NodeRecord) Wait(own time.Duration) time.Duration {
	return max(own, WaitFor(time.Duration(r.HoldMS)*time.Millisecond, time.Duration(r.LateMS)*time.Millisecond))
}

// maxServe bounds each time that a record says of itself, so that a mangled one cannot
// lock a claim for years. The slowest VRRP, 100 adverts of 255 s, takes seven hours.
const maxServe = 24 * time.Hour

// Keys of the records below the cluster's prefix.
const (
	nodeKey  = "nodes/"
	claimKey = "claims/"
)

// Prefix returns the key prefix of a cluster's records.
func Prefix(cluster string) string { return "/solovip/" + cluster + "/" }

// NodeKey returns the key of a node's record below Prefix.
func NodeKey(node string) string { return nodeKey + node }

// ClaimKey returns the key of a claim's record below Prefix.
func ClaimKey(claim string) string { return claimKey + claim }

// Add puts the record with the given key (below Prefix) and value into the observation.
// Keys of neither kind are ignored: they may belong to a newer solovip. A value
// that does not parse is an error that names the key; what the observation holds stays.
func (o *Observation) Add(key string, value []byte, version int64) error {
	switch {
	case strings.HasPrefix(key, nodeKey):
		var r NodeRecord
		if err := decode(key, key[len(nodeKey):], value, &r, func() string { return r.Node }); err != nil {
			return err
		}
		if most := maxServe.Milliseconds(); r.HoldMS < 0 || r.HoldMS > most || r.LateMS < 0 || r.LateMS > most {
			return fmt.Errorf("record %s: hold_ms %d and late_ms %d must be between 0 and a day: delete the record once the node is stopped", key, r.HoldMS, r.LateMS)
		}
		if o.Nodes == nil {
			o.Nodes = map[string]Versioned[NodeRecord]{}
		}
		o.Nodes[r.Node] = Versioned[NodeRecord]{version, r}
	case strings.HasPrefix(key, claimKey):
		var r ClaimRecord
		if err := decode(key, key[len(claimKey):], value, &r, func() string { return r.Claim }); err != nil {
			return err
		}
		if o.Claims == nil {
			o.Claims = map[string]Versioned[ClaimRecord]{}
		}
		o.Claims[r.Claim] = Versioned[ClaimRecord]{version, r}
	}
	return nil
}

func decode(key, name string, value []byte, into any, named func() string) error {
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("record %s is not ours: %w: another program writes there, or use another cluster name", key, err)
	}
	if named() != name {
		return fmt.Errorf("record %s speaks of %q: copied by hand? delete it once all nodes are stopped", key, named())
	}
	return nil
}

// Encode returns the value that is stored for a NodeRecord or ClaimRecord.
func Encode(record any) []byte {
	b, err := json.Marshal(record)
	if err != nil {
		// The two record types hold nothing that JSON cannot say.
		panic("witness: encode record: " + err.Error())
	}
	return b
}
