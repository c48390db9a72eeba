package report

import (
	_ "embed" // the page's parts
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// The parts of the page: one file each, so that each is edited as what it is.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// opened is how many runs a page may have of which all are unfolded.
const opened = 4

// laneHeight is the height of a lane in its own units; its width is in milliseconds.
const laneHeight = 16

// htmlPage is what the template shows.
type htmlPage struct {
	CSS     template.CSS
	JS      template.JS
	Summary string
	Good    bool
	Systems []string
	Rows    []htmlRow
	Sums    []htmlSum // with several systems
	Ratios  []string
	Runs    []htmlRun
}

// htmlRow compares the systems in one scenario.
type htmlRow struct {
	Scenario, Text string
	Cells          []htmlCell // one for each system
}

// htmlSum is a last row of the table: what it comes to by system.
type htmlSum struct {
	Name  string
	Cells []string
}

// htmlCell is what one system has shown in one scenario; without a word it was not run.
type htmlCell struct {
	Word, Class, Link string
	Two, Nobody, Take string
	Runs, Failed      int
}

type htmlRun struct {
	ID, Name, Text, Word, Class, Verdict string
	Open                                 bool
	Error                                string
	Failures                             []string
	Zero, From, End                      int64 // ms
	Swims                                []htmlSwim
	Marks                                []htmlMark
	Events                               []htmlEvent
	Logs                                 []htmlLog
	Says                                 bool // some lane is a daemon's own words
}

type htmlSwim struct {
	Host  string
	Lanes []htmlLane
}

type htmlLane struct {
	Name, Words string
	Says        bool
	Bars        []htmlBar
}

// htmlBar is a bar in the coordinates of its lane.
type htmlBar struct {
	X, Width    string // ms
	Y, Height   int
	Class, Text string
}

// htmlMark is a line through all lanes.
type htmlMark struct{ X, Class string }

type htmlEvent struct{ At, Text, Class string }

type htmlLog struct{ Host, Tail string }

// Page writes the runs as one HTML page without anything outside it. Ratios are what the
// systems' take-overs compare to, and may be none.
func Page(w io.Writer, runs []*Run, ratios []Ratio) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	p := htmlPage{CSS: template.CSS(pageCSS), JS: template.JS(pageJS), Good: true} //nolint:gosec // our own
	passed := 0
	for i, r := range runs {
		if r.Pass() {
			passed++
		}
		p.Runs = append(p.Runs, r.html(fmt.Sprintf("run%d", i+1), len(runs) <= opened || !r.Pass()))
	}
	p.Good = passed == len(runs)
	p.Summary = fmt.Sprintf("%d of %d runs showed what was expected.", passed, len(runs))
	p.compare(runs)
	for _, r := range ratios {
		p.Ratios = append(p.Ratios, r.String())
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// compare fills the table of systems.
func (p *htmlPage) compare(runs []*Run) {
	c := compare(runs)
	sums, splits := htmlSum{Name: sumOfTwo}, htmlSum{Name: countOfTwo}
	for i, system := range c.systems {
		p.Systems = append(p.Systems, system.String())
		sums.Cells, splits.Cells = append(sums.Cells, millis(c.two[i])), append(splits.Cells, strconv.Itoa(c.splits[i]))
	}
	if len(c.systems) > 1 {
		p.Sums = []htmlSum{sums, splits}
	}
	for _, r := range c.rows {
		row := htmlRow{Scenario: r.scenario, Text: r.text}
		for _, g := range r.groups {
			row.Cells = append(row.Cells, g.cell(runs))
		}
		p.Rows = append(p.Rows, row)
	}
}

// cell sums the repetitions up; its link leads to the worst of them.
func (g group) cell(runs []*Run) htmlCell {
	c := htmlCell{Runs: len(g.runs)}
	if c.Runs == 0 {
		return c
	}
	worst := g.runs[0]
	var two, nobody []time.Duration
	for _, r := range g.runs {
		if !r.Pass() {
			c.Failed++
		}
		if !r.Pass() && worst.Pass() {
			worst = r
		}
		if r.Error == "" {
			two, nobody = append(two, r.Verdict.Figures.TwoHolders), append(nobody, r.Verdict.Figures.Nobody)
		}
	}
	c.Word, c.Class = worst.Word(), class(worst)
	c.Link = fmt.Sprintf("#run%d", slices.Index(runs, worst)+1)
	if len(two) == 0 {
		return c
	}
	c.Two, c.Nobody = typical(two), typical(nobody)
	if took := g.takeovers(); len(took) > 0 {
		c.Take = typical(took)
	}
	return c
}

// typical returns one time as it is, and of several their spread.
func typical(times []time.Duration) string {
	if len(times) == 1 {
		return millis(times[0])
	}
	return spread(times)
}

// class returns how a run's verdict is coloured.
func class(r *Run) string {
	switch r.Word() {
	case "PASS":
		return "pass"
	case "SPLIT", "LOST":
		return "known"
	}
	return "fail"
}

// Width is the length of what is shown at first.
func (r htmlRun) Width() int64 { return r.End - r.From }

func (r *Run) html(id string, open bool) htmlRun {
	v := htmlRun{
		ID: id, Name: r.Name(), Text: r.Text, Word: r.Word(), Class: class(r), Open: open, Error: r.Error,
	}
	if r.Error != "" {
		return v
	}
	h := r.Result.History
	zero := origin(h)
	v.Verdict, v.Failures = r.Verdict.Figures.String(), r.Verdict.Failures
	v.Zero, v.From, v.End = zero.Milliseconds(), max(0, zero-2*time.Second).Milliseconds(), max(h.End, time.Second).Milliseconds()
	for _, s := range swims(r) {
		out := htmlSwim{Host: s.Host}
		for _, l := range s.Lanes {
			v.Says = v.Says || l.Says
			out.Lanes = append(out.Lanes, htmlLane{l.Name, l.inWords(s.Host, zero), l.Says, l.draw(zero)})
		}
		v.Swims = append(v.Swims, out)
	}
	for _, e := range timeline(r) {
		if e.kind == verify.Fault || e.kind == verify.Heal || e.kind == verify.Order {
			v.Marks = append(v.Marks, htmlMark{inMS(e.at + zero), string(e.kind)})
		}
		v.Events = append(v.Events, htmlEvent{fmt.Sprintf("%+.3f", e.at.Seconds()), e.text, map[int]string{red: "bad", yellow: "did", faint: "faint"}[e.color]})
	}
	if !r.Pass() {
		for _, l := range r.Result.Logs {
			v.Logs = append(v.Logs, htmlLog{l.Host, strings.Join(l.Tail, "\n")})
		}
	}
	return v
}

// draw returns the bars in the lane's coordinates. What only has the address, or waits, is
// low, so that no colour is needed to tell it.
func (l swimLane) draw(zero time.Duration) []htmlBar {
	bars := make([]htmlBar, len(l.Bars))
	for i, b := range l.Bars {
		y, height := 1, laneHeight-2
		switch b.Class {
		case drawHas:
			y, height = laneHeight/2, laneHeight/2-1
		case drawLow:
			y, height = laneHeight-5, 4
		}
		bars[i] = htmlBar{inMS(b.From), inMS(b.To - b.From), y, height, b.Class, b.Text + ", " + during(b, zero)}
	}
	return bars
}

// inMS writes an instant or a length in milliseconds.
func inMS(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d.Microseconds())/1000) }
