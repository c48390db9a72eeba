package report

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/solovip/solovip/lab/scenario"
)

// group is the repetitions of one scenario on one system.
type group struct {
	scenario string
	system   scenario.System
	runs     []*Run
}

// groups returns the repetitions, in the order in which the runs name them first.
func groups(runs []*Run) []group {
	var found []group
	for _, r := range runs {
		i := slices.IndexFunc(found, func(g group) bool { return g.scenario == r.Scenario && g.system == r.System })
		if i < 0 {
			i, found = len(found), append(found, group{scenario: r.Scenario, system: r.System})
		}
		found[i].runs = append(found[i].runs, r)
	}
	return found
}

// takeovers returns how long the first take-over of each run took, sorted.
func (g group) takeovers() []time.Duration {
	var times []time.Duration
	for _, r := range g.runs {
		if f := r.Verdict.Figures; r.Error == "" && len(f.Takeovers) > 0 {
			times = append(times, f.Takeovers[0].ARP)
		}
	}
	slices.Sort(times)
	return times
}

// summary has a row for each scenario and system: of times the median, the 99th
// percentile and the worst.
func summary(runs []*Run, row func(...string)) {
	row("scenario", "system", "runs", "failed", "two holders", "nobody", "longest gap", "no service", "take-over")
	for _, g := range groups(runs) {
		failed := 0
		var two, nobody, gap, unserved []time.Duration
		for _, r := range g.runs {
			if !r.Pass() {
				failed++
			}
			if r.Error != "" {
				continue
			}
			f := r.Verdict.Figures
			two, nobody = append(two, f.TwoHolders), append(nobody, f.Nobody)
			gap, unserved = append(gap, f.Gap), append(unserved, f.Unserved)
		}
		row(g.scenario, g.system.String(), strconv.Itoa(len(g.runs)), strconv.Itoa(failed),
			spread(two), spread(nobody), spread(gap), spread(unserved), spread(g.takeovers()))
	}
}

// spread returns "median/p99/worst ms" of some times.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "-"
	}
	slices.Sort(times)
	return fmt.Sprintf("%d/%d/%s", median(times).Milliseconds(), percentile(times, 99).Milliseconds(), millis(times[len(times)-1]))
}

// median returns the median of sorted times, of which there is at least one.
func median(times []time.Duration) time.Duration {
	n := len(times)
	return (times[(n-1)/2] + times[n/2]) / 2
}

// percentile returns the smallest of sorted times that percent of them do not exceed.
func percentile(times []time.Duration, percent int) time.Duration {
	return times[(len(times)*percent+99)/100-1]
}

// Ratio compares how long two systems take over a scenario's VIP.
type Ratio struct {
	scenario      string
	first, second scenario.System
	of, to        time.Duration // the medians
	limit         float64       // of's share of to; 0: any
}

func (r Ratio) share() float64 { return float64(r.of) / float64(r.to) }

// String returns the comparison in words.
func (r Ratio) String() string {
	return fmt.Sprintf("%s: the median take-over of %s is %.2f times that of %s (%s, %s)",
		r.scenario, r.first, r.share(), r.second, millis(r.of), millis(r.to))
}

// Fails reports whether the first system is slower than was asked for.
func (r Ratio) Fails() bool { return r.limit > 0 && r.share() > r.limit }

// Ratios compares the first system of each scenario with each other one. A limit of 0 is none.
func Ratios(runs []*Run, limit float64) []Ratio {
	var found []Ratio
	all := groups(runs)
	for _, g := range all {
		i := slices.IndexFunc(all, func(other group) bool { return other.scenario == g.scenario })
		own, others := all[i].takeovers(), g.takeovers()
		if all[i].system != g.system && len(own) > 0 && len(others) > 0 {
			found = append(found, Ratio{g.scenario, all[i].system, g.system, median(own), median(others), limit})
		}
	}
	return found
}

// Ratios writes the comparisons.
func (p Printer) Ratios(all []Ratio) {
	for _, r := range all {
		text := r.String()
		switch {
		case r.Fails():
			text = p.paint(red, fmt.Sprintf("%s: FAIL (at most %.2f expected)", text, r.limit))
		case r.limit > 0:
			text = p.paint(green, text+": PASS")
		}
		p.line("%s", text)
	}
}
