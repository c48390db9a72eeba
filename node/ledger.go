package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/fencing"
)

// A claim that was let go of by force leaves two things behind: a record for the ledger,
// and a ban that keeps this node out of it. Both are kept by the claim's name, because
// they outlive a reload.

type (
	// WriteFencing puts a fencing, as it stands now, into the ledger. FencingWritten follows.
	WriteFencing struct{ Record fencing.Record }

	// FencingWritten is the result of WriteFencing, and of trying again what failed.
	FencingWritten struct{ Err error }
	// FenceNow asks to let go of a claim by force and to stay out of it. Respond follows.
	FenceNow struct {
		ID    uint64 // of the Respond
		Claim string
	}
	// ClearFence asks to take part again in a claim, or with none in all. Respond follows.
	ClearFence struct {
		ID    uint64 // of the Respond
		Claim string
	}
)

func (WriteFencing) action() {}

func (FencingWritten) event() {}
func (FenceNow) event()       {}
func (ClearFence) event()     {}

// fenced is a fencing that has not been cleared.
type fenced struct {
	record fencing.Record
	ban    *fencing.Ban
}

// The steps of a fencing, as its record names them.
const (
	stepGate      = "gate shut"
	stepAddresses = "addresses off"
	stepGuards    = "guarded services stopped"
	stepAlways    = "guarded services of every node stopped"
)

// recallFencings begins with the fencings that a former start left open: the ban goes on
// from when it began, or, if the host was booted since, from now.
func (n *Node) recallFencings(now time.Time) {
	for _, r := range n.cfg.Fenced {
		f := &fenced{record: r.Clone()}
		began := f.record.Began
		if began.IsZero() || began.After(now) {
			began = now
		}
		f.ban = fencing.NewBan(began, f.record.Cause, n.cfg.ClearAfter)
		n.fencings[r.Claim] = f
		if f.record.Result != fencing.Done {
			// Whatever was left has been cleaned up before the start.
			f.record.Step(now, "cleaned up at the next start of the daemon", nil)
			f.record.Finish(now)
			n.emit(WriteFencing{f.record.Clone()})
		}
		n.tell(Warning, r.Claim, "still fenced since a former start", string(f.record.Cause)+": "+f.record.Why)
	}
	n.recordCrashes(now)
}

// recordCrashes writes down what a worker that died has left, and what was cleaned up
// behind it before this start. It keeps nobody out: this start may take at once.
func (n *Node) recordCrashes(now time.Time) {
	for _, claim := range slices.Sorted(maps.Keys(n.cfg.Former)) {
		r := n.newRecord(now, claim, fencing.Crash, "a former run of the daemon ended without letting go")
		r.Token = n.cfg.Former[claim].Token
		r.Step(now, "addresses off and guarded services stopped before this start", nil)
		r.Finish(now)
		r.Clear(now, "rule", "this start may take the claim at once")
		n.emit(WriteFencing{r})
	}
}

// newRecord returns the record of a fencing that begins.
func (n *Node) newRecord(now time.Time, claim string, cause fencing.Cause, why string) fencing.Record {
	n.fencingID++
	return fencing.Record{
		ID: fmt.Sprintf("%d-%d", n.cfg.Incarnation, n.fencingID), Began: now,
		Node: n.cfg.Name, Mode: n.cfg.Mode.String(), Claim: claim, Cause: cause, Why: why, Result: fencing.UnderWay,
	}
}

// fence lets go by force: also of the services that run on every node.
func (n *Node) fence(now time.Time, c *claim, cause fencing.Cause, why string) {
	c.cause = cause
	c.let(n, now, why)
}

// noteForced begins a fencing if the letting go that has just begun is one.
func (n *Node) noteForced(now time.Time, c *claim, why string) {
	cause := c.cause
	c.cause = ""
	if cause == "" && c.forced {
		if cause = n.causeOf(now, c); cause == fencing.Permission {
			why = "the permission has ended (" + why + ")"
		}
	}
	if cause != "" {
		n.beginFencing(now, c, cause, why)
	}
}

// beginFencing begins the record of a fencing, and the ban, unless there is one already.
func (n *Node) beginFencing(now time.Time, c *claim, cause fencing.Cause, why string) {
	if n.fencings[c.cfg.Name] != nil {
		return
	}
	f := &fenced{
		record: n.newRecord(now, c.cfg.Name, cause, why),
		ban:    fencing.NewBan(now, cause, n.cfg.ClearAfter),
	}
	f.record.Token, f.record.Evidence, f.record.To = c.token, n.evidenceFor(now, c), c.to
	if c.phase == Leaving {
		f.record.Step(now, stepGate, nil)
		if c.off {
			f.record.Step(now, stepAddresses, nil)
		}
	}
	n.fencings[c.cfg.Name] = f
	n.emit(WriteFencing{f.record.Clone()})
	n.tell(Warning, c.cfg.Name, "fenced: this node stays out until the cause is gone", string(cause)+": "+why)
}

// causeOf says why a claim that is held, or was until now, must be let go of.
func (n *Node) causeOf(now time.Time, c *claim) fencing.Cause {
	for _, p := range n.evidence(now, c).Peers {
		if p.Holds == arbiter.Yes && (!n.permits() || p.Token > c.token) {
			return fencing.Outranked
		}
	}
	if n.lease != nil {
		s := n.lease.Standing(now, c.cfg.Name)
		if s.Holder != "" && s.Holder != n.cfg.Name && !s.Released {
			return fencing.Lost
		}
	}
	return fencing.Permission
}

// fencingStep notes how an action of the letting go went. A guarded service that cannot
// be shown to be stopped makes a fencing of what was none before.
func (n *Node) fencingStep(now time.Time, c *claim, what string, err error) {
	if err != nil && (what == stepGuards || what == stepAlways) && c.phase == Leaving {
		n.beginFencing(now, c, fencing.Guard, "a guarded service cannot be shown to be stopped: "+err.Error())
	}
	f := n.fencings[c.cfg.Name]
	if f == nil || f.record.Result == fencing.Done {
		return
	}
	before := f.record.Result
	f.record.Step(now, what, err)
	if f.record.Result == fencing.Failed && before != fencing.Failed {
		n.emit(WriteFencing{f.record.Clone()}) // a failure is worth a line at once
	}
}

// endFencing notes that everything of the claim is shown to be gone.
func (n *Node) endFencing(now time.Time, c *claim) {
	if f := n.fencings[c.cfg.Name]; f != nil && f.record.Result != fencing.Done {
		f.record.To = c.to
		f.record.Finish(now)
		n.emit(WriteFencing{f.record.Clone()})
	}
}

// settleFencing ends the ban when it is over.
func (n *Node) settleFencing(now time.Time, c *claim) {
	f := n.fencings[c.cfg.Name]
	if f == nil || f.record.Result != fencing.Done {
		return
	}
	s := fencing.Surroundings{Present: n.causePresent(now, f.ban.Cause), Patience: n.patience(c)}
	if s.Present == "" {
		s.Holder, _ = n.knownHolder(now, c)
		if n.elsewhere(now, c) {
			s.Ready = "another node"
		}
	}
	if over := f.ban.Look(now, s); over != "" {
		n.clearFencing(now, c.cfg.Name, "rule", over)
	}
}

// patience is how long the others get to take a claim that this node is kept out of:
// twice what a candidate waits.
func (n *Node) patience(c *claim) time.Duration {
	return 2 * max(n.cfg.Timing.Wait, c.patience())
}

// causePresent says why a cause is not gone; empty: it is. Where another node was met that
// outranks this one, or a service could not be stopped, it is gone once all is let go of.
func (n *Node) causePresent(now time.Time, cause fencing.Cause) string {
	if cause != fencing.Permission && cause != fencing.Lost || !n.permits() || n.lease != nil && !n.witnessSilent(now) {
		return ""
	}
	var silent []string
	for _, name := range slices.Concat(n.cfg.Peers, n.cfg.Witnesses) {
		p := n.peers[name]
		if n.lease != nil && p.witness {
			continue // it is not asked for promises then
		}
		if p.alive == arbiter.No || !p.witness && (p.seen.IsZero() || now.Sub(p.seen) > n.fresh) {
			silent = append(silent, name)
		}
	}
	switch voters := len(n.cfg.Peers) + len(n.cfg.Witnesses); {
	case n.lease != nil && len(silent) > 0:
		return "permission to be within reach: the witness is silent, and " + strings.Join(silent, ", ") + " cannot promise"
	case n.lease == nil && voters-len(silent) < (voters+1)/2:
		return "permission to be within reach: not heard are " + strings.Join(silent, ", ")
	}
	return ""
}

// clearFencing ends a ban.
func (n *Node) clearFencing(now time.Time, claim, by, why string) {
	f := n.fencings[claim]
	f.record.Clear(now, by, why)
	delete(n.fencings, claim)
	n.emit(WriteFencing{f.record.Clone()})
	n.tell(Info, claim, "no longer fenced", why)
}

// banned says why a fencing keeps this node out of the claim; empty: none does.
func (n *Node) banned(c *claim) string {
	f := n.fencings[c.cfg.Name]
	switch {
	case f == nil:
		return ""
	case f.record.Result != fencing.Done:
		return "fenced (" + string(f.record.Cause) + "), and still letting go"
	}
	return fmt.Sprintf("fenced (%s): waiting for %s", f.record.Cause, f.ban.Waits())
}

// banDue returns when a ban wants to be looked at again.
func (n *Node) banDue(now time.Time, c *claim) time.Time {
	if f := n.fencings[c.cfg.Name]; f != nil && f.record.Result == fencing.Done {
		if at := f.ban.Due(n.patience(c)); now.Before(at) {
			return at
		}
	}
	return time.Time{}
}

// applyFencing follows an operator's word about fencings, and hears how the ledger is.
func (n *Node) applyFencing(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case FenceNow:
		text, err := n.fenceNow(now, ev)
		n.emit(Respond{ID: ev.ID, Text: text, Err: err})
	case ClearFence:
		text, err := n.clearFences(now, ev)
		n.emit(Respond{ID: ev.ID, Text: text, Err: err})
	case FencingWritten:
		n.unwritten = ""
		if ev.Err != nil {
			n.unwritten = ev.Err.Error()
		}
	case PeerShot:
		n.shot(now, ev)
	default: // not of fencings
	}
}

// fenceNow carries out an operator's fencing, or says why not.
func (n *Node) fenceNow(now time.Time, ev FenceNow) (text string, err error) {
	c := n.claims[ev.Claim]
	if c == nil {
		return "", n.noClaim(ev.Claim)
	}
	if f := n.fencings[ev.Claim]; f != nil {
		n.clearFencing(now, ev.Claim, "operator", "fenced anew by an operator")
	}
	const until = "until `solovip fence clear`"
	switch c.phase {
	case Adding, Held:
		c.to, c.yielded = n.successor(now, c), true
		n.fence(now, c, fencing.Operator, "an operator fenced it")
		if c.to == "" {
			return fmt.Sprintf("fencing %s: this node lets go now and stays out %s; NO other node is known to be ready for it", ev.Claim, until), nil
		}
		return fmt.Sprintf("fencing %s: this node lets go now in favour of %s, and stays out %s", ev.Claim, c.to, until), nil
	case Idle, Storing, Leaving, Releasing:
	}
	n.beginFencing(now, c, fencing.Operator, "an operator fenced it")
	if c.phase != Leaving {
		n.endFencing(now, c)
	}
	return fmt.Sprintf("this node does not hold %s, and stays out of it %s", ev.Claim, until), nil
}

// clearFences carries out an operator's clearing, or says why not.
func (n *Node) clearFences(now time.Time, ev ClearFence) (text string, err error) {
	if ev.Claim != "" && n.claims[ev.Claim] == nil && n.fencings[ev.Claim] == nil {
		return "", n.noClaim(ev.Claim)
	}
	var cleared []string
	for _, name := range n.fencedClaims() {
		f := n.fencings[name]
		switch {
		case ev.Claim != "" && ev.Claim != name:
			continue
		case f.record.Result != fencing.Done:
			return "", fmt.Errorf("%s is still being let go of: `solovip fence why %s` shows what is missing", name, name)
		}
		n.clearFencing(now, name, "operator", "an operator cleared it")
		cleared = append(cleared, name)
	}
	if len(cleared) == 0 {
		return "this node is not fenced", nil
	}
	return "no longer fenced: " + strings.Join(cleared, ", "), nil
}

// fencedClaims returns the names of the fenced claims in order.
func (n *Node) fencedClaims() []string {
	var names []string
	for name := range n.fencings {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
