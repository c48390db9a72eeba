package sim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/lab/sim"
)

// stage is a world of two nodes in which one thing is tried at a time.
type stage struct {
	*sim.World
	t *testing.T
}

// started returns a cluster whose first node holds the claim.
func started(t *testing.T, mode arbiter.Mode) stage {
	t.Helper()
	return startedWith(t, mode, 2)
}

func startedWith(t *testing.T, mode arbiter.Mode, nodes int) stage {
	t.Helper()
	shape := sim.Plain(mode, nodes)
	shape.Voter = mode == arbiter.ModeLease || mode == arbiter.ModeQuorum
	s := stage{sim.NewWorld(7, shape), t}
	s.Trace = true
	for _, h := range s.Hosts {
		h.Start()
	}
	s.await(20*time.Second, "n1")
	return s
}

// await lets time pass until just these hosts answer for the claim.
func (s stage) await(limit time.Duration, holders ...string) {
	s.t.Helper()
	ok := s.RunUntil(limit, func() bool { return slices.Equal(s.Holders(0), holders) })
	if !ok || !s.Check.Fine() {
		s.t.Fatalf("want %v to hold within %v; holders %v, problems %v\n%s", holders, limit, s.Holders(0), s.Check.Problems, s.Timeline(80))
	}
}

// steady fails if the holder changes while the time passes.
func (s stage) steady(length time.Duration, holder string) {
	s.t.Helper()
	for end := s.Now + length; s.Now < end; {
		s.Run(50 * time.Millisecond)
		if !slices.Equal(s.Holders(0), []string{holder}) || !s.Check.Fine() {
			s.t.Fatalf("want %s to hold all the time, got %v, problems %v\n%s", holder, s.Holders(0), s.Check.Problems, s.Timeline(80))
		}
	}
}

// cutOff cuts n1 off from everybody.
func (s stage) cutOff() {
	for _, o := range []string{"n2", "w1"} {
		s.CutBoth("n1", o, sim.All()...)
	}
}

func each(t *testing.T, modes []arbiter.Mode, test func(s stage)) {
	t.Helper()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) { test(started(t, mode)) })
	}
}

var (
	permitting = []arbiter.Mode{arbiter.ModeQuorum, arbiter.ModeLease}
	clustered  = []arbiter.Mode{arbiter.ModeVeto, arbiter.ModeQuorum, arbiter.ModeLease}
	allModes   = []arbiter.Mode{arbiter.ModeVRRP, arbiter.ModeVeto, arbiter.ModeQuorum, arbiter.ModeLease}
)

func TestSimBlockedAdvertsMoveNothing(t *testing.T) {
	each(t, clustered, func(s stage) {
		s.CutBoth("n1", "n2", sim.VRRP)
		s.steady(30*time.Second, "n1")
	})
}

func TestSimPlainVRRPSplitsWithoutAdverts(t *testing.T) {
	s := started(t, arbiter.ModeVRRP)
	s.CutBoth("n1", "n2", sim.VRRP)
	s.await(5*time.Second, "n1", "n2") // as in keepalived
	s.Heal()
	s.await(3*time.Second, "n1")
}

func TestSimPeersCut(t *testing.T) {
	each(t, permitting, func(s stage) {
		s.CutBoth("n1", "n2", sim.VRRP, sim.Mesh)
		s.steady(30*time.Second, "n1")
	})
}

func TestSimIsolatedMasterLetsGoFirst(t *testing.T) {
	each(t, permitting, func(s stage) {
		s.Run(10 * time.Second)
		s.cutOff()
		s.await(5*time.Second, "n2")
		s.Heal()
		s.await(15*time.Second, "n1")
	})
}

func TestSimPowerOffIsNoSlowerThanVRRP(t *testing.T) {
	each(t, permitting, func(s stage) {
		s.Run(10 * time.Second)
		s.Host("n1").Crash()
		s.await(3700*time.Millisecond, "n2")
	})
}

func TestSimOrderlyStopHandsOverAtOnce(t *testing.T) {
	each(t, clustered, func(s stage) {
		s.Run(10 * time.Second)
		s.Host("n1").Stop()
		// The guarded service of the simulation takes up to 2 s to stop.
		s.await(2200*time.Millisecond, "n2")
	})
}

func TestSimFrozenDaemonIsSilencedByItsKernel(t *testing.T) {
	each(t, permitting, func(s stage) {
		s.Run(10 * time.Second)
		s.Host("n1").Freeze(time.Minute)
		s.await(5*time.Second, "n2")
		s.Run(time.Minute)
		s.await(15*time.Second, "n1")
	})
}

func TestSimKilledDaemonIsReplaced(t *testing.T) {
	each(t, permitting, func(s stage) {
		s.Run(10 * time.Second)
		s.Host("n1").Kill()
		s.await(20*time.Second, "n2")
		s.await(20*time.Second, "n1")
	})
}

func TestSimWitnessStoppedMovesNothing(t *testing.T) {
	s := started(t, arbiter.ModeLease)
	s.Run(5 * time.Second)
	s.Store.Switch(false)
	s.steady(time.Minute, "n1")
	s.Store.Switch(true)
	s.steady(time.Minute, "n1")
}

func TestSimReturnedNodePreemptsByHandover(t *testing.T) {
	each(t, allModes, func(s stage) {
		s.Host("n1").Crash()
		s.await(8*time.Second, "n2")
		s.Host("n1").Start()
		s.await(12*time.Second, "n1")
	})
}

func TestSimTakenByPromisesKeptByTheWitness(t *testing.T) {
	s := started(t, arbiter.ModeLease)
	s.Host("n1").Crash()
	s.await(5*time.Second, "n2")
	s.Run(5 * time.Second)
	s.Store.Switch(false)
	s.Run(5 * time.Second)
	s.Host("n1").Start()
	s.await(15*time.Second, "n1")
	s.Store.Switch(true)
	s.steady(20*time.Second, "n1")
}

func TestSimPeerStoppedDuringWitnessOutageMovesNothing(t *testing.T) {
	s := started(t, arbiter.ModeLease)
	s.Run(5 * time.Second)
	s.Store.Switch(false)
	s.Run(10 * time.Second)
	s.Host("n2").Stop()
	s.steady(time.Minute, "n1")
	s.Host("n2").Start()
	s.steady(30*time.Second, "n1")
	s.Store.Switch(true)
	s.steady(30*time.Second, "n1")
	s.Host("n1").Crash()
	s.await(5*time.Second, "n2") // it is a full peer again
}

func TestSimPeerThatLeftTakesNothingUnseen(t *testing.T) {
	s := started(t, arbiter.ModeLease)
	s.Run(5 * time.Second)
	s.Store.Switch(false)
	s.Run(10 * time.Second)
	s.Host("n2").Stop()
	s.Run(10 * time.Second)
	// n1 lives on the promise that n2 left. It is cut off from all; n2 comes back and
	// reaches the witness, which knows of no renewal for long.
	s.cutOff()
	s.Store.Switch(true)
	s.Host("n2").Start()
	s.steady(time.Minute, "n1")
	s.Heal()
	s.steady(20*time.Second, "n1")
}
