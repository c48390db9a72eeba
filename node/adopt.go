package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// A daemon that is to be replaced at once, as by an upgrade, may leave what it holds in
// place: addresses, gate and guarded services. Its successor adopts that, once the
// daemon is known to be dead, and holds by the same permission: not a moment longer than it was
// given for. It has promised nothing to anybody in between, for its predecessor held to
// the end; and it asks for more under its own name, as the predecessor would have.

// Kept is a claim that is left in place for a successor.
type Kept struct {
	Token    arbiter.Token
	Leased   time.Time // the end of the witness's permission; zero: there was none
	Promised time.Time // and of that by promises
}

// Until returns the end of the permission; zero in modes that know none.
func (k Kept) Until() time.Time { return later(k.Leased, k.Promised) }

// Keep returns the claims that are held, for a successor to adopt, or what stands against
// leaving now: then nothing has changed. After it the node must not be driven any more.
func (n *Node) Keep(now time.Time) (map[string]Kept, error) {
	if n.stopping || n.started.IsZero() {
		return nil, errors.New("the daemon is starting or stopping")
	}
	all := map[string]Kept{}
	for _, c := range n.inOrder() {
		k := Kept{Token: c.token}
		switch {
		case c.phase == Idle && (n.lease == nil || !n.lease.Unsettled(c.cfg.Name)):
			continue
		case c.phase != Held || c.storing != 0:
			return nil, fmt.Errorf("claim %s is on its way in or out", c.cfg.Name)
		case c.cfg.Guarded && c.guards.state != guardsOn:
			return nil, fmt.Errorf("the guarded services of claim %s are not all running", c.cfg.Name)
		}
		if n.lease != nil {
			token, until, ok := n.lease.Permission(c.cfg.Name)
			if ok && token != c.token {
				return nil, fmt.Errorf("claim %s is getting another token", c.cfg.Name)
			}
			if ok {
				k.Leased = until
			}
		}
		if c.ballot != nil {
			k.Promised = c.ballot.Until()
		}
		if n.permits() && !k.Until().After(now) {
			return nil, fmt.Errorf("the permission for claim %s has just ended", c.cfg.Name)
		}
		all[c.cfg.Name] = k
	}
	return all, nil
}

// grants returns what the lease has to know of what was kept.
func (cfg Config) grants() map[string]witness.Grant {
	all := map[string]witness.Grant{}
	for claim, k := range cfg.Kept {
		if !k.Leased.IsZero() {
			all[claim] = witness.Grant{Token: k.Token, Until: k.Leased}
		}
	}
	return all
}

// adopt makes the claim held as the predecessor left it, if it may still be; else settle,
// which follows, lets go of it. To scripts nothing has happened.
func (n *Node) adopt(now time.Time, c *claim, k Kept) {
	c.enter(Held, now)
	c.token, c.known = k.Token, max(c.known, k.Token)
	if n.lease != nil {
		n.lease.Use(c.cfg.Name)
	}
	if c.ballot != nil {
		c.ballot.Adopt(k.Promised)
	}
	if c.cfg.Guarded {
		c.guards.state = guardsOn
	}
	n.silent = true
	defer func() { n.silent = false }()
	for _, in := range c.instances {
		n.drive(now, in, vrrp.Start{})
	}
	c.verdict = arbiter.Decide(n.evidence(now, c))
	if c.verdict.Do != arbiter.Hold {
		return
	}
	n.tell(Info, c.cfg.Name, "holding on to what a predecessor left in place", c.verdict.Why)
	c.armed, c.extend = c.verdict.Until, now.Add(extendEvery)
	n.emit(ArmGate{Claim: c.cfg.Name, Until: c.armed})
	n.emit(AddAddresses{Claim: c.cfg.Name, Until: c.armed})
	for _, in := range c.instances {
		n.drive(now, in, vrrp.Grant{})
	}
	if c.cfg.Guarded {
		c.guards.state = guardsStarting // they run: whoever starts them finds that, and watches them
		n.emit(StartGuards{Claim: c.cfg.Name, Token: c.token, Until: c.verdict.Until})
	}
}
