package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// World is one run: hosts, a witness, the network between them, and time.
type World struct {
	Now   time.Duration // true time since the run began
	Rand  *rand.Rand
	Shape Shape
	Hosts []*Host
	Store *Store // the etcd of the witness's host
	Check *Checker
	// Trace makes the world keep a timeline. Nothing else depends on it.
	Trace bool
	// Detail is from when on the timeline has every event and action too; 0: never.
	Detail time.Duration

	voter  *voter // the mesh witness on the same host; nil: there is none
	net    network
	queue  queue
	order  int
	lines  []string
	atOnce int                        // events since time last passed
	tended bool                       // an operator is there, and does what the status says
	calms  int                        // numbers the calms
	noted  int                        // problems that the timeline has
	words  uint64                     // what the operator asked for: numbers the answers
	yields bool                       // the operator has handed a claim over: no node is preferred any more
	peak   []arbiter.Token            // by claim: the highest token of any holding
	minted []map[arbiter.Token]string // by claim: who was last given a token by the witness
}

// witnessName is the third host: etcd and mesh witness.
const witnessName = "w1"

// spinLimit is more events at one instant than any honest cluster has.
const spinLimit = 10_000

// NewWorld returns a world of the given shape, all hosts off.
func NewWorld(seed uint64, shape Shape) *World {
	w := &World{
		Rand: rand.New(rand.NewPCG(seed, 1)), Shape: shape, net: quiet(),
		Check: NewChecker(shape.permits()), peak: make([]arbiter.Token, len(shape.Claims)),
	}
	for range shape.Claims {
		w.minted = append(w.minted, map[arbiter.Token]string{})
	}
	w.Store = newStore(w)
	if shape.Voter {
		w.voter = newVoter(w)
	}
	for i := range shape.Nodes {
		w.Hosts = append(w.Hosts, newHost(w, i))
	}
	return w
}

// After runs fn when the time has passed.
func (w *World) After(wait time.Duration, fn func()) {
	w.order++
	w.queue.push(item{w.Now + max(wait, 0), w.order, fn})
}

// Run lets time pass, and stops at the first problem.
func (w *World) Run(length time.Duration) {
	end := w.Now + length
	for len(w.queue) > 0 && w.queue[0].at <= end && w.Check.Fine() {
		it := w.queue.pop()
		if it.at > w.Now {
			w.atOnce = 0
		}
		if w.atOnce++; w.atOnce > spinLimit {
			w.problem(NoSpin, "a host spins: %d events without time passing", spinLimit)
			return
		}
		w.Now = it.at
		it.fn()
	}
	if w.Check.Fine() {
		w.Now = end
	}
}

// RunUntil lets time pass until the condition holds; false when it does not within the limit.
func (w *World) RunUntil(limit time.Duration, holds func() bool) bool {
	for end := w.Now + limit; w.Now < end && w.Check.Fine(); {
		if holds() {
			return true
		}
		w.Run(10 * time.Millisecond)
	}
	return holds()
}

// Host returns the host of that name, or nil.
func (w *World) Host(name string) *Host {
	for _, h := range w.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Holders returns the hosts that answer for the claim.
func (w *World) Holders(claim int) []string {
	var names []string
	for _, h := range w.Hosts {
		if h.answers(claim) {
			names = append(names, h.Name)
		}
	}
	return names
}

// changed has the checker look at what can be seen of a claim. It is to be called
// whenever a host may have begun to answer or a guard may have begun to run: these
// end by themselves, at deadlines of the kernel, but they begin only by an effect.
func (w *World) changed(claim int) {
	var seen [maxMembers]Sighting
	for i, h := range w.Hosts {
		seen[i] = h.sighting(claim)
	}
	w.Check.See(w.Now, w.Shape.Claims[claim].Name, seen[:len(w.Hosts)])
	w.report()
}

// report notes what the checker has found.
func (w *World) report() {
	for _, p := range w.Check.Problems[w.noted:] {
		w.note("PROBLEM %s", p)
	}
	w.noted = len(w.Check.Problems)
}

func (w *World) problem(rule Rule, format string, args ...any) {
	w.Check.Problem(w.Now, rule, format, args...)
	w.report()
}

// maxLines bounds the timeline; the oldest lines go first.
const maxLines = 100_000

// note adds a line to the timeline.
func (w *World) note(format string, args ...any) {
	if !w.Trace {
		return
	}
	w.lines = append(w.lines, fmt.Sprintf("%8.3f %s", w.Now.Seconds(), fmt.Sprintf(format, args...)))
	if len(w.lines) > maxLines {
		w.lines = slices.Delete(w.lines, 0, maxLines/2)
	}
}

// Timeline returns the end of the timeline, for a failing test.
func (w *World) Timeline(lines int) string {
	return strings.Join(w.lines[max(0, len(w.lines)-lines):], "\n")
}

// spread returns a random time below the limit, more often a short one than a long one:
// faults matter at all scales.
func (w *World) spread(limit time.Duration) time.Duration {
	f := w.Rand.Float64()
	return time.Duration(f * f * f * float64(limit))
}

// chance is true once in n times.
func (w *World) chance(n int) bool { return w.Rand.IntN(n) == 0 }

// upTo returns a random time below the limit.
func (w *World) upTo(limit time.Duration) time.Duration {
	return time.Duration(w.Rand.Int64N(int64(limit)))
}

// between returns a random time in a range.
func (w *World) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.Rand.Int64N(int64(to-from)))
}

func (s Shape) permits() bool {
	return s.Mode == arbiter.ModeLease || s.Mode == arbiter.ModeQuorum
}

type item struct {
	at    time.Duration
	order int
	fn    func()
}

// queue is a heap of what is to happen, by time and then in the order it was asked for.
// container/heap would make garbage of each item.
type queue []item

func (q *queue) before(i, j int) bool {
	a, b := &(*q)[i], &(*q)[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.order < b.order
}

func (q *queue) push(it item) {
	*q = append(*q, it)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() item {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], item{}
	*q = h[:last]
	h = *q
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if q.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
