package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// printer writes for people: progress while runs go on, a report for each, and a table.
type printer struct {
	w        io.Writer // reports
	progress io.Writer
	color    bool
	brief    bool // no progress, and of a run that passed the verdict alone
}

// The colours, as ANSI numbers; none is needed to understand the text.
const (
	red    = 31
	green  = 32
	yellow = 33
	bold   = 1
	faint  = 2
)

func (p printer) paint(color int, text string) string {
	if !p.color || color == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", color, text)
}

// line writes one line; a reader that is gone is not our trouble.
func (p printer) line(format string, args ...any) { _, _ = fmt.Fprintf(p.w, format+"\n", args...) }

// step writes a mark while its run goes on.
func (p printer) step(r *run, m verify.Mark) {
	if m.Kind == verify.Notice || p.brief {
		return
	}
	color := 0
	switch m.Kind {
	case verify.Fault, verify.Heal, verify.Order:
		color = yellow
	case verify.Missed:
		color = red
	case verify.Setup, verify.Ready, verify.Met, verify.Notice:
		color = faint
	}
	_, _ = fmt.Fprintf(p.progress, "%s\n", p.paint(color, fmt.Sprintf("%-38s %5.1f s  %s", r.name(), m.At.Seconds(), m.Text)))
}

// report writes what a run has shown.
func (p printer) report(r *run) {
	if p.brief && r.pass() {
		p.verdict(r)
		return
	}
	p.line("")
	p.line("%s", p.paint(bold, "== "+r.name()+" =="))
	p.line("%s", r.scenario.Text)
	if r.Error != "" {
		p.line("%s", p.paint(red, "the lab could not run it: "+r.Error))
		return
	}
	p.line("")
	for _, e := range timeline(r.Result.History) {
		p.line("%s", p.paint(e.color, fmt.Sprintf("  %+9.3f s  %s", e.at.Seconds(), e.text)))
	}
	p.line("")
	for _, row := range lanes(r.Result.History, laneWidth) {
		p.line("  %s", p.paintLane(row))
	}
	p.line("")
	if !r.pass() {
		p.logs(r)
	}
	if r.Result.Dir != "" {
		p.line("files: %s", r.Result.Dir)
	}
	p.verdict(r)
}

func (p printer) verdict(r *run) {
	p.line("%s: %s", r.name(), p.paintVerdict(r, r.Verdict.String()))
}

func (p printer) paintVerdict(r *run, text string) string {
	switch {
	case !r.pass():
		return p.paint(red, text)
	case r.Verdict.Split || r.Verdict.Lost:
		return p.paint(yellow, text)
	}
	return p.paint(green, text)
}

func (p printer) paintLane(row string) string {
	if !p.color {
		return row
	}
	var b strings.Builder
	for _, c := range row {
		if c == laneTwo {
			b.WriteString(p.paint(red, string(c)))
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// logs writes the last lines of each daemon.
func (p printer) logs(r *run) {
	for _, log := range r.Result.Logs {
		where := "run with --keep for all of it"
		if r.Result.Dir != "" {
			where = log.Path
		}
		p.line("last lines of %s (%s):", log.Host, where)
		for _, text := range log.Tail {
			p.line("%s", p.paint(faint, "    "+text))
		}
	}
}

// table writes the runs one below the other, or when there are repetitions, what they
// amount to.
func (p printer) table(runs []*run) {
	p.line("")
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") }
	if slices.ContainsFunc(runs, func(r *run) bool { return r.Number > 1 }) {
		summary(runs, row)
	} else {
		each(runs, row)
	}
	_ = w.Flush() // a reader that is gone is not our trouble
}

func each(runs []*run, row func(...string)) {
	row("scenario", "system", "two holders", "nobody", "no service", "take-over", "at the end", "verdict")
	for _, r := range runs {
		if r.Error != "" {
			row(r.Scenario, r.System.String(), "-", "-", "-", "-", "-", "not run")
			continue
		}
		f := r.Verdict.Figures
		takeover := "-"
		if len(f.Takeovers) > 0 {
			takeover = millis(f.Takeovers[0].ARP)
		}
		row(r.Scenario, r.System.String(), millis(f.TwoHolders), millis(f.Nobody), millis(f.Unserved), takeover, f.Final, word(r))
	}
}

func word(r *run) string {
	switch {
	case !r.pass():
		return "FAIL"
	case r.Verdict.Split:
		return "SPLIT"
	case r.Verdict.Lost:
		return "LOST"
	}
	return "PASS"
}

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
