package sim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/lab/sim"
)

// What stories have found is told here once more, step by step. A seed would show it only as
// long as stories are drawn in the same way; these stay.

// Of candidates that ask for promises at the same time the best one has to get them.
func TestSimCandidatesDoNotDuel(t *testing.T) {
	each(t, permitting, func(s stage) {
		s = startedWith(s.t, s.Shape.Mode, 5)
		s.Run(10 * time.Second)
		if s.Shape.Mode == arbiter.ModeLease {
			s.Store.Switch(false)
			s.steady(5*time.Second, "n1")
			s.Host("n1").Stop() // it leaves its promise: the others can do without it
		} else {
			s.Host("n1").Crash()
		}
		s.await(6*time.Second, "n2")
		s.steady(20*time.Second, "n2")
	})
}

// A node that was away when tokens were given must not give them again.
func TestSimTokensGrowBeyondTheOneWhoKnew(t *testing.T) {
	each(t, permitting, func(s stage) {
		s.Host("n2").Crash()
		for range 3 {
			s.Run(5 * time.Second)
			s.Host("n1").Kill()
			s.Run(10 * time.Second)
		}
		s.await(15*time.Second, "n1")
		s.Host("n1").Crash()
		s.Host("n2").Start()
		s.await(20*time.Second, "n2") // the checker knows all tokens
	})
}

// A witness that is put back to an older state, in which another held the claim, moves nothing:
// not while the holder lives, and not sooner than without that when it dies.
func TestSimRestoredWitnessMovesNothing(t *testing.T) {
	s := started(t, arbiter.ModeLease)
	s.Host("n1").Crash()
	s.await(8*time.Second, "n2")
	s.Run(5 * time.Second)
	restore := s.Store.Backup()
	s.Host("n1").Start()
	s.await(15*time.Second, "n1")
	s.Run(10 * time.Second)
	restore()
	s.steady(30*time.Second, "n1")
	s.Host("n1").Crash()
	s.await(8*time.Second, "n2")
}

// The same with an empty one; the tokens go on all the same.
func TestSimWipedWitnessMovesNothing(t *testing.T) {
	s := started(t, arbiter.ModeLease)
	for range 3 {
		s.Run(10 * time.Second)
		s.Store.Wipe()
		s.steady(20*time.Second, "n1")
	}
	s.Host("n1").Crash()
	s.await(10*time.Second, "n2")
}

// A host that its hypervisor pauses believes, when it goes on, that it still has what it
// had. It learns of its successor with its next renewal, and has let go after its permission at
// the latest, even if it reaches nobody.
func TestSimPausedHostLearnsOfItsSuccessor(t *testing.T) {
	for _, reaches := range []bool{true, false} {
		each(t, permitting, func(s stage) {
			s.Run(10 * time.Second)
			wakes := s.Now + 20*time.Second
			s.Host("n1").Pause(wakes - s.Now)
			s.await(8*time.Second, "n2")
			if !reaches {
				s.cutOff()
			}
			s.Run(wakes - s.Now + time.Millisecond)
			limit := s.Shape.Timing.Hold + s.Shape.Timing.Late
			ok := s.RunUntil(limit, func() bool { return !slices.Contains(s.Holders(0), "n1") })
			if !ok || !s.Check.Fine() {
				s.t.Fatalf("n1 has not let go within %v: %v, problems %v\n%s", limit, s.Holders(0), s.Check.Problems, s.Timeline(60))
			}
			if s.Check.Exposures == 0 {
				s.t.Fatalf("nothing was exposed: the pause is no pause\n%s", s.Timeline(60))
			}
		})
	}
}

// A daemon that is stopped for long just before one of the effects of a take brings about none
// of the later ones when it goes on: least of all a guard beside its successor's.
func TestSimTakeStoppedBeforeEachEffect(t *testing.T) {
	each(t, permitting, func(s stage) {
		for effects := 1; effects <= 12; effects++ {
			s = startedWith(s.t, s.Shape.Mode, 2)
			s.Host("n1").Crash()
			s.await(8*time.Second, "n2")
			s.Host("n1").Start()
			s.Host("n1").Stall(effects, 15*time.Second)
			s.Run(time.Minute)
			s.await(20*time.Second, "n1")
		}
	})
}

// Two nodes in veto mode whose timers run out at one instant must not both take what each has
// said that it does not hold.
func TestSimVetoNodesDoNotMeet(t *testing.T) {
	for apart := time.Duration(0); apart <= 100*time.Millisecond; apart += 500 * time.Microsecond {
		s := stage{sim.NewWorld(uint64(apart), sim.Plain(arbiter.ModeVeto, 2)), t}
		s.Trace = true
		s.Host("n2").Start() // the less preferred one waits 39 ms longer
		s.Run(apart)
		s.Host("n1").Start()
		s.Run(3 * time.Second)
		for len(s.Holders(0)) == 0 && s.Now < 5*time.Second {
			s.Run(time.Millisecond)
		}
		for range 100 {
			if len(s.Holders(0)) > 1 {
				s.t.Fatalf("started %v apart both hold\n%s", apart, s.Timeline(80))
			}
			s.Run(time.Millisecond)
		}
		s.await(5*time.Second, "n1")
	}
}
