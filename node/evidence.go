package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/witness"
)

// evidence gathers everything that is known about a claim at this instant.
func (n *Node) evidence(now time.Time, c *claim) arbiter.Input {
	in := arbiter.Input{
		Now:       now,
		Mode:      n.cfg.Mode,
		Holding:   c.phase == Adding || c.phase == Held,
		Barred:    n.barred(now, c),
		Token:     c.token,
		Priority:  c.priority(),
		Address:   c.address,
		Isolation: n.cfg.Isolation,
		Reference: n.referenceEvidence(now),
		Peers:     make([]arbiter.Peer, 0, len(n.cfg.Peers)),
	}
	if n.lease != nil {
		in.Lease = n.leaseEvidence(now, c)
	}
	if c.ballot != nil && n.promises != nil { // not before the start
		in.Promised = c.ballot.Until()
		in.PromiseTo = n.promises.To(now, c.cfg.Name)
	}
	for _, name := range n.cfg.Peers {
		p := n.peers[name]
		e := n.peerEvidence(now, c, p)
		c.link.Heard(now, p.seen, name, e.Holds)
		in.Peers = append(in.Peers, e)
	}
	if n.cfg.Isolation == arbiter.IsolationFence {
		in.Off = n.offEvidence(now, in.Peers)
	}
	in.ARP, in.ARPFrom = c.link.Stands(now)
	in.Want = n.want(now, c, in.Lease)
	return in
}

// referenceEvidence is the reference's answer, as long as it is fresh.
func (n *Node) referenceEvidence(now time.Time) arbiter.Tri {
	switch {
	case !n.cfg.Reference:
		return arbiter.Yes
	case now.Sub(n.referenceAt) > n.fresh:
		return arbiter.Unknown
	}
	return n.reference
}

// barred says why this node may not hold the claim, whatever the others say.
func (n *Node) barred(now time.Time, c *claim) string {
	switch {
	case n.stopping:
		return "the daemon is stopping"
	case n.cfg.Standby:
		return "this node is in standby: `solovip standby off` ends that"
	case c.leaving:
		return "the new configuration does not have it as it is"
	}
	if why := n.watchdogBars(); why != "" {
		return why
	}
	if name := n.owing(); name != "" {
		return "this node left while the witness was silent, and " + name + " may still count on that: waiting for a word of it; if it is off, `solovip trust-witness`"
	}
	if now.Before(n.quiet) {
		return "this node left while the witness was silent, and a peer may hold by that for a little longer"
	}
	for _, in := range c.instances {
		if in.fault != "" {
			return in.fault
		}
	}
	if now.Before(c.brokenTo) {
		return c.broken
	}
	if why := n.banned(c); why != "" {
		return why
	}
	return n.unfit(now, c)
}

func (n *Node) leaseEvidence(now time.Time, c *claim) arbiter.Lease {
	s := n.lease.Standing(now, c.cfg.Name)
	l := arbiter.Lease{Free: s.At, Holder: s.Holder, Token: s.Token}
	switch s.State {
	case witness.Mine:
		l.State = arbiter.LeaseMine
		_, l.Until, _ = n.lease.Permission(c.cfg.Name)
	case witness.Free:
		l.State = arbiter.LeaseFree
	case witness.Waiting:
		l.State = arbiter.LeaseWaiting
	case witness.Unknown:
	}
	if l.State != arbiter.LeaseMine && n.witnessSilent(now) {
		l.State = arbiter.LeaseSilent
	}
	return l
}

// witnessSilent reports whether the last word of the witness is too old to rely on.
func (n *Node) witnessSilent(now time.Time) bool {
	at, err := n.lease.Answered()
	return at.IsZero() || err != nil && now.Sub(at) > n.cfg.Timing.Renew
}

// leased reports whether the witness's permission for the claim still runs.
func (n *Node) leased(now time.Time, c *claim) bool {
	_, until, ok := n.lease.Permission(c.cfg.Name)
	return ok && until.After(now)
}

// expired reports whether the mode gives permission and the claim's has run out.
func (n *Node) expired(now time.Time, c *claim) bool {
	if !n.permits() || c.ballot.Until().After(now) {
		return false
	}
	return n.lease == nil || !n.leased(now, c)
}

// peerEvidence is what one peer says, or is said, about the claim: its latest report, or
// its answer if that is newer.
func (n *Node) peerEvidence(now time.Time, c *claim, p *peer) arbiter.Peer {
	e := arbiter.Peer{Name: p.name, Path: p.path}
	cr, ok := p.report.Claim(c.cfg.Name)
	seen, left, holds := p.seen, p.report.Leaving, ok && cr.Holds
	if a := c.answers[p.name]; a.at.After(seen) {
		seen, left, holds, e.Path, e.Takes = a.at, false, a.yes, a.path, a.takes
	}
	if !seen.IsZero() {
		e.Age = now.Sub(seen)
	}
	fresh := !seen.IsZero() && e.Age <= n.fresh && !left
	asked := !c.consults.IsZero() && now.Sub(c.consults) > askFor
	switch {
	case fresh, p.alive == arbiter.Yes && !asked:
		e.Alive = arbiter.Yes
	case left, p.alive == arbiter.No, asked:
		e.Alive = arbiter.No
	}
	if ok {
		e.Token, e.Priority, e.Address = cr.Token, cr.Priority, cr.Address
	}
	switch {
	case left:
		e.Holds = arbiter.No
	case fresh && holds:
		e.Holds = arbiter.Yes
	case fresh:
		e.Holds = arbiter.No
	}
	return e
}

// want says whether and why this node would like the claim.
func (n *Node) want(now time.Time, c *claim, lease arbiter.Lease) arbiter.Want {
	if !c.agreed(vrrp.StateBackup) {
		return arbiter.WantNone
	}
	if n.offeredBy(now, c, lease) {
		return arbiter.WantOffered
	}
	want := arbiter.WantNone
	for _, in := range c.instances {
		switch {
		case !in.machine.Wants():
		case in.preempts && c.yielded:
			// An operator gave the claim away: it is not taken back from a live holder.
		case in.preempts:
			want = max(want, arbiter.WantPreempt)
		default:
			want = arbiter.WantVacant
		}
	}
	return want
}

// offeredBy reports whether the last holder has certainly let go: it said so, or it
// has not renewed its lease for as long as a candidate has to wait. Then the rest of
// VRRP's timers would be an outage for nothing.
func (n *Node) offeredBy(now time.Time, c *claim, lease arbiter.Lease) bool {
	if c.offer.stands(now) {
		return true
	}
	if !c.gave.IsZero() && now.Sub(c.gave) < offerFor {
		return false // it was just given to another node
	}
	return lease.State == arbiter.LeaseFree && lease.Holder != "" && lease.Holder != n.cfg.Name ||
		lease.State == arbiter.LeaseMine
}

// stands reports whether it was made lately.
func (o offer) stands(now time.Time) bool { return !o.at.IsZero() && now.Sub(o.at) < offerFor }

// forThis reports whether it stands and is for this node: no other one asks.
func (o offer) forThis(now time.Time) bool { return o.toThis && o.stands(now) }

// priority is the claim's effective priority: its weakest instance's.
func (c *claim) priority() uint8 {
	p := uint8(255)
	for _, in := range c.instances {
		p = min(p, in.machine.Priority())
	}
	return p
}

func (c ClaimConfig) address() string {
	if len(c.Instances) == 0 || !c.Instances[0].Address.IsValid() {
		return ""
	}
	return c.Instances[0].Address.String()
}

// track recomputes every instance's priority and fault from links and scripts.
func (n *Node) track(now time.Time) {
	for _, c := range n.inOrder() {
		for _, in := range c.instances {
			priority, fault := n.effective(in.cfg)
			in.fault = fault
			if priority != in.machine.Priority() {
				n.drive(now, in, vrrp.SetPriority{Priority: priority})
			}
		}
		if c.phase == Idle {
			n.applyFaults(now, c)
		}
	}
}

// applyFaults hands the faults to the machines. Not while the claim is held: it is let
// go in order first, so that priority 0 is said when everything is off.
func (n *Node) applyFaults(now time.Time, c *claim) {
	why := ""
	for _, in := range c.instances {
		if why == "" {
			why = in.fault
		}
	}
	for _, in := range c.instances {
		if state := in.machine.State(); (state == vrrp.StateFault) != (why != "") && state != vrrp.StateInit {
			n.drive(now, in, vrrp.SetFault{Fault: why != "", Why: why})
		}
	}
}

// effective returns an instance's priority after its trackers, between 1 and 254, and
// why it is at fault. An address owner (255) has no weights (RFC 9568 section 5.2.4).
func (n *Node) effective(cfg InstanceConfig) (priority uint8, fault string) {
	sum := int(cfg.VRRP.Priority)
	weigh := func(t Track, up bool, what string) {
		if t.Weight == 0 {
			if !up && fault == "" {
				fault = fmt.Sprintf("%s %s is down", what, t.Name)
			}
			return
		}
		if up != t.Reverse == (t.Weight > 0) {
			sum += t.Weight
		}
	}
	for _, t := range cfg.Interfaces {
		weigh(t, n.links[t.Name], "interface")
	}
	for _, t := range cfg.Scripts {
		weigh(t, n.scripts[t.Name], "script")
	}
	if cfg.VRRP.Priority == 255 {
		return 255, fault
	}
	return uint8(min(max(sum, 1), 254)), fault
}

// successor returns the peer that would take the claim best: the live one that is
// ready for it, with the highest priority.
func (n *Node) successor(now time.Time, c *claim) string {
	if c.to != "" {
		return c.to
	}
	best, name := arbiter.ClaimReport{}, ""
	for _, p := range n.cfg.Peers {
		peer := n.peers[p]
		cr, ok := peer.report.Claim(c.cfg.Name)
		if !ok || cr.Barred != "" || peer.report.Leaving || now.Sub(peer.seen) > n.fresh || cr.State != vrrp.StateBackup.String() {
			continue
		}
		if name == "" || cr.Priority > best.Priority {
			best, name = cr, p
		}
	}
	return name
}

// isPeer reports whether the name is that of another node.
func (n *Node) isPeer(name string) bool { return slices.Contains(n.cfg.Peers, name) }
