package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// probe asks the link who has the claim's addresses, in the modes where the answer is
// evidence or worth a word.
func (c *claim) probe(n *Node, now time.Time) {
	if n.cfg.Mode != arbiter.ModeVRRP && c.link.Ask(now) {
		n.emit(ProbeAddresses{c.cfg.Name})
	}
}

// settleLink goes on asking the link while the claim would be taken and somebody
// answers, or may, and tells who.
func (n *Node) settleLink(now time.Time, c *claim) {
	wants := slices.ContainsFunc(c.instances, func(in *instance) bool { return in.machine.Wants() })
	if !wants || n.barred(now, c) != "" {
		return
	}
	if c.verdict.Peer != "" && (n.cfg.Mode != arbiter.ModeVeto || now.Sub(c.link.Word()) < n.fresh/2) {
		return // the holder is known; one whose word is late may be gone soon
	}
	state, _ := c.link.Stands(now)
	if state == arbiter.Yes {
		n.tellAnswers(now, c)
	}
	if state != arbiter.No {
		c.probe(n, now)
	}
}

// tellAnswers tells, once a station, that an address nobody is known to hold has an owner.
func (n *Node) tellAnswers(now time.Time, c *claim) {
	if name, _ := n.knownHolder(now, c); name != "" {
		return // it is the one that answers
	}
	then := "permission decides, and this node takes the claim all the same"
	if n.cfg.Mode == arbiter.ModeVeto {
		then = "nothing is taken until it is gone"
	}
	for _, a := range c.link.Answers() {
		if met := c.link.See(c.link.Answered(), a); met != nil && met.TellOnce(now) {
			n.tell(Warning, c.cfg.Name, "another station has the address while nobody is known to hold the claim", a.String()+": "+then)
		}
	}
}

// probed takes in what the link answered. Whoever answers a question that was asked while
// this node held the claim is in conflict with it.
func (n *Node) probed(now time.Time, c *claim, ev AddressesProbed) {
	c.link.Answer(now, ev.Answers)
	if c.phase == Held && c.link.Asked().After(c.since) {
		for _, a := range ev.Answers {
			n.sighted(now, c, a)
		}
	}
	why := ""
	if ev.Err != nil {
		why = ev.Err.Error()
	}
	if why != "" && why != c.deaf {
		n.tell(Warning, c.cfg.Name, "cannot ask the link who has the addresses", why)
	}
	c.deaf = why
}

// sighted takes in that another station speaks for an address of the claim. The peers
// are asked too: if it is one of them, tokens decide.
func (n *Node) sighted(now time.Time, c *claim, which arbiter.Station) {
	if c.phase != Held {
		return // it may be the holder
	}
	if c.link.See(now, which) != nil && n.cfg.Mode != arbiter.ModeVRRP {
		n.askHolders(now, c)
	}
}

// settleConflicts tells of stations that speak for the addresses of a claim held here,
// and announces against them, rarely.
func (n *Node) settleConflicts(now time.Time, c *claim) {
	if c.link.Again(now, c.since) {
		c.probe(n, now)
	}
	for _, met := range c.link.Confirmed(now, c.since) {
		n.tell(Warning, c.cfg.Name, "another station speaks for the address", n.conflictInWords(met))
	}
	if n.cfg.Mode == arbiter.ModeVRRP {
		return // as keepalived
	}
	for _, s := range c.link.Oppose(now, c.since) {
		for _, in := range c.instances {
			n.emit(Announce{Instance: in.name(), Count: 1, Address: s.Address})
		}
	}
}

func (n *Node) conflictInWords(met *arbiter.Conflict) string {
	has := fmt.Sprintf("%s has %s too: ", met.MAC, met.Address)
	switch {
	case n.cfg.Mode == arbiter.ModeVRRP:
		return has + "plain VRRP does nothing about it"
	case met.Stubborn():
		return has + "it comes back each time and is not opposed any more; among peers the token decides, another device has to be found and stopped"
	}
	return has + "this node announces it once against that; among peers the token decides, another device has to be found and stopped"
}

// linkDeadlines adds when the link or a conflict wants to be looked at again.
func (c *claim) linkDeadlines(now time.Time, d *earliest) {
	if again := c.link.Asked().Add(arbiter.ProbeEvery); now.Before(again) && (c.phase == Idle || c.phase == Held) {
		d.add(again)
	}
	if c.phase == Held {
		d.add(c.link.Due(now, c.since))
	}
}

func (c *claim) conflicts(now time.Time) []ConflictSnapshot {
	var all []ConflictSnapshot
	for _, met := range c.link.Conflicts(now) {
		all = append(all, ConflictSnapshot{Station: met.MAC, Address: met.Address.String(), LastMS: age(now, met.Last), Count: met.Count})
	}
	return all
}
