package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// Printer writes for people: progress while runs go on, a report for each, and a table.
type Printer struct {
	Out      io.Writer // reports
	Progress io.Writer
	Color    bool
	Brief    bool // no progress, and of a run that passed the verdict alone
}

// The colours, as ANSI numbers; none is needed to understand the text.
const (
	red    = 31
	green  = 32
	yellow = 33
	bold   = 1
	faint  = 2
)

func (p Printer) paint(color int, text string) string {
	if !p.Color || color == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", color, text)
}

// line writes one line; a reader that is gone is not our trouble.
func (p Printer) line(format string, args ...any) { _, _ = fmt.Fprintf(p.Out, format+"\n", args...) }

// Step writes a mark while its run goes on.
func (p Printer) Step(r *Run, m verify.Mark) {
	if m.Kind == verify.Notice || p.Brief {
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
	_, _ = fmt.Fprintf(p.Progress, "%s\n", p.paint(color, fmt.Sprintf("%-38s %5.1f s  %s", r.Name(), m.At.Seconds(), m.Text)))
}

// Report writes what a run has shown.
func (p Printer) Report(r *Run) {
	if p.Brief && r.Pass() {
		p.verdict(r)
		return
	}
	p.line("")
	p.line("%s", p.paint(bold, "== "+r.Name()+" =="))
	p.line("%s", r.Text)
	if r.Error != "" {
		p.line("%s", p.paint(red, "the lab could not run it: "+r.Error))
		return
	}
	p.line("")
	for _, e := range timeline(r) {
		p.line("%s", p.paint(e.color, fmt.Sprintf("  %+9.3f s  %s", e.at.Seconds(), e.text)))
	}
	p.line("")
	for _, row := range lanes(r, laneWidth) {
		p.line("  %s", p.paintLane(row))
	}
	p.line("")
	if !r.Pass() {
		p.logs(r)
	}
	if r.Result.Dir != "" {
		p.line("files: %s", r.Result.Dir)
	}
	p.verdict(r)
}

func (p Printer) verdict(r *Run) {
	p.line("%s: %s", r.Name(), p.paintVerdict(r, r.Verdict.String()))
}

func (p Printer) paintVerdict(r *Run, text string) string {
	switch {
	case !r.Pass():
		return p.paint(red, text)
	case r.Verdict.Split || r.Verdict.Lost:
		return p.paint(yellow, text)
	}
	return p.paint(green, text)
}

func (p Printer) paintLane(row string) string {
	if !p.Color {
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
func (p Printer) logs(r *Run) {
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

// Table writes the runs one below the other, or when there are repetitions, what they
// amount to.
func (p Printer) Table(runs []*Run) {
	p.line("")
	w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") }
	if slices.ContainsFunc(runs, func(r *Run) bool { return r.Number > 1 }) {
		summary(runs, row)
	} else {
		each(runs, row)
	}
	_ = w.Flush() // a reader that is gone is not our trouble
}

func each(runs []*Run, row func(...string)) {
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
		row(r.Scenario, r.System.String(), millis(f.TwoHolders), millis(f.Nobody), millis(f.Unserved), takeover, f.Final, r.Word())
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
