package node

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// guardState is how far guarded services are on their way up or down.
type guardState uint8

const (
	guardsOff guardState = iota
	guardsStarting
	guardsOn
	guardsStopping
	guardsFailed // did not start, or one has ended: stopped as a whole, and then started anew
	guardsStuck  // could not be shown to be stopped
)

// String returns the state as the status shows it.
func (s guardState) String() string {
	names := [...]string{"stopped", "starting", "running", "stopping", "failed", "cannot be shown to be stopped"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("guardState(%d)", uint8(s))
}

// guards is a claim's guarded services of one kind, which start and stop together.
type guards struct {
	state  guardState
	retry  time.Time // a failed start or stop is tried again then
	on     time.Time // since when they run
	failed int       // how often in a row they did not start, or ended by themselves
	why    string    // the last time
}

// steady reports whether they have run for so long that former failures count no more.
func (g *guards) steady(now time.Time) bool {
	return g.state == guardsOn && now.Sub(g.on) >= steadyAfter
}

// steer starts or stops them as wanted. A stop does not wait for a start under way:
// the shell ends that first.
func (g *guards) steer(n *Node, now time.Time, start StartGuards, run, kill bool) {
	stop := StopGuards{Claim: start.Claim, Always: start.Always, Kill: kill}
	switch g.state {
	case guardsOff:
		if run && !now.Before(g.retry) {
			g.state = guardsStarting
			n.emit(start)
		}
	case guardsStarting, guardsOn:
		if !run {
			g.state = guardsStopping
			n.emit(stop)
		}
	case guardsFailed:
		if !run || !now.Before(g.retry) {
			stop.Kill = kill && !run // to be started anew is no hurry
			g.state = guardsStopping
			n.emit(stop)
		}
	case guardsStuck:
		if !now.Before(g.retry) {
			stop.Kill = true
			g.state = guardsStopping
			n.emit(stop)
		}
	case guardsStopping:
	}
}

// done takes in how a start or stop went, and returns what to tell if it failed.
func (g *guards) done(now time.Time, ev GuardsDone) (text string) {
	switch {
	case ev.On && g.state == guardsStarting && ev.Err == nil:
		g.state, g.on = guardsOn, now
	case ev.On && ev.Err != nil && g.state == guardsOn:
		text = "a guarded service has ended by itself, or is not healthy"
		if g.steady(now) {
			g.failed = 0
		}
		g.failed++
		// The first time it is brought back at once; one that fails again is not chased.
		g.state, g.retry, g.why = guardsFailed, now, ev.Err.Error()
		if g.failed > 1 {
			g.retry = now.Add(retryEvery)
		}
	case ev.On && ev.Err != nil && g.state == guardsStarting:
		text = "the guarded services cannot be started"
		g.failed++
		g.state, g.retry, g.why = guardsFailed, now.Add(retryEvery), ev.Err.Error()
	case !ev.On && g.state == guardsStopping && ev.Err == nil:
		g.state = guardsOff
	case !ev.On && g.state == guardsStopping:
		text = "the guarded services cannot be shown to be stopped"
		g.state, g.retry = guardsStuck, now.Add(retryEvery)
	}
	return text
}

// due returns when something failed is tried again; zero: nothing has failed.
func (g *guards) due() time.Time {
	if g.state == guardsStuck || g.state == guardsFailed {
		return g.retry
	}
	return time.Time{}
}

// settleGuards starts and stops the guarded services as the claim's phase wants it.
func (n *Node) settleGuards(now time.Time, c *claim) {
	if c.guards.steady(now) {
		c.illFor = 0
	}
	if c.cfg.Guarded {
		// Once started they stay: the word that let them start early may age meanwhile.
		run := c.phase == Held && (c.guards.state != guardsOff || !n.guardsWait(now, c))
		if run {
			n.forgetFormer(c)
		}
		c.guards.steer(n, now, StartGuards{Claim: c.cfg.Name, Token: c.token, Until: c.verdict.Until}, run, c.forced)
	}
	if c.cfg.GuardedAlways {
		run := n.fencings[c.cfg.Name] == nil
		c.always.steer(n, now, StartGuards{Claim: c.cfg.Name, Always: true, Token: c.token}, run, true)
	}
}

// waitForGuards sets when the guards may start. A holder that let go in order has
// stopped them before; of one that ran out of permission nobody knows, so it gets the
// time its guards need at the most, unless all others say themselves that theirs are off.
// Promises of all others leave no one who could have them.
func (c *claim) waitForGuards(n *Node, now time.Time) {
	c.guardsAt = now
	limit := witness.WaitFor(c.cfg.GuardLimit, 0)
	switch {
	case !c.cfg.Guarded || !n.permits():
		return
	case n.lease == nil:
		// Of an offer nothing counts once another has been after the claim.
		if c.offer.stands(now) && c.offer.token >= c.highest() && !c.offer.unsettled {
			return
		}
	case n.leased(now, c):
		// What was held by promises the store knows nothing of, and a promise that a former
		// start gave is forgotten.
		_, unreleased := n.lease.TakenFrom(c.cfg.Name)
		if !unreleased && !n.promises.Owing(c.cfg.Name) && now.Sub(n.started) >= n.cfg.Timing.Wait+limit {
			return
		}
	default:
		return
	}
	c.guardsAt, c.guardsFrom = now.Add(limit), now
}

// guardsMayStart reports whether no other node can be running them: the time is over, or each
// has said so when it was asked. What it had said before may have changed meanwhile.
func (n *Node) guardsMayStart(now time.Time, c *claim) bool {
	if !now.Before(c.guardsAt) {
		return true
	}
	for _, name := range n.cfg.Peers {
		if a := c.answers[name]; a.asked.Before(c.guardsFrom) || a.yes || a.guards {
			return false
		}
	}
	return true
}

// forgetFormer notes that nobody else's guards run: whoever comes next need not wait.
func (n *Node) forgetFormer(c *claim) {
	c.guardsAt = time.Time{}
	if n.promises != nil {
		n.promises.Settle(c.cfg.Name)
	}
	if n.lease != nil {
		n.lease.Settle(c.cfg.Name)
	}
}

// guardsWait reports whether guards may start only later, and asks the peers meanwhile.
func (n *Node) guardsWait(now time.Time, c *claim) bool {
	if n.guardsMayStart(now, c) {
		return false
	}
	n.askHolders(now, c)
	return true
}

func (n *Node) guardsDone(now time.Time, c *claim, ev GuardsDone) {
	g := &c.guards
	if ev.Always {
		g = &c.always
	}
	text := g.done(now, ev)
	if text != "" {
		n.tell(Warning, c.cfg.Name, text, ev.Err.Error())
	}
	if !ev.On {
		what := stepGuards
		if ev.Always {
			what = stepAlways
		}
		n.fencingStep(now, c, what, ev.Err)
	}
	if ev.On && ev.Err != nil && c.phase == Held && g.failed >= c.cfg.GuardTries && c.cfg.GuardTries > 0 && n.elsewhere(now, c) {
		n.giveUp(now, c, g)
	}
}

// giveUp leaves the claim to a node that may run its services better: settle, which
// follows, lets go in order of a claim that this node may not hold. Each time it lasts
// longer, because a node that is preferred and cannot serve would take it again and again.
func (n *Node) giveUp(now time.Time, c *claim, g *guards) {
	n.tell(Warning, c.cfg.Name, "giving the claim up: its guarded services fail here", g.why)
	c.illFor = min(max(illAtLeast, 2*c.illFor), illAtMost)
	if n.cfg.Mode == arbiter.ModeVRRP {
		c.illFor = illAtLeast // nobody can say whether there is somebody else
	}
	c.ill, c.illTo = g.why, now.Add(c.illFor)
	c.guards.failed = 0
}

const (
	// steadyAfter is how long guarded services have to run until it is forgotten how often
	// they have failed before.
	steadyAfter = 30 * time.Second
	// illAtLeast and illAtMost bound how long a claim is left to others after its guarded
	// services have failed here.
	illAtLeast = 30 * time.Second
	illAtMost  = 15 * time.Minute
)

// unfit says why this node should not have the claim, for its guarded services do not
// run here; empty: they do, or nobody else could have it, and then an address without
// its service is better than none.
func (n *Node) unfit(now time.Time, c *claim) string {
	why := ""
	switch a := &c.always; {
	case now.Before(c.illTo):
		why = c.ill
	case c.cfg.GuardTries > 0 && a.failed >= c.cfg.GuardTries && !a.steady(now):
		why = a.why
	}
	if why == "" || !n.elsewhere(now, c) {
		return ""
	}
	return "its guarded services failed here: " + why
}

// elsewhere reports whether another node has the claim or would take it. In plain VRRP
// nobody can say, and it is taken for granted.
func (n *Node) elsewhere(now time.Time, c *claim) bool {
	if n.cfg.Mode == arbiter.ModeVRRP {
		return true
	}
	for _, name := range n.cfg.Peers {
		p := n.peers[name]
		cr, ok := p.report.Claim(c.cfg.Name)
		if ok && now.Sub(p.seen) <= n.fresh && !p.report.Leaving && (cr.Holds || cr.Barred == "") {
			return true
		}
	}
	return false
}
