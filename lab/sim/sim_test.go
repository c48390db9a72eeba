package sim_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/sim"
)

var (
	seeds  = flag.Int("seeds", 60, "how many random stories to play")
	strict = flag.Bool("strict", false, "fail on every story in which a claim is without a holder for too long, too")
	first  = flag.Uint64("seed", 1, "the first seed")
	length = flag.Duration("length", 10*time.Minute, "the length of a story, in simulated time")
	lines  = flag.Int("lines", 120, "how many lines of a failing story to print")
	detail = flag.Duration("detail", 0, "from when on these lines have every event and action too, in simulated time")
)

var maxFailures = flag.Int64("failures", 3, "how many failing seeds to tell before the run ends")

// TestMain lets garbage grow: a world is small, and makes a lot of it.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// TestSimStories plays random faults on random clusters: never two holders, never two
// guarded services, and a holder again once the faults are over.
//
// The first of these holds in every story. The others do not yet: docs/safety.md tells
// what is open. Without -strict such stories are counted and told, and fail the test when
// they are more than one in openShare.
func TestSimStories(t *testing.T) {
	begin := time.Now()
	var next, played, failed, open atomic.Int64
	var mu sync.Mutex
	var overlap time.Duration
	exposures := 0
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(*seeds) || failed.Load() >= *maxFailures {
					return
				}
				w := play(*first+uint64(i), false)
				played.Add(1)
				mu.Lock()
				overlap += w.Check.Overlap
				exposures += w.Check.Exposures
				mu.Unlock()
				switch {
				case w.Check.Fine():
				case *strict || split(w.Check.Problems):
					failed.Add(1)
					t.Error(failure(*first + uint64(i)))
				default:
					open.Add(1)
					t.Logf("open: seed %d (%v): %v", *first+uint64(i), w.Shape, w.Check.Problems)
				}
			}
		})
	}
	work.Wait()
	if open.Load()*openShare > played.Load() {
		t.Errorf("%d of %d stories show a fault: more than one in %d", open.Load(), played.Load(), openShare)
	}
	t.Logf("%d seeds of %v, %.1f seeds per second; documented exposures: two guards for %v in all, two answers after a suspension %d times",
		played.Load(), *length, float64(played.Load())/time.Since(begin).Seconds(), overlap.Round(time.Second), exposures)
}

// openShare is the part of stories, one in so many, that may show what is open.
const openShare = 3

// split reports whether two nodes answered for a claim at one instant.
func split(problems []sim.Problem) bool {
	return slices.ContainsFunc(problems, func(p sim.Problem) bool { return p.Rule == sim.OneHolder })
}

// play plays the story of a seed.
func play(seed uint64, trace bool) *sim.World {
	w := sim.NewWorld(seed, sim.ShapeOf(seed))
	w.Trace, w.Detail = trace, *detail
	sim.Story{Length: *length}.Tell(w)
	w.Run(*length)
	return w
}

// failure plays a failing seed once more, with a timeline.
func failure(seed uint64) string {
	w := play(seed, true)
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d (%v): %v\n", seed, w.Shape, w.Check.Problems)
	fmt.Fprintf(&b, "replay: go test ./lab/sim -run TestSimStories -seeds 1 -seed %d -length %v\n", seed, *length)
	b.WriteString(w.Timeline(*lines))
	return b.String()
}
