package sim_test

import (
	"testing"
	"time"

	"github.com/solovip/solovip/lab/sim"
)

// TestCheckers tells each checker histories: those that break its rule, and those that
// come close.
func TestCheckers(t *testing.T) {
	const second = time.Second
	claim := "VI_1"
	on := func(hosts ...string) []sim.Sighting {
		var seen []sim.Sighting
		for _, h := range hosts {
			seen = append(seen, sim.Sighting{Host: h, Answers: true})
		}
		return seen
	}
	guards := func(excused bool) []sim.Sighting {
		return []sim.Sighting{{Host: "n1", Guard: true, Excused: excused}, {Host: "n2", Guard: true}}
	}
	for _, c := range []struct {
		name string
		tell func(c *sim.Checker)
		want sim.Rule // 0: nothing is wrong
	}{
		{"nobody answers", func(c *sim.Checker) { c.See(0, claim, []sim.Sighting{{Host: "n1"}, {Host: "n2"}}) }, 0},
		{"one answers", func(c *sim.Checker) { c.See(0, claim, on("n1")) }, 0},
		{"two answer", func(c *sim.Checker) { c.See(0, claim, on("n1", "n2")) }, sim.OneHolder},
		{"two of three answer", func(c *sim.Checker) { c.See(0, claim, append(on("n1"), on("n3")...)) }, sim.OneHolder},
		{"two answer, one just woken", func(c *sim.Checker) {
			c.See(0, claim, []sim.Sighting{{Host: "n1", Answers: true, Exposed: true}, {Host: "n2", Answers: true}})
		}, 0},
		{"two answer beside one just woken", func(c *sim.Checker) {
			c.See(0, claim, append(on("n1", "n2"), sim.Sighting{Host: "n3", Answers: true, Exposed: true}))
		}, sim.OneHolder},
		{"one after the other", func(c *sim.Checker) { c.See(0, claim, on("n1")); c.See(1, claim, on("n2")) }, 0},
		{"two guards", func(c *sim.Checker) { c.See(0, claim, guards(false)) }, sim.OneGuard},
		{"two guards, one that nobody can stop", func(c *sim.Checker) { c.See(0, claim, guards(true)) }, 0},

		{"fenced, and has nothing", func(c *sim.Checker) { c.See(0, claim, []sim.Sighting{{Host: "n1", Fenced: true}}) }, 0},
		{"fenced, and answers", func(c *sim.Checker) { c.See(0, claim, []sim.Sighting{{Host: "n1", Fenced: true, Answers: true}}) }, sim.LetsGo},
		{"fenced, and its guard runs", func(c *sim.Checker) { c.See(0, claim, []sim.Sighting{{Host: "n1", Fenced: true, Guard: true}}) }, sim.LetsGo},

		{"tokens grow", func(c *sim.Checker) { c.Took(0, claim, "n1", 1, 0); c.Took(1, claim, "n2", 2, 1) }, 0},
		{"a token given twice", func(c *sim.Checker) { c.Took(0, claim, "n1", 1, 0); c.Took(1, claim, "n2", 1, 0) }, sim.TokensGrow},
		{"a token goes back", func(c *sim.Checker) { c.Took(0, claim, "n1", 5, 0); c.Took(1, claim, "n1", 4, 0) }, sim.TokensGrow},
		{"the node was told of a higher one", func(c *sim.Checker) { c.Took(0, claim, "n1", 5, 5) }, sim.TokensGrow},
		{"no token", func(c *sim.Checker) { c.Took(0, claim, "n1", 0, 0) }, sim.TokensGrow},
		{"the same token of another claim", func(c *sim.Checker) { c.Took(0, claim, "n1", 1, 0); c.Took(1, "VI_2", "n2", 1, 0) }, 0},
		{"all memory lost", func(c *sim.Checker) { c.Took(0, claim, "n1", 5, 0); c.Forgot(); c.Took(1, claim, "n2", 1, 0) }, 0},
		{"granted by a memory that was lost, and used after", func(c *sim.Checker) {
			c.Unrecorded(claim, 5)
			c.Took(0, claim, "n1", 5, 0)
			c.Took(1, claim, "n2", 5, 0)
		}, 0},
		{"granted by a memory that was lost, used after, and told", func(c *sim.Checker) {
			c.Unrecorded(claim, 5)
			c.Took(0, claim, "n1", 5, 0)
			c.Took(1, claim, "n2", 5, 5)
		}, sim.TokensGrow},
		{"granted after a memory was lost", func(c *sim.Checker) {
			c.Unrecorded(claim, 5)
			c.Took(0, claim, "n1", 6, 0)
			c.Took(1, claim, "n2", 6, 0)
		}, sim.TokensGrow},
		{"memory lost, and told all the same", func(c *sim.Checker) { c.Took(0, claim, "n1", 5, 0); c.Forgot(); c.Took(1, claim, "n2", 5, 5) }, sim.TokensGrow},

		{"an address behind the gate", func(c *sim.Checker) { c.Gated(0, claim, "n1", true) }, 0},
		{"an address that the gate does not know", func(c *sim.Checker) { c.Gated(0, claim, "n1", false) }, sim.GateFirst},

		{"released, all off", func(c *sim.Checker) { c.Released(0, claim, sim.Sighting{Host: "n1"}) }, 0},
		{"released with its address", func(c *sim.Checker) { c.Released(0, claim, sim.Sighting{Host: "n1", Answers: true}) }, sim.GuardsFirst},
		{"released with its guard", func(c *sim.Checker) { c.Released(0, claim, sim.Sighting{Host: "n1", Guard: true}) }, sim.GuardsFirst},

		{"says what is so", func(c *sim.Checker) { c.Denied(0, claim, sim.Sighting{Answers: true, Guard: true}, true, true) }, 0},
		{"denies its address", func(c *sim.Checker) { c.Denied(0, claim, sim.Sighting{Answers: true}, false, true) }, sim.TrueWord},
		{"denies its guard", func(c *sim.Checker) { c.Denied(0, claim, sim.Sighting{Guard: true}, true, false) }, sim.TrueWord},
		{"says more than is so", func(c *sim.Checker) { c.Denied(0, claim, sim.Sighting{}, true, true) }, 0},

		{"lets go in time", func(c *sim.Checker) { c.Kept(0, claim, "n1", "address", second, second) }, 0},
		{"keeps it for too long", func(c *sim.Checker) { c.Kept(0, claim, "n1", "address", second+1, second) }, sim.LetsGo},
		{"fenced, all off", func(c *sim.Checker) { c.See(0, claim, []sim.Sighting{{Host: "n1", Fenced: true}}) }, 0},
		{"fenced with its address", func(c *sim.Checker) { c.See(0, claim, []sim.Sighting{{Host: "n1", Fenced: true, Answers: true}}) }, sim.LetsGo},
		{"fenced with its guard", func(c *sim.Checker) { c.See(0, claim, []sim.Sighting{{Host: "n1", Fenced: true, Guard: true}}) }, sim.LetsGo},
		{"serves after its fence", func(c *sim.Checker) { c.Served(0, claim, "n1", false) }, 0},
		{"serves while it is fenced", func(c *sim.Checker) { c.Served(0, claim, "n1", true) }, sim.LetsGo},

		{"promises", func(c *sim.Checker) { c.Promised(0, claim, "n1", "n2", false) }, 0},
		{"promises in doubt", func(c *sim.Checker) { c.Promised(0, claim, "n1", "n2", true) }, sim.BoundPromise},

		{"loses what it could keep", func(c *sim.Checker) { c.Lost(0, claim, "n1", second, second, "") }, sim.KeepsHealthy},
		{"loses it soon after a fault", func(c *sim.Checker) { c.Lost(0, claim, "n1", second-1, second, "") }, 0},
		{"hands it over", func(c *sim.Checker) { c.Lost(0, claim, "n1", second, second, "handover") }, 0},

		{"one holds", func(c *sim.Checker) { c.Held(0, claim, []string{"n1"}, "", second) }, 0},
		{"nobody holds", func(c *sim.Checker) { c.Held(0, claim, nil, "", second) }, sim.Live},
		{"two hold", func(c *sim.Checker) { c.Held(0, claim, []string{"n1", "n2"}, "", second) }, sim.Live},
		{"another holds", func(c *sim.Checker) { c.Held(0, claim, []string{"n2"}, "n1", second) }, sim.Live},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := sim.NewChecker(true)
			c.tell(check)
			got := sim.Rule(0)
			if len(check.Problems) > 0 {
				got = check.Problems[0].Rule
			}
			if got != c.want {
				t.Errorf("broken rule %v, want %v: %v", got, c.want, check.Problems)
			}
		})
	}
}

func TestCheckerMeasuresWhatIsExcused(t *testing.T) {
	check := sim.NewChecker(true)
	both := []sim.Sighting{{Host: "n1", Guard: true, Excused: true}, {Host: "n2", Guard: true}}
	check.See(1*time.Second, "VI_1", both)
	check.See(3*time.Second, "VI_1", both)
	check.See(4*time.Second, "VI_1", both[1:])
	check.See(9*time.Second, "VI_1", []sim.Sighting{{Host: "n1", Answers: true, Exposed: true}, {Host: "n2", Answers: true}})
	if !check.Fine() || check.Overlap != 3*time.Second || check.Exposures != 1 {
		t.Errorf("overlap %v, want 3s; exposures %d, want 1; problems %v", check.Overlap, check.Exposures, check.Problems)
	}
}

// TestCheckerWithoutPermission: plain VRRP has two holders, as keepalived has.
func TestCheckerWithoutPermission(t *testing.T) {
	check := sim.NewChecker(false)
	check.See(0, "VI_1", []sim.Sighting{{Host: "n1", Answers: true, Guard: true}, {Host: "n2", Answers: true, Guard: true}})
	if !check.Fine() {
		t.Error(check.Problems)
	}
}

func TestCheckerJudgesByOneRule(t *testing.T) {
	check := sim.NewChecker(true)
	check.Only = sim.OneGuard
	check.Held(0, "VI_1", nil, "", time.Second)
	check.See(0, "VI_1", []sim.Sighting{{Host: "n1", Guard: true}, {Host: "n2", Guard: true}})
	if len(check.Problems) != 1 || check.Problems[0].Rule != sim.OneGuard {
		t.Errorf("want the two guards alone, got %v", check.Problems)
	}
}

func TestRuleNames(t *testing.T) {
	for r := sim.OneHolder; r <= sim.NoSpin; r++ {
		if named, ok := sim.RuleNamed(r.String()); !ok || named != r {
			t.Errorf("%v is not found by its name", r)
		}
	}
	if r, ok := sim.RuleNamed("none"); ok {
		t.Errorf("found %v", r)
	}
}
