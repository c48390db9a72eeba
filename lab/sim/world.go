package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// Kind is what travels on a link, so that it can be cut by itself.
type Kind uint8

// The kinds of traffic.
const (
	VRRP Kind = iota
	Mesh
	Etcd
	kinds
)

// World is one run: hosts, a witness, the network between them, and the clock.
type World struct {
	Now   time.Time
	Rand  *rand.Rand
	Hosts []*Host
	Store *Store
	Mode  arbiter.Mode

	// Delay is the longest time a message takes; each takes a random part of it.
	Delay time.Duration
	// Loss is the probability that an advert or a mesh message is lost.
	Loss float64

	queue    queue
	order    int
	cuts     map[cut]bool
	Trace    []string
	Problems []string
	atOnce   int // events since time last passed
}

// spinLimit is more events at one instant than any honest cluster has.
const spinLimit = 10_000

type cut struct {
	from, to string
	kind     Kind
}

// start is when every run begins: some time after boot, so that no instant is zero.
var start = time.Unix(1000, 0).UTC()

// witnessName is the third host: etcd and mesh witness.
const witnessName = "w1"

// NewWorld returns a world of nodes in the given mode, all off.
func NewWorld(seed uint64, mode arbiter.Mode, nodes int) *World {
	w := &World{
		Now: start, Rand: rand.New(rand.NewPCG(seed, 1)), Mode: mode, Store: newStore(),
		Delay: 2 * time.Millisecond, cuts: map[cut]bool{},
	}
	for i := range nodes {
		w.Hosts = append(w.Hosts, newHost(w, i))
	}
	return w
}

// After runs fn when the virtual time has passed.
func (w *World) After(wait time.Duration, fn func()) {
	w.order++
	heap.Push(&w.queue, item{w.Now.Add(wait), w.order, fn})
}

// Run lets virtual time pass, and stops at the first problem.
func (w *World) Run(length time.Duration) {
	end := w.Now.Add(length)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) && len(w.Problems) == 0 {
		it := heap.Pop(&w.queue).(item)
		if it.at.After(w.Now) {
			w.atOnce = 0
		}
		if w.atOnce++; w.atOnce > spinLimit {
			w.problem("a host spins: %d events without time passing", spinLimit)
			return
		}
		w.Now = it.at
		it.fn()
		w.check()
	}
	if len(w.Problems) == 0 {
		w.Now = end
	}
}

// RunUntil lets time pass until the condition holds; false when it does not within the limit.
func (w *World) RunUntil(limit time.Duration, holds func() bool) bool {
	for end := w.Now.Add(limit); w.Now.Before(end) && len(w.Problems) == 0; {
		if holds() {
			return true
		}
		w.Run(10 * time.Millisecond)
	}
	return holds()
}

// Cut stops traffic of the given kinds from one host to another; Heal lets all through again.
func (w *World) Cut(from, to string, ks ...Kind) {
	for _, k := range ks {
		w.cuts[cut{from, to, k}] = true
	}
}

// CutBoth cuts in both directions.
func (w *World) CutBoth(a, b string, ks ...Kind) {
	w.Cut(a, b, ks...)
	w.Cut(b, a, ks...)
}

// Heal lets everything through.
func (w *World) Heal() { clear(w.cuts) }

// All is every kind of traffic.
func All() []Kind { return []Kind{VRRP, Mesh, Etcd} }

// latency is how long the next message takes.
func (w *World) latency() time.Duration {
	return 50*time.Microsecond + time.Duration(w.Rand.Int64N(int64(w.Delay)))
}

// passes reports whether a message of the kind gets from one host to another.
func (w *World) passes(from, to string, k Kind) bool {
	if w.cuts[cut{from, to, k}] {
		return false
	}
	return k == Etcd || w.Loss == 0 || w.Rand.Float64() >= w.Loss
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

// Holders returns the hosts on which the claim's addresses are.
func (w *World) Holders() []string {
	var names []string
	for _, h := range w.Hosts {
		if h.On && h.address {
			names = append(names, h.Name)
		}
	}
	return names
}

// check looks at what must hold at every instant.
func (w *World) check() {
	if w.Mode != arbiter.ModeLease && w.Mode != arbiter.ModeQuorum {
		return
	}
	if holders := w.Holders(); len(holders) > 1 {
		w.problem("two holders: %v", holders)
	}
	var running []string
	for _, h := range w.Hosts {
		if h.On && h.guard {
			running = append(running, h.Name)
		}
	}
	if len(running) > 1 {
		w.problem("the guarded service runs on %v", running)
	}
}

func (w *World) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("PROBLEM %s", text)
	w.Problems = append(w.Problems, fmt.Sprintf("%8.3f s %s", w.Now.Sub(start).Seconds(), text))
}

// traceLimit bounds the trace; the oldest lines go first.
const traceLimit = 2000

func (w *World) note(format string, args ...any) {
	w.Trace = append(w.Trace, fmt.Sprintf("%8.3f %s", w.Now.Sub(start).Seconds(), fmt.Sprintf(format, args...)))
	if len(w.Trace) > traceLimit {
		w.Trace = slices.Delete(w.Trace, 0, traceLimit/2)
	}
}

// Timeline returns the end of the trace, for a failing test.
func (w *World) Timeline(lines int) string {
	return strings.Join(w.Trace[max(0, len(w.Trace)-lines):], "\n")
}

// config returns the node configuration of the host with the given place.
func (w *World) config(h *Host) node.Config {
	cfg := node.Config{
		Name: h.Name, Incarnation: h.incarnation, Mode: w.Mode, Witnesses: []string{witnessName},
		Timing: witness.Auto(time.Second, 3), Isolation: arbiter.IsolationClaim, ClearAfter: 30 * time.Second, Left: h.left,
		Claims: []node.ClaimConfig{{
			Name: "VI_1", Guarded: true, GuardLimit: guardLimit, Token: h.stored,
			Instances: []node.InstanceConfig{{Address: h.addr, VRRP: vrrp.Config{
				Name: "VI_1", VRID: 51, Version: vrrp.V3, Priority: h.Priority, AdvertInterval: time.Second,
				Preempt: true, Source: h.addr, Addresses: vips(), DownAdverts: 3,
				GARP: vrrp.GARP{Delay: 5 * time.Second, Repeat: 5},
			}}},
		}},
	}
	for _, o := range w.Hosts {
		if o != h {
			cfg.Peers = append(cfg.Peers, o.Name)
		}
	}
	return cfg
}

type item struct {
	at    time.Time
	order int
	fn    func()
}

// queue is a heap of what is to happen, by time and then in the order it was asked for.
type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	old := *q
	it := old[len(old)-1]
	*q = old[:len(old)-1]
	return it
}
