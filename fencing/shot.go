package fencing

import (
	"time"

	"github.com/solovip/solovip/arbiter"
)

// The times of a shot.
const (
	// shotPause is how long a node that could not be switched off is left alone.
	shotPause = 30 * time.Second
	// shotCounts is how long it counts that a node was shown to be switched off: somebody may
	// switch it on again.
	shotCounts = time.Minute
)

// Shot is the switching off of one other node by an agent: a wait of a head start, a run
// of the agents, and what came of it. Whatever is heard of the node afterwards ends it. The
// zero Shot has not begun.
type Shot struct {
	began time.Time // the wait; zero: not begun
	due   time.Time // the end of the wait
	runs  bool
	done  time.Time // when the agents answered
	err   string    // why the node is not shown to be off
}

// Begin begins the wait, unless there is one. wait is the head start of the other node, if
// it would shoot this one, plus what chance adds.
func (s *Shot) Begin(now time.Time, wait time.Duration) (begun bool) {
	if !s.began.IsZero() {
		return false
	}
	*s = Shot{began: now, due: now.Add(wait)}
	return true
}

// Fire reports, once, that the wait is over and the agents are to run.
func (s *Shot) Fire(now time.Time) bool {
	if s.began.IsZero() || s.runs || !s.done.IsZero() || now.Before(s.due) {
		return false
	}
	s.runs = true
	return true
}

// Answer takes in what the agents have come to: empty, the node is shown to be switched off.
func (s *Shot) Answer(now time.Time, err string) {
	if s.runs {
		s.runs, s.done, s.err = false, now, err
	}
}

// Look returns whether the node is shown to be switched off: Unknown while that is not
// known yet. heard is when the node was last heard by any path: what it says itself voids
// what an agent has said before, and a wait, but does not call an agent back.
func (s *Shot) Look(now, heard time.Time) arbiter.Tri {
	switch {
	case s.began.IsZero():
	case s.runs:
	case s.done.IsZero():
		if heard.After(s.began) {
			*s = Shot{}
		}
	case heard.After(s.done), s.err == "" && now.Sub(s.done) > shotCounts, s.err != "" && now.Sub(s.done) > shotPause:
		*s = Shot{}
	case s.err == "":
		return arbiter.Yes
	default:
		return arbiter.No
	}
	return arbiter.Unknown
}

// Due returns when the shot wants to be looked at again if nothing happens; zero: never.
func (s *Shot) Due() time.Time {
	switch {
	case s.began.IsZero() || s.runs:
		return time.Time{}
	case s.done.IsZero():
		return s.due
	case s.err != "":
		return s.done.Add(shotPause + 1)
	}
	return s.done.Add(shotCounts + 1)
}

// String says how far the shot is.
func (s *Shot) String() string {
	switch {
	case s.began.IsZero():
		return "no agent has run"
	case s.runs:
		return "an agent is switching it off"
	case s.done.IsZero():
		return "an agent is about to switch it off"
	case s.err == "":
		return "it is shown to be switched off"
	}
	return "it could not be switched off: " + s.err
}

// At returns when the last thing of the shot happened.
func (s *Shot) At() time.Time {
	if s.done.IsZero() {
		return s.began
	}
	return s.done
}
