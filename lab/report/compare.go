package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/solovip/solovip/lab/scenario"
)

// comparison is systems side by side. What is by system is in the order of systems.
type comparison struct {
	systems []scenario.System
	rows    []comparisonRow
	two     []time.Duration // in sum, of the worst repetition of each scenario
	splits  []int           // in how many scenarios two held
}

// comparisonRow is one scenario; a group without runs was not played.
type comparisonRow struct {
	scenario, text string
	groups         []group
}

func compare(runs []*Run) comparison {
	var c comparison
	all := groups(runs)
	for _, g := range all {
		if !slices.Contains(c.systems, g.system) {
			c.systems = append(c.systems, g.system)
		}
	}
	c.two, c.splits = make([]time.Duration, len(c.systems)), make([]int, len(c.systems))
	for _, g := range all {
		row := slices.IndexFunc(c.rows, func(r comparisonRow) bool { return r.scenario == g.scenario })
		if row < 0 {
			row = len(c.rows)
			c.rows = append(c.rows, comparisonRow{g.scenario, g.runs[0].Text, make([]group, len(c.systems))})
		}
		system := slices.Index(c.systems, g.system)
		c.rows[row].groups[system] = g
		if two, _ := g.worst(); two > 0 {
			c.two[system] += two
			c.splits[system]++
		}
	}
	return c
}

// worst returns the longest time with two holders, and the longest with nobody.
func (g group) worst() (two, nobody time.Duration) {
	for _, r := range g.runs {
		if r.Error == "" {
			two, nobody = max(two, r.Verdict.Figures.TwoHolders), max(nobody, r.Verdict.Figures.Nobody)
		}
	}
	return two, nobody
}

// Compare writes the systems side by side: for each scenario, how long two held and how
// long nobody answered, the worst of its repetitions; and below, what that comes to.
func (p Printer) Compare(runs []*Run) {
	c := compare(runs)
	p.line("")
	w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells []string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") }
	head, sums, splits := []string{"two holders / nobody, ms"}, []string{sumOfTwo}, []string{countOfTwo}
	for i, s := range c.systems {
		head, sums, splits = append(head, s.String()), append(sums, millis(c.two[i])), append(splits, strconv.Itoa(c.splits[i]))
	}
	row(head)
	for _, r := range c.rows {
		cells := []string{r.scenario}
		for _, g := range r.groups {
			cells = append(cells, g.side())
		}
		row(cells)
	}
	row(sums)
	row(splits)
	_ = w.Flush() // a reader that is gone is not our trouble
}

// What the last rows of a comparison are called.
const (
	sumOfTwo   = "two holders, in sum"
	countOfTwo = "scenarios with two holders"
)

// side returns what the repetitions of a scenario come to, as a cell.
func (g group) side() string {
	two, nobody := g.worst()
	cell := fmt.Sprintf("%d / %d", two.Milliseconds(), nobody.Milliseconds())
	switch {
	case len(g.runs) == 0:
		return "-"
	case slices.ContainsFunc(g.runs, func(r *Run) bool { return r.Error != "" }):
		return "not run"
	case slices.ContainsFunc(g.runs, func(r *Run) bool { return !r.Pass() }):
		return cell + " FAIL"
	}
	return cell
}

// Kept tells how to look at what runs have left, and how to remove it.
func (p Printer) Kept(runs []*Run) {
	for _, r := range runs {
		k := r.Result.Kept
		if k == nil {
			continue
		}
		p.line("")
		p.line("%s goes on. A shell in it:", r.Name())
		var hosts []string
		for name := range k.Hosts {
			hosts = append(hosts, name)
		}
		slices.Sort(hosts)
		for _, name := range hosts {
			p.line("  %-4s %s", name, strings.Join(k.Enter(name), " "))
		}
		p.line("Remove all of it: kill -9 %d; rm -r %s", k.Process, r.Result.Dir)
	}
}
