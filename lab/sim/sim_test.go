package sim_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/sim"
)

var (
	seeds  = flag.Int("seeds", 500, "how many random stories to play")
	first  = flag.Uint64("seed", 1, "the first seed")
	length = flag.Duration("length", 10*time.Minute, "the length of a story, in simulated time")
	lines  = flag.Int("lines", 120, "how many lines of a failing story to print")
	find   = flag.String("find", "", "play only until a story breaks the rule of this name, whatever else happens")
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
func TestSimStories(t *testing.T) {
	if *find != "" {
		findStory(t, *find)
		return
	}
	begin := time.Now()
	played, failed := int64(0), int64(0)
	overlap, exposures := time.Duration(0), 0
	stories(0, func(seed uint64, w *sim.World) bool {
		played++
		overlap += w.Check.Overlap
		exposures += w.Check.Exposures
		if !w.Check.Fine() {
			failed++
			t.Error(failure(seed))
		}
		return failed < *maxFailures
	})
	t.Logf("%d seeds of %v, %.1f seeds per second; documented exposures: two guards for %v in all, two answers after a suspension %d times",
		played, *length, float64(played)/time.Since(begin).Seconds(), overlap.Round(time.Second), exposures)
}

// findStory plays stories until one breaks the rule, and fails if none does.
func findStory(t *testing.T, name string) {
	t.Helper()
	rule, ok := sim.RuleNamed(name)
	if !ok {
		t.Fatalf("no rule is called %q", name)
	}
	found, story := uint64(0), ""
	stories(rule, func(seed uint64, w *sim.World) bool {
		if !w.Check.Fine() && (found == 0 || seed < found) {
			found, story = seed, fmt.Sprintf("(%v): %v", w.Shape, w.Check.Problems)
		}
		return found == 0
	})
	if found == 0 {
		t.Fatalf("%d stories, and none breaks the rule %v", *seeds, rule)
	}
	fmt.Printf("found: seed %d %s\n", found, story)
}

// stories plays seeds on all processors, each judged by one rule or, if that is 0, by all, and
// hands them one after the other to done, until that says no. Those begun by then end.
func stories(rule sim.Rule, done func(seed uint64, w *sim.World) bool) {
	var work sync.WaitGroup
	var next atomic.Int64
	var mu sync.Mutex // over done
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(*seeds) {
					return
				}
				seed := *first + uint64(i)
				w := play(seed, rule, false)
				mu.Lock()
				if !done(seed, w) {
					next.Store(int64(*seeds))
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
}

// play plays the story of a seed, judged by one rule or, if that is 0, by all.
func play(seed uint64, rule sim.Rule, trace bool) *sim.World {
	w := sim.NewWorld(seed, sim.ShapeOf(seed))
	w.Check.Only = rule
	w.Trace, w.Detail = trace, *detail
	sim.Story{Length: *length}.Tell(w)
	w.Run(*length)
	return w
}

// failure plays a failing seed once more, with a timeline.
func failure(seed uint64) string {
	w := play(seed, 0, true)
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d (%v): %v\n", seed, w.Shape, w.Check.Problems)
	fmt.Fprintf(&b, "replay: go test ./lab/sim -run TestSimStories -seeds 1 -seed %d -length %v\n", seed, *length)
	b.WriteString(w.Timeline(*lines))
	return b.String()
}
