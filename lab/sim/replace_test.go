package sim_test

import (
	"testing"
	"time"
)

// A program that is started anew in time keeps what it holds, in whatever mode, also while
// the witness is silent; and goes on to renew what it has kept.
func TestSimReplacedProgramKeepsTheClaim(t *testing.T) {
	each(t, allModes, func(s stage) {
		s.Run(10 * time.Second)
		before := s.Timeline(1)
		s.Host("n1").Replace(300 * time.Millisecond)
		if s.Timeline(1) == before {
			s.t.Fatal("it was not replaced")
		}
		s.steady(10*time.Second, "n1")
		s.Store.Switch(false)
		s.Run(time.Second)
		s.Host("n1").Replace(300 * time.Millisecond)
		s.steady(10*time.Second, "n1")
	})
}

// One that is not back in time gives it away, and takes nothing but its turn when it is back.
func TestSimProgramReplacedTooLateGivesTheClaimAway(t *testing.T) {
	each(t, permitting, func(s stage) {
		s.Run(10 * time.Second)
		s.Host("n1").Replace(8 * time.Second)
		s.await(5*time.Second, "n2")
		s.await(20*time.Second, "n1")
	})
}

// A worker that is killed and replaced at once has released what the other held: the peer
// waits for nothing.
func TestSimKilledWorkerIsReleasedAtOnce(t *testing.T) {
	each(t, clustered, func(s stage) {
		s.Run(10 * time.Second)
		s.Host("n1").Kill()
		s.Host("n1").Start()
		s.await(800*time.Millisecond, "n2") // of which its service may take 500 to die
	})
}
