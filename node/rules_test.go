package node

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
)

// rules are what must hold of every action of a node, whatever happened before. They
// follow the effects as the world carries them out, and know nothing of the node's inside.
type rules struct {
	name   string
	cfg    Config
	claims map[string]*ruled
	bites  time.Duration // the watchdog, that long after it was petted
	last   time.Time     // the last tick
	spun   int
}

// ruled is one claim as its effects have left it.
type ruled struct {
	stored arbiter.Token // the token that is durable for this holding
	armed  bool          // the gate lets it through
	until  time.Time     // and did, until then
	on     bool          // addresses are on, or may be
	guards bool          // the services run, or may
	broken bool          // they did not start, or one has ended by itself
	fenced bool          // let go of by force, and not cleared
}

func (r *rules) init(cfg Config) {
	r.name, r.cfg, r.claims = cfg.Name, cfg, map[string]*ruled{}
	for _, c := range cfg.Claims {
		if k, kept := cfg.Kept[c.Name]; kept {
			r.claims[c.Name] = &ruled{stored: k.Token, armed: true, until: k.Until(), on: true, guards: c.Guarded}
		}
	}
}

func (r *rules) claim(name string) *ruled {
	if r.claims[name] == nil {
		r.claims[name] = &ruled{}
	}
	return r.claims[name]
}

// event takes in the result of an effect before the node sees it.
func (r *rules) event(ev Event) {
	switch ev := ev.(type) {
	case TokenStored:
		if ev.Err == nil {
			c := r.claim(ev.Claim)
			c.stored = max(c.stored, ev.Token)
		}
	case WatchdogDone:
		r.bites = ev.Timeout
	case AddressesDone:
		if c := r.claim(ev.Claim); !ev.On && ev.Err == nil {
			c.on = false
		}
	case GuardsDone:
		c := r.claim(ev.Claim)
		switch {
		case ev.Always:
		case ev.On:
			c.broken = ev.Err != nil
		case ev.Err == nil:
			c.guards, c.broken = false, false
		}
	default: // the result of no effect that counts here
	}
}

// action returns the rule that an action breaks; empty: none.
func (r *rules) action(now time.Time, a Action) string {
	permits := r.cfg.Mode == arbiter.ModeLease || r.cfg.Mode == arbiter.ModeQuorum
	switch a := a.(type) {
	case ArmGate:
		if permits && !a.Until.After(now) {
			return "the gate is armed without permission that reaches into the future"
		}
		r.claim(a.Claim).armed, r.claim(a.Claim).until = true, a.Until
	case ShutGate:
		r.claim(a.Claim).armed = false
	case AddAddresses:
		c := r.claim(a.Claim)
		switch {
		case c.fenced:
			return "addresses on a fenced node"
		case permits && !a.Until.After(now):
			return "addresses without permission that reaches into the future"
		case !c.armed:
			return "addresses behind a shut gate"
		case r.cfg.Mode != arbiter.ModeVRRP && c.stored == 0:
			return "addresses before any token was stored"
		}
		c.on = true
	case RemoveAddresses:
		if r.claim(a.Claim).armed {
			return "addresses taken off before the gate is shut"
		}
	case StartGuards:
		c := r.claim(a.Claim)
		switch {
		case a.Always:
			return ""
		case !c.on || !c.armed:
			return "guards started where the claim is not held"
		case r.cfg.Mode != arbiter.ModeVRRP && a.Token > c.stored:
			return fmt.Sprintf("guards started with token %d, stored is %d", a.Token, c.stored)
		}
		c.guards = true
	case StopGuards:
		if c := r.claim(a.Claim); !a.Always && c.on && c.armed && !c.broken {
			return "guards stopped while the addresses still serve"
		}
	case AskWitness:
		for _, rec := range a.Operation.Swap.Claims {
			if c := r.claim(rec.Claim); rec.Released && (c.on || c.guards) {
				return "released at the witness before all is shown to be off"
			}
		}
	case Question:
		if c := r.claim(a.Request.Claim); a.Request.Kind == arbiter.RequestReleased && (c.on || c.guards) {
			return "told as released before all is shown to be off"
		}
	case Reply:
		if a.Answer.Yes && a.Answer.Why != "" {
			return "a yes with a reason against it"
		}
	case Publish:
		for _, cr := range a.Report.Claims {
			if c := r.claims[cr.Claim]; c != nil && (c.on && !cr.Holds || c.guards && !cr.Guards) {
				return "the mesh is told less than what may be on"
			}
		}
	case PetWatchdog:
		limit := r.cfg.Claims[0].GuardLimit // all have the same
		for name, c := range r.claims {
			// The services of one that takes over start no sooner than L + G after the renewal.
			by := c.until.Add(r.cfg.Timing.Late + limit)
			if permits && c.guards && r.bites <= watchdogLimit(r.cfg.Timing, limit) && now.Add(r.bites).After(by) {
				return "petted although the guards of " + name + " could then run for too long"
			}
		}
	case WriteFencing:
		c := r.claim(a.Record.Claim)
		c.fenced = a.Record.Open() && a.Record.Result == fencing.Done
		if c.fenced && (c.on || c.guards) {
			return "a fencing is said to be done before all is shown to be off"
		}
	case Stopped:
		for name, c := range r.claims {
			if c.on || c.guards {
				return "stopped while something of " + name + " may be on"
			}
		}
	case Begin, End, SendAdvert, StoreToken, StoreLeft, StoreStandby, StoreWitness, Announce, Notify, AskReference, ProbeAddresses, ShootPeer, Respond, OpenWatchdog, Tell:
	}
	return ""
}

// spins reports a node that wants to be called at once again and again.
func (r *rules) spins(now time.Time, ev Event, deadline time.Time) string {
	if _, tick := ev.(Tick); !tick || deadline.IsZero() || deadline.After(now) || !now.Equal(r.last) {
		r.spun = 0
	} else if r.spun++; r.spun > spinLimit {
		return fmt.Sprintf("the deadline lies %v back after %d ticks", now.Sub(deadline), r.spun)
	}
	if _, tick := ev.(Tick); tick {
		r.last = now
	}
	return ""
}
