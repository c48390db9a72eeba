package sim

import (
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/node"
)

// membership is what package mesh knows in one process.
type membership struct {
	heard [maxMembers]time.Duration // when each host was last heard, by any path
	alive [maxMembers]bool
	news  [maxMembers]stamp // the newest report of each host
	floor uint64            // a peer remembers a later run of this host: count on from there
	seq   uint64            // of the last report sent
	asked asked
}

// stamp orders reports.
type stamp struct{ incarnation, seq uint64 }

func (s stamp) newer(o stamp) bool {
	return s.incarnation > o.incarnation || s.incarnation == o.incarnation && s.seq > o.seq
}

// asked are the requests that have come, each of which is delivered once, and their answers.
type asked map[askedKey]*heard

// heard is a request and the answer to it; nil: none was given.
type heard struct {
	kind   arbiter.RequestKind
	answer *arbiter.Answer
}

// askedKey is a request of a run of the daemon that asks: another run may use a number again.
type askedKey struct {
	from string
	run  int
	id   uint64
}

// maxAsked bounds how many requests are remembered; then all are forgotten, and a late
// copy is answered anew, which must do no harm.
const maxAsked = 1024

const (
	// memberTimeout is when the mesh takes a silent member for dead.
	memberTimeout = 800 * time.Millisecond
	// relayEvery is how long a relay can keep a report before it passes it on.
	relayEvery = 200 * time.Millisecond
	// relayShare is how many mesh messages there are for each that is also relayed although
	// it went directly, to save time: a relayed copy then says nothing new.
	relayShare = 16
)

// member is who takes mesh messages: a daemon or the voter.
type member interface {
	receive(kind traffic, fn func())
	relays() bool
}

func (w *World) at(i int) member {
	switch {
	case i < len(w.Hosts) && w.Hosts[i].daemon != nil:
		return w.Hosts[i].daemon
	case i == len(w.Hosts) && w.voter != nil:
		return w.voter
	}
	return nil
}

func (d *daemon) relays() bool { return d.runs() }

// carry brings a mesh message to a member, directly and through the others.
func (w *World) carry(from, to int, slow time.Duration, deliver func(m member, p arbiter.Path)) {
	arrive := func(after time.Duration, p arbiter.Path) {
		w.After(after, func() {
			if m := w.at(to); m != nil {
				m.receive(traffic(Mesh), func() { deliver(m, p) })
			}
		})
	}
	direct := w.passes(from, to, Mesh)
	if direct {
		arrive(w.latency(from, to, Mesh), arbiter.Path{})
		if w.net.twice > 0 && w.Rand.Float64() < w.net.twice {
			arrive(w.latency(from, to, Mesh)+w.upTo(relayEvery), arbiter.Path{})
		}
		if !w.chance(relayShare) {
			return
		}
	}
	for i := range len(w.Hosts) + 1 {
		if i == from || i == to {
			continue
		}
		m := w.at(i)
		if m == nil || !m.relays() || !w.passes(from, i, Mesh) || !w.passes(i, to, Mesh) {
			continue
		}
		wait := w.latency(from, i, Mesh) + w.latency(i, to, Mesh)
		if slow > 0 {
			wait += w.upTo(slow)
		}
		arrive(wait, arbiter.Path{Via: w.memberName(i)})
	}
}

// say sends what the node wants to tell others.
func (d *daemon) say(a node.Action) {
	h := d.host
	w := h.world
	switch a := a.(type) {
	case node.SendAdvert:
		for i, o := range w.Hosts {
			if o == h || !w.passes(h.number, i, VRRP) {
				continue
			}
			copies := 1
			if w.net.twice > 0 && w.Rand.Float64() < w.net.twice {
				copies++
			}
			for range copies {
				w.After(w.latency(h.number, i, VRRP), func() { o.advert(node.Advert{Instance: a.Instance, Packet: a.Packet, Source: h.addr}) })
			}
		}
	case node.Publish:
		d.publish(a.Report)
	case node.Question:
		d.ask(a.Request)
	case node.Reply:
		d.answer(a.Answer)
	default: // nothing is said
	}
}

func (h *Host) advert(a node.Advert) {
	if d := h.daemon; d != nil {
		d.receive(traffic(VRRP), func() { d.step(a) })
	}
}

// publish brings a report to the others, and has the checker hold it to the truth.
func (d *daemon) publish(r arbiter.Report) {
	h := d.host
	w := h.world
	for _, c := range r.Claims {
		if claim := w.Shape.claim(c.Claim); w.Shape.permits() && !h.exposed {
			w.Check.Denied(w.Now, c.Claim, h.sighting(claim), c.Holds, c.Guards)
		}
	}
	w.report()
	r.Incarnation = max(r.Incarnation, d.mesh.floor)
	d.mesh.seq++
	r.Seq = d.mesh.seq
	for i := range w.Hosts {
		if i == h.number {
			continue
		}
		yours := d.mesh.news[i]
		w.carry(h.number, i, relayEvery, func(m member, p arbiter.Path) { m.(*daemon).hear(h.number, r, yours, p) })
	}
}

// hear takes a report. Older news than known are dropped.
func (d *daemon) hear(from int, r arbiter.Report, yours stamp, p arbiter.Path) {
	h := d.host
	if own := (stamp{max(h.disk.incarnation, d.mesh.floor), d.mesh.seq}); p.Via == "" && yours.newer(own) {
		d.mesh.floor = yours.incarnation + 1
	}
	d.mesh.heard[from] = h.world.Now
	if !d.mesh.alive[from] && !r.Leaving {
		d.mesh.alive[from] = true
		d.step(node.PeerAlive{Name: r.Node, Alive: true})
	}
	if s := (stamp{r.Incarnation, r.Seq}); s.newer(d.mesh.news[from]) {
		d.mesh.news[from] = s
		r.Claims = slices.Clone(r.Claims)
		d.step(node.PeerReport{Report: r, Path: p})
	}
}

// missMembers is memberlist: a member that was not heard for a while is dead.
func (d *daemon) missMembers() {
	now := d.host.world.Now
	for i, o := range d.host.world.Hosts {
		if d.mesh.alive[i] && now-d.mesh.heard[i] > memberTimeout {
			d.mesh.alive[i] = false
			d.step(node.PeerAlive{Name: o.Name})
		}
	}
}

// ask sends a question. The answer counts only for this run of the daemon.
func (d *daemon) ask(r arbiter.Request) {
	h := d.host
	w := h.world
	if r.Kind == arbiter.RequestReleased && w.Shape.permits() {
		w.Check.Released(w.Now, r.Claim, h.sighting(w.Shape.claim(r.Claim)))
		w.report()
	}
	run := h.lives
	w.carry(h.number, w.member(r.To), 0, func(m member, _ arbiter.Path) {
		switch m := m.(type) {
		case *daemon:
			if m.mesh.asked.first(askedKey{r.From, run, r.ID}, r.Kind, m.send) {
				m.asks(r)
			}
		case *voter:
			m.asks(r, run)
		}
	})
}

// asks brings a request to the node. A holder that is asked for a handover may let go for
// that cause.
func (d *daemon) asks(r arbiter.Request) {
	claim := d.host.world.Shape.claim(r.Claim)
	if r.Kind == arbiter.RequestHandover && r.Priority > d.host.world.Shape.priority(claim, d.host.number) {
		d.handing[claim] = true
	}
	d.step(node.PeerAsked{Request: r})
	if d.holds[claim] {
		d.handing[claim] = false
	}
}

// first reports whether a request has not come before; if it has, its answer, if it was
// given, is sent again.
func (a *asked) first(key askedKey, kind arbiter.RequestKind, again func(arbiter.Answer)) bool {
	if *a == nil || len(*a) > maxAsked {
		*a = asked{}
	}
	was, known := (*a)[key]
	if !known {
		(*a)[key] = &heard{kind: kind}
		return true
	}
	if was.answer != nil {
		again(*was.answer)
	}
	return false
}

// answer keeps the answer for copies of the request that are still under way.
func (d *daemon) answer(a arbiter.Answer) {
	to := d.host.world.Host(a.To)
	if r := d.mesh.asked[askedKey{a.To, to.lives, a.ID}]; r != nil {
		r.answer = &a
		if a.Yes && r.kind == arbiter.RequestPromise && d.host.world.Shape.permits() {
			d.promises(a)
		}
	}
	d.send(a)
}

// send brings an answer back.
func (d *daemon) send(a arbiter.Answer) {
	if !a.Yes && a.Why != "" {
		d.host.world.note("%s refuses %s to %s: %s", d.host.Name, a.Claim, a.To, a.Why)
	}
	d.host.world.reply(d.host.number, a)
}

func (w *World) reply(from int, a arbiter.Answer) {
	to := w.member(a.To)
	life := w.Hosts[to].lives
	w.carry(from, to, 0, func(m member, p arbiter.Path) {
		if d := m.(*daemon); d.host.lives == life {
			d.step(node.PeerAnswered{Answer: a, Path: p})
		}
	})
}
