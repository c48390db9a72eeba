package witness_test

import (
	"container/heap"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

var (
	seeds = flag.Int("seeds", 800, "how many random stories to play")
	first = flag.Uint64("seed", 1, "the first seed")
)

// kind is what can happen to the store beside being reached or not.
type kind int

const (
	sound    kind = iota // nothing
	edited               // records are deleted by hand
	replaced             // it is emptied, or an older backup is put in its place
	kinds
)

// TestLeasesExclude plays random stories of three leases at one store: swaps and replies
// are lost, delayed and arrive when nobody waits for them, watches lag, hosts hang and
// restart, clocks run up to 1 % apart, the store is edited and replaced. Two hosts
// must never serve one claim at once, and tokens must grow.
func TestLeasesExclude(t *testing.T) {
	held, length := time.Duration(0), 30*time.Second
	for i := range *seeds {
		w := newWorld(*first+uint64(i), witness.Fast())
		w.run(length)
		held += w.held
		if w.problem != "" {
			t.Fatalf("seed %d, kind %d: %s\nreplay: go test ./witness -run TestLeasesExclude -seeds 1 -seed %d\n%s",
				w.seed, w.kind, w.problem, w.seed, strings.Join(w.trace[max(0, len(w.trace)-80):], "\n"))
		}
	}
	share := held.Seconds() / (length.Seconds() * float64(*seeds) * float64(len(claims)))
	t.Logf("%d stories of %v; claims were held for %.0f %% of the time", *seeds, length, 100*share)
	if *seeds >= 100 && share < 0.2 {
		t.Error("hardly anybody ever held a claim: the stories prove nothing")
	}
}

// TestLeasesNeedTheirTiming shows that the stories can fail: with hosts that are later
// than the timing says, two do serve at once.
func TestLeasesNeedTheirTiming(t *testing.T) {
	for seed := uint64(1); seed <= 300; seed++ {
		w := newWorld(seed, witness.Fast())
		w.late = 500 * time.Millisecond
		w.run(30 * time.Second)
		if w.problem != "" {
			return
		}
	}
	t.Error("no story finds out hosts that stop half a second late")
}

var claims = []string{"mail", "web"}

// world is one random run.
type world struct {
	seed    uint64
	kind    kind
	rand    *rand.Rand
	now     time.Duration // true time
	queue   queue
	order   int
	store   *store
	up      bool
	backups []*store
	touched map[string]time.Duration // by record: when it was last deleted or, of a claim, written
	hosts   []*host
	timing  witness.Timing
	late    time.Duration
	held    time.Duration
	trace   []string
	problem string
}

// host is a node with nothing but its lease. What it serves goes on while it hangs, until
// the permission ends and a little later: the kernel's part.
type host struct {
	w           *world
	name        string
	rate        float64
	offset      time.Time
	incarnation uint64
	life        int // what belongs to an earlier one is void
	up          bool
	lease       *witness.Lease
	known       arbiter.Token // the highest ever seen, on disk
	seen        int64         // the last revision that its watch delivered
	watched     uint64        // of this store
	wants       map[string]bool
	serving     map[string]service
	wake        time.Time
}

type service struct {
	token arbiter.Token
	end   time.Time     // by the host's clock, late stop included
	since time.Duration // true time
}

func newWorld(seed uint64, timing witness.Timing) *world {
	w := &world{
		seed: seed, kind: kind(seed % uint64(kinds)), rand: rand.New(rand.NewPCG(seed, 3)),
		store: newStore(100), up: true, touched: map[string]time.Duration{}, timing: timing, late: timing.Late,
	}
	for i := range 3 {
		h := &host{
			w: w, name: fmt.Sprintf("n%d", i+1), rate: 1 + w.rand.Float64()*0.01, incarnation: uint64(10 * (i + 1)),
			offset: time.Unix(1000, 0).UTC().Add(w.upTo(time.Hour)), serving: map[string]service{},
		}
		w.hosts = append(w.hosts, h)
		w.after(w.upTo(time.Second), h.start)
	}
	w.after(w.upTo(time.Second), w.fault)
	return w
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rand.Int64N(int64(d))) }

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rand.IntN(n) == 0 }

func (w *world) after(wait time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, item{w.now + wait, w.order, do})
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.4f ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) run(length time.Duration) {
	for len(w.queue) > 0 && w.problem == "" && w.queue[0].at <= length {
		it := heap.Pop(&w.queue).(item)
		w.now = it.at
		it.do()
		w.check()
	}
}

// check looks at what must hold at every instant.
func (w *world) check() {
	for _, claim := range claims {
		serving := ""
		for _, h := range w.hosts {
			if s, ok := h.serving[claim]; ok && h.clock().Before(s.end) {
				if serving != "" {
					w.problem = fmt.Sprintf("%s and %s serve %s", serving, h.name, claim)
				}
				serving = h.name
			}
		}
	}
	// A store that was replaced has forgotten tokens; package node asks its peers for theirs.
	if w.store.bad != "" && w.kind != replaced && w.problem == "" {
		w.problem = w.store.bad
	}
	if w.problem != "" {
		w.note("PROBLEM %s", w.problem)
	}
}

// fault does something to the store now and then.
func (w *world) fault() {
	s := w.store
	switch {
	case w.chance(4):
		w.up = !w.up
		w.note("store up: %t", w.up)
	case w.kind == edited && w.chance(2):
		name := claims[w.rand.IntN(len(claims))]
		if w.chance(2) {
			name = w.hosts[w.rand.IntN(len(w.hosts))].name
		}
		w.remove(name)
		w.tellWatchers()
	case w.kind == replaced && w.chance(3):
		w.backups = append(w.backups, s.backup(0))
	case w.kind == replaced && w.chance(2):
		next := newStore(0)
		if n := len(w.backups); n > 0 && w.chance(2) {
			next = w.backups[w.rand.IntN(n)].backup(0)
		}
		next.ClusterID = s.ClusterID + 1
		w.note("another store in its place, at revision %d", next.Revision)
		w.store = next
	}
	w.after(w.upTo(4*time.Second), w.fault)
}

// remove deletes a record by hand. A comparison with "no such record" cannot tell one
// absence from the next, so people are asked to stop all nodes before; here they at
// least look twice: they delete no claim that was just taken, and no record again at once.
func (w *world) remove(name string) {
	if at, ok := w.touched[name]; ok && w.now-at < 2*time.Second {
		return
	}
	w.note("the record of %s is deleted by hand", name)
	w.touched[name] = w.now
	if slices.Contains(claims, name) {
		w.store.removeClaim(name)
	} else {
		w.store.removeNode(name)
	}
}

func (w *world) tellWatchers() {
	for _, h := range w.hosts {
		h.watch(w.store)
	}
}

// latency is mostly short.
func (w *world) latency() time.Duration {
	if w.chance(30) {
		return w.upTo(400 * time.Millisecond)
	}
	return w.upTo(20 * time.Millisecond)
}

func (h *host) clock() time.Time { return h.offset.Add(time.Duration(float64(h.w.now) * h.rate)) }

// later runs do at an instant of the host's clock, unless it has restarted by then.
func (h *host) later(wait time.Duration, do func()) {
	life := h.life
	h.w.after(wait, func() {
		if h.life == life {
			do()
		}
	})
}

// start is the first start and each later one, which cleans up first.
func (h *host) start() {
	for _, claim := range claims {
		h.stop(claim, "cleaned up")
	}
	h.life++
	h.incarnation++
	h.up, h.seen, h.wake, h.wants = true, 0, time.Time{}, map[string]bool{}
	h.lease = witness.NewLease(witness.Config{Node: h.name, Incarnation: h.incarnation, Timing: h.w.timing})
	h.w.note("%s starts", h.name)
	h.act()
	h.mood()
}

// mood changes what the host wants, and whether it is well.
func (h *host) mood() {
	w := h.w
	switch claim := claims[w.rand.IntN(len(claims))]; {
	case w.chance(12): // frozen, or dead until it is started anew
		h.up = false
		wait := w.upTo(2 * time.Second)
		if w.chance(2) {
			w.note("%s freezes", h.name)
			h.later(wait, func() { h.up = true; h.act(); h.mood() })
		} else {
			w.note("%s dies", h.name)
			h.life++
			w.after(wait, h.start)
		}
		return
	case w.chance(3):
		h.wants[claim] = !h.wants[claim]
	case w.chance(4):
		if _, serves := h.serving[claim]; serves {
			h.stop(claim, "lets go")
			to := ""
			if w.chance(2) {
				to = w.hosts[w.rand.IntN(len(w.hosts))].name
			}
			h.lease.Release(claim, to)
			h.wants[claim] = w.chance(2)
		}
	case w.chance(4):
		h.lease.Drop(claim)
	}
	h.act()
	h.later(w.upTo(500*time.Millisecond), h.mood)
}

func (h *host) stop(claim, why string) {
	if s, ok := h.serving[claim]; ok {
		h.w.held += h.w.now - s.since
		h.w.note("%s stops %s: %s", h.name, claim, why)
		delete(h.serving, claim)
	}
}

// act does what the lease allows and wants now.
func (h *host) act() {
	if !h.up || h.lease == nil {
		return
	}
	now := h.clock()
	for _, claim := range claims {
		token, until, ok := h.lease.Permission(claim)
		permitted := ok && until.After(now)
		s, serves := h.serving[claim]
		h.known = max(h.known, h.lease.Standing(now, claim).Token)
		switch {
		case serves && !permitted:
			h.stop(claim, "no permission")
			if h.w.chance(2) {
				h.lease.Release(claim, "")
			}
		case serves:
			s.end = until.Add(h.w.late)
			h.serving[claim] = s
		case permitted && h.wants[claim]:
			h.w.note("%s serves %s with token %d until %v", h.name, claim, token, until.Sub(h.offset))
			h.known = max(h.known, token)
			h.lease.Use(claim)
			h.serving[claim] = service{token, until.Add(h.w.late), h.w.now}
		case permitted:
			h.lease.Release(claim, "")
		case h.wants[claim] && !ok:
			h.lease.Take(claim, h.known)
		}
	}
	if op, due := h.lease.Poll(now); due {
		h.send(op)
	}
	if at := h.lease.Deadline(now); !at.IsZero() && !at.Equal(h.wake) {
		h.wake = at
		h.later(max(time.Duration(float64(at.Sub(now))/h.rate)+1, 1), func() {
			if h.wake.Equal(at) {
				h.wake = time.Time{}
				h.act()
			}
		})
	}
}

var errLost = errors.New("no reply")

// send carries a swap to the store and its reply back; each way can fail by itself, and
// a swap may get there long after everyone has given it up.
func (h *host) send(op witness.Operation) {
	w := h.w
	h.later(op.Timeout, func() { h.reply(op, witness.Outcome{}, errLost, false) })
	if w.chance(40) {
		h.reply(op, witness.Outcome{}, errLost, true)
		return
	}
	there := w.latency()
	switch {
	case w.chance(15):
		return
	case w.chance(15):
		there = w.upTo(4 * time.Second)
	}
	id := w.store.ClusterID
	w.after(there, func() {
		if !w.up || w.store.ClusterID != id && w.chance(2) {
			return
		}
		out := w.store.do(op.Swap)
		if out.Done && len(op.Swap.Claims) > 0 {
			w.note("%s writes %+v", h.name, op.Swap.Claims)
			for _, r := range op.Swap.Claims {
				w.touched[r.Claim] = w.now
			}
		}
		w.tellWatchers()
		if !w.chance(15) {
			h.later(w.latency(), func() { h.reply(op, out, nil, false) })
		}
	})
}

func (h *host) reply(op witness.Operation, out witness.Outcome, err error, refused bool) {
	if !h.up {
		h.later(50*time.Millisecond, func() { h.reply(op, out, err, refused) }) // once it thaws
		return
	}
	h.lease.Done(h.clock(), op.ID, out, err, refused)
	h.vouch()
	h.act()
}

// vouch trusts another cluster when it is the one that all use from now on.
func (h *host) vouch() {
	if h.lease.Stranger() == h.w.store.ClusterID {
		h.lease.Trust(h.clock())
	}
}

// watch brings the host what has changed since it was told last, sometimes everything.
func (h *host) watch(s *store) {
	if h.w.chance(4) {
		return
	}
	if h.watched != s.ClusterID {
		h.seen, h.watched = 0, s.ClusterID
	}
	o := s.since(h.seen)
	h.later(h.w.latency(), func() {
		if h.up {
			if h.seen = max(h.seen, o.Revision); h.w.chance(10) || h.watched != o.ClusterID {
				h.seen = 0
			}
			h.lease.Observe(h.clock(), o)
			h.vouch()
			h.act()
		}
	})
}

type item struct {
	at    time.Duration
	order int
	do    func()
}

// queue is a heap of what is to happen.
type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	old := *q
	it := old[len(old)-1]
	*q = old[:len(old)-1]
	return it
}
