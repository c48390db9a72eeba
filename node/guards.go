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
	guardsStuck // could not be shown to be stopped
)

// String returns the state as the status shows it.
func (s guardState) String() string {
	names := [...]string{"stopped", "starting", "running", "stopping", "cannot be shown to be stopped"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("guardState(%d)", uint8(s))
}

// guards is a claim's guarded services of one kind, which start and stop together.
type guards struct {
	state guardState
	retry time.Time // a failed start or stop is tried again then
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
		g.state = guardsOn
	case ev.On && ev.Err != nil && g.state == guardsOn:
		// One of them has ended by itself: stop what is left, and start anew.
		g.state, g.retry = guardsStuck, now.Add(retryEvery)
		return "a guarded service has ended by itself"
	case ev.On && g.state == guardsStarting:
		// Some of them may run: stop before the next try.
		g.state, g.retry = guardsStuck, now.Add(retryEvery)
		return "the guarded services cannot be started"
	case !ev.On && g.state == guardsStopping && ev.Err == nil:
		g.state = guardsOff
	case !ev.On && g.state == guardsStopping:
		g.state, g.retry = guardsStuck, now.Add(retryEvery)
		return "the guarded services cannot be shown to be stopped"
	}
	return ""
}

// due returns when a failed stop is tried again; zero: nothing has failed.
func (g *guards) due() time.Time {
	if g.state == guardsStuck {
		return g.retry
	}
	return time.Time{}
}

// settleGuards starts and stops the guarded services as the claim's phase wants it.
func (n *Node) settleGuards(now time.Time, c *claim) {
	if c.cfg.Guarded {
		// Once started they stay: the word that let them start early may age meanwhile.
		run := c.phase == Held && (c.guards.state != guardsOff || n.guardsMayStart(now, c))
		if run {
			c.guardsAt = time.Time{} // nobody else's run: whoever comes next need not wait
		}
		c.guards.steer(n, now, StartGuards{Claim: c.cfg.Name, Token: c.token}, run, c.forced)
	}
	if c.cfg.GuardedAlways {
		run := !now.Before(c.fenced)
		c.always.steer(n, now, StartGuards{Claim: c.cfg.Name, Always: true, Token: c.token}, run, true)
	}
}

// waitForGuards sets when the guards may start. A holder that let go in order has
// stopped them before; of one that ran out of permission nobody knows, so it gets the
// time its guards need at the most, unless it says itself that they are off. Who has
// promised holds nothing, and its guards are off: promises of all others leave no one,
// those of a majority leave somebody unknown.
func (c *claim) waitForGuards(n *Node, now time.Time) {
	c.guardsAt, c.former = now, ""
	switch {
	case !c.cfg.Guarded:
		return
	case n.lease != nil && n.leased(now, c):
		var unreleased bool
		c.former, unreleased = n.lease.TakenFrom(c.cfg.Name)
		limit := n.cfg.Timing.Wait + witness.WaitFor(c.cfg.GuardLimit, 0)
		switch last := n.promises.Last(c.cfg.Name); {
		case unreleased:
		case last != "":
			c.former = last // it may have held by promises, of which the store knows nothing
		case now.Sub(n.started) < limit:
			c.former = "" // a promise of a former start is forgotten
		default:
			return
		}
	case n.cfg.Mode != arbiter.ModeQuorum || c.offeredNow(now):
		return
	}
	c.guardsAt = now.Add(witness.WaitFor(c.cfg.GuardLimit, 0))
}

// guardsMayStart reports whether no other node can be running them.
func (n *Node) guardsMayStart(now time.Time, c *claim) bool {
	if !now.Before(c.guardsAt) {
		return true
	}
	for _, name := range n.cfg.Peers {
		p := n.peers[name]
		cr, ok := p.report.Claim(c.cfg.Name)
		said := ok && now.Sub(p.seen) <= n.fresh && p.seen.After(c.since) && !cr.Holds && !cr.Guards
		if !said && (c.former == "" || c.former == name) {
			return false
		}
	}
	return true
}

func (n *Node) guardsDone(now time.Time, c *claim, ev GuardsDone) {
	g := &c.guards
	if ev.Always {
		g = &c.always
	}
	if text := g.done(now, ev); text != "" {
		n.tell(Warning, c.cfg.Name, text, ev.Err.Error())
	}
}
