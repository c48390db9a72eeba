package report

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/solovip/solovip/lab/scenario"
)

// Compare writes the systems side by side: for each scenario, how long two held and how
// long nobody answered, the worst of its repetitions; and below, what that comes to.
func (p Printer) Compare(runs []*Run) {
	var systems []scenario.System
	for _, r := range runs {
		if !slices.Contains(systems, r.System) {
			systems = append(systems, r.System)
		}
	}
	p.line("")
	w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells []string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") }
	head := []string{"two holders / nobody, ms"}
	for _, s := range systems {
		head = append(head, s.String())
	}
	row(head)
	two, split := make([]time.Duration, len(systems)), make([]int, len(systems))
	all := groups(runs)
	for i, first := range all {
		if slices.IndexFunc(all, func(g group) bool { return g.scenario == first.scenario }) != i {
			continue // its row is there
		}
		cells := []string{first.scenario}
		for n, system := range systems {
			worst, cell := side(all, first.scenario, system)
			if cells = append(cells, cell); worst > 0 {
				two[n], split[n] = two[n]+worst, split[n]+1
			}
		}
		row(cells)
	}
	sums, splits := []string{"two holders, in sum"}, []string{"scenarios with two holders"}
	for n := range systems {
		sums, splits = append(sums, millis(two[n])), append(splits, fmt.Sprint(split[n]))
	}
	row(sums)
	row(splits)
	_ = w.Flush() // a reader that is gone is not our trouble
}

// side returns what the repetitions of a scenario on a system come to, as a cell, and how
// long two held in the worst of them.
func side(all []group, name string, system scenario.System) (two time.Duration, cell string) {
	i := slices.IndexFunc(all, func(g group) bool { return g.scenario == name && g.system == system })
	if i < 0 {
		return 0, "-"
	}
	var nobody time.Duration
	failed := ""
	for _, r := range all[i].runs {
		if r.Error != "" {
			return 0, "not run"
		}
		two, nobody = max(two, r.Verdict.Figures.TwoHolders), max(nobody, r.Verdict.Figures.Nobody)
		if !r.Pass() {
			failed = " FAIL"
		}
	}
	return two, fmt.Sprintf("%d / %d%s", two.Milliseconds(), nobody.Milliseconds(), failed)
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
