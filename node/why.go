package node

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/vrrp"
)

// evidenceFor is every piece of evidence about a claim, for people and for the ledger:
// what it says holds no times, so that it changes only when something has changed.
func (n *Node) evidenceFor(now time.Time, c *claim) []fencing.Evidence {
	in := n.evidence(now, c)
	var all []fencing.Evidence
	if n.lease != nil {
		at, _ := n.lease.Answered()
		all = append(all, fencing.Evidence{Source: "witness", AgeMS: age(now, at), Says: n.witnessSays(now, in.Lease)})
	}
	if c.ballot != nil {
		e := fencing.Evidence{Source: "promise", AgeMS: age(now, c.ballot.Asked()), Says: "not enough nodes promise this node the claim"}
		if in.Promised.After(now) {
			e.Says = "enough nodes promise this node the claim"
		}
		all = append(all, e)
		if in.PromiseTo != "" {
			all = append(all, fencing.Evidence{Source: "promise", Who: n.cfg.Name, Says: "this node has promised it to " + in.PromiseTo})
		}
	}
	for _, p := range in.Peers {
		e := fencing.Evidence{Source: "mesh", Who: p.Name, Path: p.Path.String(), AgeMS: -1, Says: peerSays(p)}
		if seen := n.peers[p.Name].seen; !seen.IsZero() || p.Age > 0 {
			e.AgeMS = p.Age.Milliseconds()
		}
		all = append(all, e)
	}
	if n.cfg.Isolation == arbiter.IsolationFence {
		for _, name := range n.cfg.Peers {
			shot := &n.peers[name].shot
			all = append(all, fencing.Evidence{Source: "agent", Who: name, AgeMS: age(now, shot.At()), Says: shot.String()})
		}
	}
	for _, in := range c.instances {
		if at := in.machine.MasterHeard(); !at.IsZero() {
			all = append(all, fencing.Evidence{
				Source: "vrrp", Who: in.machine.MasterAddr().String(), Path: in.name(), AgeMS: age(now, at),
				Says: fmt.Sprintf("last advert, priority %d", in.machine.MasterPriority()),
			})
		}
	}
	for _, s := range c.link.Answers() {
		all = append(all, fencing.Evidence{Source: "arp", Who: s.MAC, Path: "direct", AgeMS: age(now, c.link.Answered()), Says: "answers for " + s.Address.String()})
	}
	if n.cfg.Reference {
		all = append(all, fencing.Evidence{Source: "reference", AgeMS: age(now, n.referenceAt), Says: "answers: " + in.Reference.String()})
	}
	return all
}

func (n *Node) witnessSays(now time.Time, l arbiter.Lease) string {
	says := ""
	switch l.State {
	case arbiter.LeaseMine:
		says = fmt.Sprintf("this node holds it, token %d", l.Token)
	case arbiter.LeaseFree:
		says = "nobody holds it"
	case arbiter.LeaseWaiting:
		says = "it may be held by a node that is not known yet"
		if l.Holder != "" {
			says = fmt.Sprintf("%s holds it, token %d", l.Holder, l.Token)
		}
	case arbiter.LeaseSilent:
	}
	if n.witnessSilent(now) {
		word := "silent"
		if _, err := n.lease.Answered(); err != nil {
			word += ": " + err.Error()
		}
		if says != "" {
			return word + "; before that: " + says
		}
		return word
	}
	return says
}

func peerSays(p arbiter.Peer) string {
	switch p.Holds {
	case arbiter.Yes:
		return fmt.Sprintf("holds it, token %d, priority %d", p.Token, p.Priority)
	case arbiter.No:
		return fmt.Sprintf("does not hold it, knows token %d, priority %d", p.Token, p.Priority)
	case arbiter.Unknown:
	}
	if p.Alive == arbiter.No {
		return "not heard by any path"
	}
	return "no word of it yet"
}

// needs says in words what would have to change for the verdict to be another one.
func (n *Node) needs(now time.Time, c *claim) string {
	if c.phase == Held || c.phase == Adding {
		switch n.cfg.Mode {
		case arbiter.ModeQuorum, arbiter.ModeLease:
			return "this node lets go when its permission is not renewed in time, when a node with a higher token is met, or when an operator says so"
		case arbiter.ModeVeto:
			return "this node lets go when it meets a node that holds it too, with a higher token or rank, or when an operator says so"
		case arbiter.ModeVRRP, arbiter.ModeNone:
		}
		return "this node lets go when an advert of a higher priority is heard, or when an operator says so"
	}
	if c.phase != Idle {
		return "letting go has to be shown to be complete: " + c.phase.String()
	}
	if f := n.fencings[c.cfg.Name]; f != nil {
		return f.ban.Waits() + "; `solovip fence clear " + c.cfg.Name + "` ends the ban at once"
	}
	if why := n.barred(now, c); why != "" {
		return "this has to end first: " + why
	}
	switch v := c.verdict; v.Do {
	case arbiter.Hold:
		return "nothing: it is being taken"
	case arbiter.Obtain:
		return "the witness or enough nodes have to give permission"
	case arbiter.Handover:
		return v.Peer + " has to hand it over, and is being asked"
	case arbiter.Consult:
		return "those that have not answered yet have to answer, or to be gone for long enough"
	case arbiter.Shoot:
		return "an agent has to show that " + v.Peer + " is switched off, or it has to be heard"
	case arbiter.Refuse:
		if !c.agreed(vrrp.StateBackup) {
			return "the instances have to be BACKUP: " + c.state().String()
		}
		if v.Peer != "" {
			return v.Peer + " has to hand it over, or to be gone for as long as its permission lasts"
		}
	}
	return "the holder's adverts have to be missing for " + c.patience().String() + ", or it has to hand over: " + c.verdict.Why
}

// FencedSnapshot is how this node is kept out of a claim that it was fenced from.
type FencedSnapshot struct {
	ID          string         `json:"id"` // of the record in the ledger
	Cause       fencing.Cause  `json:"cause"`
	Why         string         `json:"why"`
	Result      fencing.Result `json:"result"`
	SinceMS     int64          `json:"since_ms"`
	RemainingMS int64          `json:"remaining_ms"` // of clear_after; -1: only an operator ends it
	WaitsFor    string         `json:"waits_for"`    // in words
}

func (n *Node) fencedSnapshot(now time.Time, claim string) *FencedSnapshot {
	f := n.fencings[claim]
	if f == nil {
		return nil
	}
	s := &FencedSnapshot{
		ID: f.record.ID, Cause: f.record.Cause, Why: f.record.Why, Result: f.record.Result,
		SinceMS: age(now, f.record.Began), RemainingMS: -1, WaitsFor: f.ban.Waits(),
	}
	if !f.ban.Until.IsZero() {
		s.RemainingMS = max(0, f.ban.Until.Sub(now).Milliseconds())
	}
	if f.record.Result != fencing.Done {
		s.WaitsFor = "the letting go to be complete"
	}
	return s
}

// explain says once why a claim is not taken that VRRP alone would take now. While
// that is not decided it says nothing, and does not forget what it said.
func (n *Node) explain(c *claim) {
	key, text := "", ""
	for _, in := range c.instances {
		switch {
		case !in.machine.Wants():
		case in.preempts:
			key, text = "preempt", "a master of lower priority is heard, yet the claim is not taken"
		default:
			key, text = "vacant", "adverts are missing, yet the claim is not taken"
		}
	}
	switch {
	case key == "" || c.verdict.Do == arbiter.Hold:
		c.told = ""
	case c.verdict.Do == arbiter.Handover:
		n.tellOnce(c, "handover "+c.verdict.Peer, "asking for a handover")
	case c.verdict.Do == arbiter.Refuse && (key != "preempt" || !c.yielded):
		n.tellOnce(c, key+" "+c.verdict.Peer, text)
	}
}

func (n *Node) tellOnce(c *claim, key, text string) {
	if key != c.told {
		n.tell(Info, c.cfg.Name, text, c.verdict.Why)
	}
	c.told = key
}
