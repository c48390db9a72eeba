package sim

import (
	"errors"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/node"
)

// probeFor is how long ARP probes take.
const probeFor = 300 * time.Millisecond

var (
	errStore   = errors.New("no space left on device")
	errKernel  = errors.New("netlink: no buffer space available")
	errNoAgent = errors.New("no agent is simulated")
	errLate    = errors.New("the permission ended before the addresses were on: this process was stalled")
)

// do is the executor of package node/daemon: one action, and its result if that is there at once.
func (d *daemon) do(a node.Action) node.Event {
	switch a := a.(type) {
	case node.WriteFencing:
		claim := d.host.world.Shape.claim(a.Record.Claim)
		d.fenced[claim] = ""
		if a.Record.Open() {
			d.fenced[claim] = a.Record.Result
		}
		d.host.world.note("%s fences %s: %s, %s (%s)", d.host.Name, a.Record.Claim, a.Record.Cause, a.Record.Result, a.Record.Why)
		d.persist(a)
	case node.StoreToken, node.StoreLeft, node.StoreStandby, node.StoreWitness:
		d.persist(a)
	case node.ArmGate:
		return d.armGate(a)
	case node.ShutGate:
		d.leaves(d.host.world.Shape.claim(a.Claim))
		d.host.kernel[d.host.world.Shape.claim(a.Claim)].armed = 0
	case node.AddAddresses:
		return node.AddressesDone{Claim: a.Claim, On: true, Err: d.addAddresses(a)}
	case node.RemoveAddresses:
		return node.AddressesDone{Claim: a.Claim, Err: d.removeAddresses(a)}
	case node.StartGuards:
		d.startGuards(a)
	case node.StopGuards:
		d.stopGuards(a)
	case node.AskWitness:
		d.askWitness(a.Operation)
	case node.Tell:
		d.host.world.note("%s %s: %s (%s)", d.host.Name, a.Claim, a.Text, a.Why)
	case node.Respond:
		d.host.world.note("%s answers the operator: %s %v", d.host.Name, a.Text, a.Err)
	case node.ProbeAddresses:
		d.probe(a)
	case node.ShootPeer:
		return node.PeerShot{Peer: a.Peer, Err: errNoAgent}
	case node.AskReference:
		return node.ReferenceDone{Answers: true}
	case node.Stopped:
		d.host.world.note("%s: the daemon has stopped", d.host.Name)
		d.host.end()
		d.host.world.look()
	case node.SendAdvert, node.Publish, node.Question, node.Reply:
		d.say(a)
	case node.Begin:
		d.changing[d.host.world.Shape.claim(a.Claim)] = false
	case node.End, node.Announce, node.Notify, node.OpenWatchdog, node.PetWatchdog:
	}
	return nil
}

// persist stores something and says how that went. What is not stored by the time of a
// crash is lost.
func (d *daemon) persist(a node.Action) {
	h := d.host
	wait := h.world.upTo(2 * time.Millisecond)
	if h.trouble.slowStore > 0 {
		wait = h.world.upTo(h.trouble.slowStore)
	}
	// What is stored later is on the disk later.
	wait = max(wait, d.stored.Sub(h.boot()))
	d.stored = h.boot().Add(wait)
	var err error
	if h.trouble.storeFails {
		err = errStore
	}
	switch a := a.(type) {
	case node.StoreToken:
		claim := h.world.Shape.claim(a.Claim)
		d.token[claim] = a.Token
		if d.holds[claim] {
			d.took(claim)
		}
		d.after(wait, func() {
			if err == nil {
				h.disk.tokens[claim] = max(h.disk.tokens[claim], a.Token)
			}
			d.step(node.TokenStored{Claim: a.Claim, Token: a.Token, Err: err})
		})
	case node.StoreLeft:
		d.after(wait, func() {
			if err == nil {
				h.disk.left = a.Left
			}
			d.step(node.LeftStored{Err: err})
		})
	case node.WriteFencing:
		claim := h.world.Shape.claim(a.Record.Claim)
		d.after(wait, func() {
			if err == nil {
				h.disk.fenced[claim], h.disk.boots = fencing.Record{}, h.boots
				if a.Record.Open() {
					h.disk.fenced[claim] = a.Record
				}
			}
			d.step(node.FencingWritten{Err: err})
		})
	case node.StoreWitness:
		d.after(wait, func() {
			if err == nil {
				h.disk.witness = a.Cluster
				h.world.look()
			}
		})
	case node.StoreStandby:
		d.after(wait, func() {
			if err == nil {
				h.disk.standby = a.On
			}
		})
	default: // nothing is stored
	}
}

func (d *daemon) armGate(a node.ArmGate) node.Event {
	h, claim := d.host, d.host.world.Shape.claim(a.Claim)
	k := &h.kernel[claim]
	if a.Until.IsZero() {
		return nil // the mode has no deadlines, and no gate
	}
	var err error
	switch {
	case h.trouble.kernelFails && h.world.chance(2):
		err = errKernel
	case !k.arm(h.mono(), a.Until.Sub(h.boot()), h.world.upTo(gateSlack)):
		err = errLate
	default:
		k.until = a.Until
	}
	d.ungated[claim] = err != nil
	h.world.changed(claim)
	if err != nil {
		return node.AddressesDone{Claim: a.Claim, On: true, Err: err}
	}
	return nil
}

// addAddresses looks at the deadline before each address, as the real one does: this
// process may have been frozen since the decision.
func (d *daemon) addAddresses(a node.AddAddresses) error {
	h, claim := d.host, d.host.world.Shape.claim(a.Claim)
	lifetime := node.FreeLifetime(h.world.Shape.Advert, downAdverts)
	if !a.Until.IsZero() {
		lifetime = a.Until.Sub(h.boot())
	}
	switch {
	case d.ungated[claim]:
		return errKernel
	case lifetime <= 0:
		return errLate
	case h.trouble.kernelFails && h.world.chance(2):
		return errKernel
	}
	if !h.kernel[claim].there(h.mono()) {
		h.settled[claim] = false
	}
	h.kernel[claim].add(h.mono(), max(lifetime, node.ShortestLifetime), h.world.upTo(lifetimeLate))
	if h.world.Shape.permits() {
		h.world.Check.Gated(h.world.Now, a.Claim, h.Name, h.kernel[claim].guarded)
	}
	if !d.holds[claim] {
		d.holds[claim], d.handing[claim] = true, false
		d.took(claim)
		h.world.look()
	}
	h.world.changed(claim)
	return nil
}

func (d *daemon) removeAddresses(a node.RemoveAddresses) error {
	h, claim := d.host, d.host.world.Shape.claim(a.Claim)
	d.leaves(claim)
	if h.trouble.kernelFails && h.world.chance(2) {
		h.refused = h.world.Now
		return errKernel
	}
	h.kernel[claim].remove()
	return nil
}

// probe asks by ARP who else answers for the addresses: what adverts get through, ARP does too.
func (d *daemon) probe(a node.ProbeAddresses) {
	h, claim := d.host, d.host.world.Shape.claim(a.Claim)
	w := h.world
	d.after(probeFor, func() {
		var found []arbiter.Station
		for i, o := range w.Hosts {
			if o == h || !o.answers(claim) || !w.passes(h.number, i, VRRP) || !w.passes(i, h.number, VRRP) {
				continue
			}
			for _, vip := range w.Shape.addresses(claim) {
				found = append(found, arbiter.Station{MAC: o.Name, Address: vip})
			}
		}
		d.step(node.AddressesProbed{Claim: a.Claim, Answers: found})
	})
}

// took has the checker judge the token of a holding.
func (d *daemon) took(claim int) {
	w, h := d.host.world, d.host
	w.note("%s holds %s with token %d", h.Name, w.Shape.Claims[claim].Name, d.token[claim])
	if w.Shape.permits() && w.Now >= h.risk {
		w.Check.Took(w.Now, w.Shape.Claims[claim].Name, h.Name, d.token[claim], d.told[claim])
		w.report()
	}
	w.peak[claim] = max(w.peak[claim], d.token[claim])
}

// leaves notes the end of a holding and has the checker judge whether there is a cause.
func (d *daemon) leaves(claim int) {
	h, w := d.host, d.host.world
	if !d.holds[claim] {
		return
	}
	d.holds[claim] = false
	cause := ""
	switch {
	case d.handing[claim]:
		cause = "handover"
	case d.changing[claim]:
		cause = "reload"
	case h.downed:
		cause = "stopped"
	case h.standby:
		cause = "standby"
	}
	w.lost(h, claim, cause)
}

// learn notes the tokens that an event tells of, as far as they are of holdings of others
// that there have been: whoever takes a claim then has to exceed them.
func (d *daemon) learn(ev node.Event) {
	switch ev := ev.(type) {
	case node.PeerReport:
		for _, c := range ev.Report.Claims {
			d.learnToken(c.Claim, c.Token)
		}
	case node.PeerAsked:
		if ev.Request.Kind != arbiter.RequestPromise { // that is a bid
			d.learnToken(ev.Request.Claim, ev.Request.Token)
		}
	case node.PeerAnswered:
		d.learnToken(ev.Answer.Claim, ev.Answer.Token)
	case node.WitnessSeen:
		d.sees(ev.Observation)
		for name, c := range ev.Observation.Claims {
			d.learnToken(name, c.Record.Token)
		}
	case node.WitnessDone:
		d.sees(ev.Outcome.Observation)
		for name, c := range ev.Outcome.Claims {
			d.learnToken(name, c.Record.Token)
		}
	default: // it tells of none
	}
}

func (d *daemon) learnToken(name string, t arbiter.Token) {
	w, claim := d.host.world, d.host.world.Shape.claim(name)
	if t > d.told[claim] && t <= w.peak[claim] && t != d.token[claim] && w.minted[claim][t] != d.host.Name {
		d.told[claim] = t
	}
}
