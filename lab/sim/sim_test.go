package sim_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/lab/sim"
)

var (
	seeds = flag.Int("seeds", 300, "how many random stories to play")
	first = flag.Uint64("seed", 1, "the first seed")
)

// bound is within what a healthy cluster has a holder again after the last fault: a
// lease's wait, a renewal, VRRP's own timers, and a guard that takes its time.
const bound = 12 * time.Second

// TestSimStories plays random faults on a lease cluster: never two holders, never two
// guarded services, and a holder again once the faults are over.
func TestSimStories(t *testing.T) {
	begin := time.Now()
	for i := range *seeds {
		play(t, *first+uint64(i))
		if t.Failed() {
			return
		}
	}
	t.Logf("%d seeds, %.0f seeds per second", *seeds, float64(*seeds)/time.Since(begin).Seconds())
}

func play(t *testing.T, seed uint64) {
	t.Helper()
	w := sim.NewWorld(seed, arbiter.ModeLease, 2+int(seed%2))
	sim.Story{Length: 2 * time.Minute}.Tell(w)
	w.Run(2 * time.Minute)
	if len(w.Problems) == 0 {
		sim.Calm(w)
		if !w.RunUntil(bound, func() bool { return len(w.Holders()) == 1 }) {
			w.Problems = append(w.Problems, fmt.Sprintf("no holder within %v of the last fault", bound))
		}
	}
	if len(w.Problems) > 0 {
		t.Errorf("seed %d: %v\nreplay: go test ./lab/sim -run TestSimStories -seeds 1 -seed %d\n%s", seed, w.Problems, seed, w.Timeline(120))
	}
}

func started(t *testing.T, mode arbiter.Mode) *sim.World {
	t.Helper()
	w := sim.NewWorld(7, mode, 2)
	for _, h := range w.Hosts {
		h.Start()
	}
	await(t, w, 8*time.Second, "n1 holds", func() bool { return w.Host("n1").Holds() })
	return w
}

func await(t *testing.T, w *sim.World, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if !w.RunUntil(limit, holds) || len(w.Problems) > 0 {
		t.Fatalf("%s: not within %v; holders %v, problems %v\n%s", what, limit, w.Holders(), w.Problems, w.Timeline(80))
	}
}

// steady fails if the holder changes while the time passes.
func steady(t *testing.T, w *sim.World, length time.Duration, holder string) {
	t.Helper()
	for end := w.Now.Add(length); w.Now.Before(end); {
		w.Run(100 * time.Millisecond)
		if h := w.Holders(); len(h) != 1 || h[0] != holder || len(w.Problems) > 0 {
			t.Fatalf("want %s to hold all the time, got %v, problems %v\n%s", holder, h, w.Problems, w.Timeline(80))
		}
	}
}

func TestSimBlockedAdvertsMoveNothing(t *testing.T) {
	for _, mode := range []arbiter.Mode{arbiter.ModeVeto, arbiter.ModeLease} {
		t.Run(mode.String(), func(t *testing.T) {
			w := started(t, mode)
			w.CutBoth("n1", "n2", sim.VRRP)
			steady(t, w, 30*time.Second, "n1")
		})
	}
}

func TestSimPlainVRRPSplitsWithoutAdverts(t *testing.T) {
	w := started(t, arbiter.ModeVRRP)
	w.CutBoth("n1", "n2", sim.VRRP)
	await(t, w, 5*time.Second, "two holders, as in keepalived", func() bool { return len(w.Holders()) == 2 })
	w.Heal()
	await(t, w, 3*time.Second, "n1 alone again", func() bool { h := w.Holders(); return len(h) == 1 && h[0] == "n1" })
}

func TestSimPeersCut(t *testing.T) {
	w := started(t, arbiter.ModeLease)
	w.CutBoth("n1", "n2", sim.VRRP, sim.Mesh)
	steady(t, w, 30*time.Second, "n1")
}

func TestSimIsolatedMasterLetsGoFirst(t *testing.T) {
	w := started(t, arbiter.ModeLease)
	for _, o := range []string{"n2", "w1"} {
		w.CutBoth("n1", o, sim.All()...)
	}
	await(t, w, 4*time.Second, "n2 holds", func() bool { return w.Host("n2").Holds() })
	w.Heal()
	await(t, w, 10*time.Second, "n1 has it back", func() bool { return w.Host("n1").Holds() })
}

func TestSimPowerOffIsNoSlowerThanVRRP(t *testing.T) {
	w := started(t, arbiter.ModeLease)
	w.Run(10 * time.Second)
	w.Host("n1").Crash()
	await(t, w, 3700*time.Millisecond, "n2 holds", func() bool { return w.Host("n2").Holds() })
}

func TestSimOrderlyStopHandsOverAtOnce(t *testing.T) {
	for _, mode := range []arbiter.Mode{arbiter.ModeVeto, arbiter.ModeLease} {
		t.Run(mode.String(), func(t *testing.T) {
			w := started(t, mode)
			w.Run(10 * time.Second)
			w.Host("n1").Stop()
			// The guarded service of the simulation takes up to 2 s to stop.
			await(t, w, 2200*time.Millisecond, "n2 holds", func() bool { return w.Host("n2").Holds() })
		})
	}
}

func TestSimWitnessStoppedMovesNothing(t *testing.T) {
	w := started(t, arbiter.ModeLease)
	w.Run(5 * time.Second)
	w.Store.Up = false
	steady(t, w, time.Minute, "n1")
	w.Store.Up = true
	steady(t, w, time.Minute, "n1")
}

func TestSimReturnedNodePreemptsByHandover(t *testing.T) {
	for _, mode := range []arbiter.Mode{arbiter.ModeVRRP, arbiter.ModeVeto, arbiter.ModeLease} {
		t.Run(mode.String(), func(t *testing.T) {
			w := started(t, mode)
			w.Host("n1").Crash()
			await(t, w, 5*time.Second, "n2 holds", func() bool { return w.Host("n2").Holds() })
			w.Host("n1").Start()
			await(t, w, 10*time.Second, "n1 has it back", func() bool { h := w.Holders(); return len(h) == 1 && h[0] == "n1" })
		})
	}
}

func TestSimPeerStoppedDuringWitnessOutageMovesNothing(t *testing.T) {
	w := started(t, arbiter.ModeLease)
	w.Run(5 * time.Second)
	w.Store.Up = false
	w.Run(10 * time.Second)
	w.Host("n2").Stop()
	steady(t, w, time.Minute, "n1")
	w.Host("n2").Start()
	steady(t, w, 30*time.Second, "n1")
	w.Store.Up = true
	steady(t, w, 30*time.Second, "n1")
	w.Host("n1").Crash()
	await(t, w, 5*time.Second, "n2 is a full peer again", func() bool { return w.Host("n2").Holds() })
}

func TestSimPeerThatLeftTakesNothingUnseen(t *testing.T) {
	w := started(t, arbiter.ModeLease)
	w.Run(5 * time.Second)
	w.Store.Up = false
	w.Run(10 * time.Second)
	w.Host("n2").Stop()
	w.Run(10 * time.Second)
	// n1 lives on the promise that n2 left. It is cut off from all; n2 comes back and
	// reaches the witness, which knows of no renewal for long.
	for _, o := range []string{"n2", "w1"} {
		w.CutBoth("n1", o, sim.All()...)
	}
	w.Store.Up = true
	w.Host("n2").Start()
	steady(t, w, time.Minute, "n1")
	w.Heal()
	steady(t, w, 20*time.Second, "n1")
}
