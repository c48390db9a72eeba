package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/witness"
)

// Host is a balancer: the node under test, and what the shell and the kernel would be.
type Host struct {
	Name     string
	Priority uint8
	On       bool // powered, with the daemon running

	world       *World
	node        *node.Node
	addr        netip.Addr
	incarnation uint64
	life        int           // which start this is: what belongs to an earlier one is void
	stored      arbiter.Token // survives a crash
	left        bool          // so does this: it left while the witness was silent
	address     bool          // the claim's addresses are on
	guard       bool          // the guarded service runs
	wake        time.Time     // the tick that is scheduled
	report      arbiter.Report
	heard       map[string]time.Time // when each member was last heard, by any path
	alive       map[string]bool
	stopped     bool
}

const (
	// guardLimit is the longest that the guarded service takes to stop.
	guardLimit = 2 * time.Second
	// memberTimeout is when the mesh takes a silent member for dead.
	memberTimeout = time.Second
)

func vips() []netip.Addr { return []netip.Addr{netip.MustParseAddr("10.0.0.100")} }

func newHost(w *World, i int) *Host {
	return &Host{
		Name: fmt.Sprintf("n%d", i+1), Priority: uint8(150 - 10*i), world: w,
		addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(11 + i)}),
	}
}

// Start powers the host on.
func (h *Host) Start() {
	if h.On {
		return
	}
	h.life++
	h.incarnation++
	h.On, h.stopped, h.wake = true, false, time.Time{}
	h.heard, h.alive = map[string]time.Time{}, map[string]bool{}
	n, err := node.New(h.world.config(h))
	if err != nil {
		panic("sim: " + err.Error())
	}
	h.node = n
	h.world.note("%s starts", h.Name)
	h.step(node.Start{})
	h.watchMembers(h.life)
}

// Crash is a power cut: nothing is said, everything stops.
func (h *Host) Crash() {
	if h.On {
		h.world.note("%s crashes", h.Name)
	}
	h.On, h.address, h.guard, h.node = false, false, false, nil
	h.life++
}

// Stop begins an orderly stop.
func (h *Host) Stop() {
	if h.On && !h.stopped {
		h.world.note("%s is stopped", h.Name)
		h.step(node.Stop{})
	}
}

// Holds reports whether the claim's addresses are on this host.
func (h *Host) Holds() bool { return h.On && h.address }

// step drives the node and carries out what it wants.
func (h *Host) step(ev node.Event) {
	queue := []node.Event{ev}
	for len(queue) > 0 && h.node != nil {
		ev, queue = queue[0], queue[1:]
		for _, a := range h.node.Step(h.world.Now, ev) {
			if result := h.do(a); result != nil {
				queue = append(queue, result)
			}
		}
	}
	if h.node != nil {
		h.schedule(h.node.Deadline(h.world.Now))
	}
}

// schedule makes the next tick happen at the deadline.
func (h *Host) schedule(at time.Time) {
	if at.IsZero() || at.Equal(h.wake) {
		return
	}
	h.wake = at
	h.later(max(at.Sub(h.world.Now), 0), func() {
		if h.wake.Equal(at) {
			h.wake = time.Time{}
			h.step(node.Tick{})
		}
	})
}

// later runs fn unless the host has crashed or started anew by then.
func (h *Host) later(wait time.Duration, fn func()) {
	life := h.life
	h.world.After(wait, func() {
		if h.life == life && h.On {
			fn()
		}
	})
}

// do is the shell: one action, and its result if that is there at once.
func (h *Host) do(a node.Action) node.Event {
	w := h.world
	switch a := a.(type) {
	case node.SendAdvert:
		for _, o := range w.Hosts {
			if o != h && w.passes(h.Name, o.Name, VRRP) {
				o.later(w.latency(), func() { o.step(node.Advert{Instance: a.Instance, Packet: a.Packet, Source: h.addr}) })
			}
		}
	case node.StoreToken:
		if a.Token < h.stored {
			w.problem("%s stores token %d after %d", h.Name, a.Token, h.stored)
		}
		h.later(w.latency(), func() {
			h.stored = a.Token
			h.step(node.TokenStored{Claim: a.Claim, Token: a.Token})
		})
	case node.StoreLeft:
		h.later(w.latency(), func() {
			h.left = a.Left
			h.step(node.LeftStored{})
		})
	case node.AddAddresses:
		h.address = true
		return node.AddressesDone{Claim: a.Claim, On: true}
	case node.RemoveAddresses:
		h.address = false
		return node.AddressesDone{Claim: a.Claim}
	case node.StartGuards:
		h.guard = true
		h.later(w.latency(), func() { h.step(node.GuardsDone{Claim: a.Claim, Always: a.Always, On: true}) })
	case node.StopGuards:
		h.stopGuards(a)
	case node.Publish:
		h.report = a.Report
		h.gossip()
	case node.Question:
		h.carry(a.Request.To, func(to *Host, p arbiter.Path) { to.step(node.PeerAsked{Request: a.Request}) })
	case node.Reply:
		h.carry(a.Answer.To, func(to *Host, p arbiter.Path) { to.step(node.PeerAnswered{Answer: a.Answer, Path: p}) })
	case node.AskWitness:
		h.askWitness(a.Operation)
	case node.Tell:
		w.note("%s %s: %s (%s)", h.Name, a.Claim, a.Text, a.Why)
	case node.Stopped:
		h.stopped = true
		h.later(0, func() { h.Crash() })
	case node.Begin, node.End, node.ArmGate, node.ShutGate, node.Announce, node.Notify:
	}
	return nil
}

// stopGuards takes up to the whole limit, killing included.
func (h *Host) stopGuards(a node.StopGuards) {
	took := time.Duration(h.world.Rand.Int64N(int64(guardLimit)))
	if a.Kill {
		took /= 10
	}
	h.later(took, func() {
		h.guard = false
		h.step(node.GuardsDone{Claim: a.Claim, Always: a.Always})
	})
}

// gossip brings this host's report to the others, directly and through whoever hears both.
func (h *Host) gossip() {
	r := h.report
	for _, o := range h.world.Hosts {
		if o != h {
			h.carry(o.Name, func(to *Host, p arbiter.Path) {
				to.hear(h.Name)
				to.step(node.PeerReport{Report: r, Path: p})
			})
		}
	}
}

// carry brings a mesh message to a host directly, and through the witness.
func (h *Host) carry(name string, deliver func(*Host, arbiter.Path)) {
	w := h.world
	to := w.Host(name)
	if to == nil {
		return // the mesh witness itself: it holds nothing
	}
	if w.passes(h.Name, name, Mesh) {
		to.later(w.latency(), func() { deliver(to, arbiter.Path{}) })
	}
	if w.passes(h.Name, witnessName, Mesh) && w.passes(witnessName, name, Mesh) {
		to.later(w.latency()+w.latency(), func() { deliver(to, arbiter.Path{Via: witnessName}) })
	}
}

func (h *Host) hear(name string) {
	h.heard[name] = h.world.Now
	if !h.alive[name] {
		h.alive[name] = true
		h.step(node.PeerAlive{Name: name, Alive: true})
	}
}

// watchMembers is memberlist: a member that was not heard for a while is dead.
func (h *Host) watchMembers(life int) {
	if h.life != life {
		return
	}
	for _, o := range h.world.Hosts {
		if h.alive[o.Name] && h.world.Now.Sub(h.heard[o.Name]) > memberTimeout {
			h.alive[o.Name] = false
			h.step(node.PeerAlive{Name: o.Name})
		}
	}
	h.later(100*time.Millisecond, func() { h.watchMembers(life) })
}

var errLost = errors.New("no reply from the witness")

// askWitness carries a swap there and its outcome back; each way can fail by itself.
func (h *Host) askWitness(op witness.Operation) {
	w := h.world
	timedOut := false
	h.later(op.Timeout, func() {
		if !timedOut {
			timedOut = true
			h.step(node.WitnessDone{ID: op.ID, Err: errors.Join(errLost, context.DeadlineExceeded)})
		}
	})
	if !w.Store.Up || !w.passes(h.Name, witnessName, Etcd) {
		return
	}
	// On the way it may be held up for longer than anyone waits for the reply.
	there := w.latency()
	if w.Rand.IntN(50) == 0 {
		there += time.Duration(w.Rand.Int64N(int64(3 * time.Second)))
	}
	w.After(there, func() {
		if !w.Store.Up {
			return
		}
		out := w.Store.do(op.Swap)
		w.tellWatchers()
		if w.passes(witnessName, h.Name, Etcd) {
			h.later(w.latency(), func() {
				if !timedOut {
					timedOut = true
					h.step(node.WitnessDone{ID: op.ID, Outcome: out})
				}
			})
		}
	})
}

// tellWatchers brings the store's state to all who watch it.
func (w *World) tellWatchers() {
	if w.Mode != arbiter.ModeLease {
		return
	}
	o := w.Store.observe()
	for _, h := range w.Hosts {
		if h.On && w.passes(witnessName, h.Name, Etcd) {
			h.later(w.latency(), func() { h.step(node.WitnessSeen{Observation: o}) })
		}
	}
}
