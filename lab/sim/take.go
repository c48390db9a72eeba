package sim

import (
	"slices"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// take is a swap by which a daemon takes claims at the witness, as somebody sees it who sees
// everything: the daemon itself may not know whether it has happened.
type take struct {
	op     uint64
	run    int   // of the store, when it left
	ownIf  int64 // the version of the daemon's own record that it compares
	landed int64 // the version that it has given that record; 0: it has not happened
	claims []string
}

// sent notes a swap that is on its way and takes something.
func (d *daemon) sent(op witness.Operation) {
	t := take{op: op.ID, run: d.host.world.Store.run, ownIf: op.Swap.IfNodes[d.host.Name]}
	for _, r := range op.Swap.Claims {
		if r.Holder == d.host.Name && !r.Released {
			t.claims = append(t.claims, r.Claim)
		}
	}
	if len(t.claims) > 0 {
		d.takes = slices.DeleteFunc(d.takes, func(t take) bool { return !d.underway(t) })
		d.takes = append(d.takes, t)
	}
}

// landed notes that a swap has come to the witness, and what it has done there.
func (d *daemon) landed(op witness.Operation, out witness.Outcome) {
	if !out.Done {
		d.failed(op)
	}
	for i := range d.takes {
		if t := &d.takes[i]; t.op == op.ID {
			t.landed = out.Nodes[d.host.Name].Version
		}
	}
}

// failed notes that a swap will never come to the witness, or was refused there.
func (d *daemon) failed(op witness.Operation) {
	d.takes = slices.DeleteFunc(d.takes, func(t take) bool { return t.op == op.ID })
}

// underway reports whether a take may still happen, or has, and the daemon does not know.
func (d *daemon) underway(t take) bool {
	s := d.host.world.Store
	switch {
	case t.run != s.run:
		return false // it went with its connection
	case t.landed != 0:
		return d.version < t.landed
	}
	return s.data.nodes[d.host.Name].Version == t.ownIf && d.version <= t.ownIf
}

// promises has the checker judge a promise that the daemon gives.
func (d *daemon) promises(a arbiter.Answer) {
	w := d.host.world
	for _, t := range d.takes {
		if slices.Contains(t.claims, a.Claim) && d.underway(t) {
			w.Check.Promised(w.Now, a.Claim, d.host.Name, a.To, true)
			w.report()
			return
		}
	}
	w.Check.Promised(w.Now, a.Claim, d.host.Name, a.To, false)
}

// sees notes the version of the daemon's own record, as an answer or the watch shows it.
func (d *daemon) sees(o witness.Observation) {
	d.version = max(d.version, o.Nodes[d.host.Name].Version)
	if known := d.host.disk.witness; o.ClusterID != 0 {
		d.strange = known != 0 && known != o.ClusterID
	}
}
