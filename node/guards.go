package node

import (
	"fmt"
	"time"
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
