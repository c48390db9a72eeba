package sim

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/witness"
)

// Store is an etcd as far as package witness can tell: versions, comparisons, one
// revision, and streams that tell of changes.
type Store struct {
	Up       bool
	ReadOnly bool          // full: it answers, and refuses to write
	Slow     time.Duration // the longest time a swap waits there, and its reply again
	Loses    float64       // how likely a reply is lost

	world *World
	run   int // which start of it this is: connections do not outlive it, nor what is on them
	data  records
	view  *witness.Observation // of data; nil: not made yet
}

type records struct {
	id       uint64
	term     uint64 // counts the starts of an etcd, but not across its disks
	revision int64
	nodes    map[string]witness.Versioned[witness.NodeRecord]
	claims   map[string]witness.Versioned[witness.ClaimRecord]
}

// firstTerm is that of an etcd with an empty disk, whatever was there before.
const firstTerm = 2

func newStore(w *World) *Store {
	return &Store{Up: true, world: w, data: emptyDisk(1)}
}

// emptyDisk is what an etcd of the id begins with.
func emptyDisk(id uint64) records {
	return records{
		id: id, term: firstTerm, revision: 1,
		nodes: map[string]witness.Versioned[witness.NodeRecord]{}, claims: map[string]witness.Versioned[witness.ClaimRecord]{},
	}
}

// Switch starts or stops it; its data stay.
func (s *Store) Switch(up bool) {
	s.world.note("the witness is up: %t", up)
	switch {
	case s.Up && !up:
		s.hangUp()
	case up && !s.Up:
		s.data.term++
		s.view = nil
	}
	s.Up = up
	s.world.look()
}

// Wipe makes it a new and empty store, as when the witness's disk was replaced.
func (s *Store) Wipe() {
	s.world.note("the witness is wiped")
	// An etcd that is set up as before has the same id, another one has not.
	s.put(emptyDisk(s.data.id + uint64(s.world.Rand.IntN(2))))
}

// Backup returns what is there now.
func (s *Store) Backup() func() {
	old, made := s.data, s.world.Now // its maps are never written to
	return func() {
		s.world.note("the witness is restored from a backup, revision %d -> %d", s.data.revision, old.revision)
		old.term++ // its data were copied back
		if s.world.chance(2) {
			old.term = firstTerm // or they were a snapshot
		}
		if s.world.Now-made <= s.world.Shape.Timing.Wait && old.term == s.data.term {
			old.term++ // nobody makes a backup, stops etcd and puts it back as soon as that
		}
		s.put(old)
	}
}

func (s *Store) put(r records) {
	for name, had := range s.data.claims {
		if had.Record.Token > r.claims[name].Record.Token {
			s.world.Check.Unrecorded(name, had.Record.Token)
		}
	}
	s.data, s.view = r, nil
	s.world.Check.Forgot()
	s.hangUp()
	s.world.distrust()
}

// hangUp ends all connections: what is under way on them does not arrive any more.
func (s *Store) hangUp() {
	s.run++
	s.view = nil
	for _, h := range s.world.Hosts {
		if h.daemon != nil {
			h.daemon.breakWatch()
		}
	}
}

// do carries out a swap.
func (s *Store) do(swap witness.Swap) witness.Outcome {
	done := true
	for name, version := range swap.IfNodes {
		done = done && s.data.nodes[name].Version == version
	}
	for name, version := range swap.IfClaims {
		done = done && s.data.claims[name].Version == version
	}
	if done && len(swap.Nodes)+len(swap.Claims) > 0 {
		s.write(swap)
	}
	return witness.Outcome{Done: done, Observation: s.observe()}
}

func (s *Store) write(swap witness.Swap) {
	s.view = nil
	s.data.revision++
	news := witness.Observation{ClusterID: s.data.id, Revision: s.data.revision}
	if len(swap.Nodes) > 0 {
		s.data.nodes = maps.Clone(s.data.nodes) // whoever has seen them before keeps them
		news.Nodes = make(map[string]witness.Versioned[witness.NodeRecord], len(swap.Nodes))
	}
	if len(swap.Claims) > 0 {
		s.data.claims = maps.Clone(s.data.claims)
		news.Claims = make(map[string]witness.Versioned[witness.ClaimRecord], len(swap.Claims))
	}
	for _, r := range swap.Nodes {
		v := witness.Versioned[witness.NodeRecord]{Version: s.data.revision, Record: r}
		s.data.nodes[r.Node], news.Nodes[r.Node] = v, v
	}
	for _, r := range swap.Claims {
		v := witness.Versioned[witness.ClaimRecord]{Version: s.data.revision, Record: r}
		s.data.claims[r.Claim], news.Claims[r.Claim] = v, v
		s.written(r)
	}
	for _, h := range s.world.Hosts {
		if h.daemon != nil {
			h.daemon.watched(news)
		}
	}
}

// written has the checker judge a tombstone: whoever reads it may take the claim at once.
func (s *Store) written(r witness.ClaimRecord) {
	w := s.world
	w.minted[w.Shape.claim(r.Claim)][r.Token] = r.Holder
	w.note("the witness has %s: holder %s, token %d, released %t %s", r.Claim, r.Holder, r.Token, r.Released, r.To)
	h := w.Host(r.Holder)
	if r.Released && h != nil && (h.daemon == nil || r.Token >= h.daemon.token[w.Shape.claim(r.Claim)]) {
		// One of a former holding frees nobody else: while this one lasts by promises, all
		// others are bound by them.
		w.Check.Released(w.Now, r.Claim, h.sighting(w.Shape.claim(r.Claim)))
		w.report()
	}
}

// observe returns all there is; nobody changes it.
func (s *Store) observe() witness.Observation {
	if s.view == nil {
		s.view = &witness.Observation{
			ClusterID: s.data.id, Revision: s.data.revision, Term: s.data.term, Complete: true,
			Nodes: s.data.nodes, Claims: s.data.claims,
		}
	}
	return *s.view
}

var (
	errLost     = errors.Join(errors.New("no reply from the witness"), context.DeadlineExceeded)
	errRefused  = errors.New("connection refused")
	errReadOnly = errors.New("etcdserver: mvcc: database space exceeded")
)

// longDelay is how long a swap can be under way: longer than anyone waits for its reply.
const longDelay = 4 * time.Second

// askWitness carries a swap there and its outcome back; each way can fail by itself.
func (d *daemon) askWitness(op witness.Operation) {
	w, i, etcd := d.host.world, d.host.number, len(d.host.world.Hosts)
	answered := false
	reply := func(ev node.WitnessDone) {
		if !answered {
			answered = true
			d.step(ev)
		}
	}
	d.after(op.Timeout, func() { reply(node.WitnessDone{ID: op.ID, Err: errLost}) })
	there := w.latency(i, etcd, Etcd)
	switch {
	case !w.Store.Up || !w.passes(i, etcd, Etcd) || !w.passes(etcd, i, Etcd):
		switch w.Rand.IntN(3) {
		case 0: // not even sent: the client knows
			d.after(there, func() { reply(node.WitnessDone{ID: op.ID, Err: errRefused, Refused: true}) })
			return
		case 1:
			return
		}
		there = w.upTo(longDelay) // on its way when the link broke; it may still get there
	case w.chance(64) && w.Now >= d.smooth:
		there = w.upTo(longDelay)
		d.smooth = w.Now + 2*w.Shape.Timing.Hold
	case w.Store.Slow > 0:
		there += w.upTo(w.Store.Slow)
	}
	d.sent(op)
	run := w.Store.run
	w.After(there, func() {
		if w.Store.Up && w.Store.run == run && w.passes(i, etcd, Etcd) {
			d.arrives(op, reply)
		} else {
			d.failed(op)
			if w.Store.run != run {
				d.receive(traffic(Etcd), func() { reply(node.WitnessDone{ID: op.ID, Err: errLost}) })
			}
		}
	})
}

// arrives carries out a swap that has come to the witness.
func (d *daemon) arrives(op witness.Operation, reply func(node.WitnessDone)) {
	w, i, etcd := d.host.world, d.host.number, len(d.host.world.Hosts)
	ev := node.WitnessDone{ID: op.ID}
	if w.Store.ReadOnly && len(op.Swap.Nodes)+len(op.Swap.Claims) > 0 {
		ev.Err, ev.Refused = errReadOnly, true
		d.failed(op)
	} else {
		ev.Outcome = w.Store.do(op.Swap)
		d.landed(op, ev.Outcome)
	}
	back := w.latency(etcd, i, Etcd)
	if w.Store.Slow > 0 {
		back += w.upTo(w.Store.Slow)
	}
	if !w.passes(etcd, i, Etcd) || w.Store.Loses > 0 && w.Rand.Float64() < w.Store.Loses {
		return
	}
	run := w.Store.run
	w.After(back, func() {
		if w.Store.run != run { // the connection was reset, and the client sees that
			ev = node.WitnessDone{ID: op.ID, Err: errLost}
		}
		d.receive(traffic(Etcd), func() { reply(ev) })
	})
	if w.chance(64) { // once more, and late
		w.After(back+w.upTo(longDelay), func() { d.receive(traffic(Etcd), func() { d.step(ev) }) })
	}
}

// watch is the stream by which a daemon learns of changes.
type watch struct {
	on   bool
	life int           // numbers the streams
	last time.Duration // when the last change arrives: a stream keeps its order
}

// watchPause is the pause between two attempts to watch.
const watchPause = 250 * time.Millisecond

// resync begins a stream with a complete reading, as soon as that succeeds.
func (d *daemon) resync() {
	if d.watch.on || d.host.daemon != d {
		return
	}
	w, i, etcd := d.host.world, d.host.number, len(d.host.world.Hosts)
	if d.runs() && w.Store.Up && w.reachable(i) {
		d.watch = watch{on: true, life: d.watch.life + 1, last: w.Now}
		d.stream(w.Store.observe(), w.latency(i, etcd, Etcd))
		return
	}
	d.host.after(watchPause, d.resync)
}

// reachable reports whether a stream between the host and the witness lives.
func (w *World) reachable(i int) bool {
	return w.passes(i, len(w.Hosts), Etcd) && w.passes(len(w.Hosts), i, Etcd)
}

// watched tells of a change, or breaks the stream if that cannot be.
func (d *daemon) watched(news witness.Observation) {
	switch {
	case !d.watch.on:
	case !d.host.world.reachable(d.host.number):
		d.breakWatch()
	default:
		d.stream(news, 0)
	}
}

func (d *daemon) stream(o witness.Observation, wait time.Duration) {
	w, life := d.host.world, d.watch.life
	wait += w.latency(len(w.Hosts), d.host.number, Etcd)
	if w.Store.Slow > 0 {
		wait += w.upTo(w.Store.Slow)
	}
	d.watch.last = max(d.watch.last, w.Now+wait)
	w.After(d.watch.last-w.Now, func() {
		d.receive(traffic(Etcd), func() {
			if d.watch.life == life {
				d.step(node.WitnessSeen{Observation: o})
			}
		})
	})
}

func (d *daemon) breakWatch() {
	if d.watch.on {
		d.watch.on = false
		d.host.after(watchPause, d.resync)
	}
}
