package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// entry is one line of a timeline.
type entry struct {
	at    time.Duration // since the first fault or order
	kind  verify.Kind   // of a mark; empty for what was seen
	text  string
	color int
}

const (
	// brief is how short an interruption may be that a timeline leaves out: the figures have it.
	brief = 10 * time.Millisecond
	// atEnd is how far from the end of a history the last observations may lie.
	atEnd = 400 * time.Millisecond
)

// timeline tells a run in order, with times counted from the first fault or order.
func timeline(r *Run) []entry {
	h := r.Result.History
	zero := origin(h)
	var entries []entry
	told := map[verify.Kind]entry{
		verify.Fault:  {text: "FAULT: ", color: yellow},
		verify.Heal:   {text: "MENDED: ", color: yellow},
		verify.Order:  {text: "ORDER: ", color: yellow},
		verify.Missed: {text: "MISSED: ", color: red},
		verify.Setup:  {color: faint},
		verify.Ready:  {color: faint},
		verify.Notice: {color: faint},
	}
	for _, m := range h.Marks {
		if e, ok := told[m.Kind]; ok { // what was awaited, and came, is told by what was seen
			entries = append(entries, entry{m.At - zero, m.Kind, e.text + m.Text, e.color})
		}
	}
	for _, p := range parts(h) {
		entries = append(entries, r.seen(p, zero)...)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	return entries
}

// part is the history of one VIP of a run.
type part struct {
	verify.History
	vip   string // how a sentence calls it
	label string // how a lane does
}

// parts returns the histories of all VIPs of a run. One that is the only one needs no name.
func parts(h verify.History) []part {
	all := h.Parts()
	if len(all) == 1 {
		return []part{{h, "the VIP", "VIP"}}
	}
	named := make([]part, len(all))
	for i, p := range all {
		named[i] = part{p, "the VIP of " + p.Name, p.Name}
	}
	return named
}

// seen tells what was seen of one VIP.
func (r *Run) seen(p part, zero time.Duration) []entry {
	var entries []entry
	add := func(at time.Duration, color int, text string) {
		entries = append(entries, entry{at: at - zero, text: text, color: color})
	}
	words := map[verify.Source][2]string{
		verify.ARP:     {"%s answers for " + p.vip, "%s stops answering for " + p.vip},
		verify.Address: {"the kernel of %s has " + p.vip, "the kernel of %s has " + p.vip + " no longer"},
		verify.UDP:     {"the service on %s answers at " + p.vip, "the service on %s stops answering at " + p.vip},
		verify.Service: {"the service on %s is started", "the service on %s has stopped"},
	}
	for _, span := range join(p.Spans) {
		text, ok := words[span.Source]
		if !ok {
			continue
		}
		add(span.From, 0, fmt.Sprintf(text[0], span.Node))
		if span.To < p.End-atEnd {
			add(span.To, 0, fmt.Sprintf(text[1], span.Node))
		}
	}
	for _, src := range []verify.Source{verify.ARP, verify.Address, verify.Service} {
		color := 0
		if r.counts(src) {
			color = red
		}
		for _, s := range verify.Splits(p.History, src) {
			add(s.From, color, r.split(s, p.vip))
		}
	}
	for _, gap := range p.Blind {
		add(gap.From, faint, fmt.Sprintf("the lab was held up for %d ms (%s)", (gap.To-gap.From).Milliseconds(), gap.Source))
	}
	return entries
}

// counts reports whether two that a source saw are two holders. Two kernels may have the
// VIP where one is silenced: then the verdict has left that out. Where two answered for as
// long, none is.
func (r *Run) counts(src verify.Source) bool {
	f := r.Verdict.Figures
	return src != verify.Address || f.TwoHolders > f.TwoAnswering || f.TwoAnswering > 0 && f.TwoAnswering >= f.TwoAddressed
}

func (r *Run) split(s verify.Split, vip string) string {
	what := map[verify.Source]string{
		verify.ARP:     "TWO HOLDERS: %s and %s both answer for " + vip + ", for %d ms",
		verify.Address: "TWO HOLDERS: the kernels of %s and %s both have " + vip + ", for %d ms",
		verify.Service: "TWO SERVICES: on %s and %s, for %d ms",
	}[s.Source]
	if !r.counts(s.Source) {
		what = "the kernels of %s and %s both have " + vip + ", for %d ms: one of them is silenced"
	}
	return fmt.Sprintf(what, s.Nodes[0], s.Nodes[1], max(1, (s.To-s.From).Milliseconds()))
}

// origin returns the instant that a history's timeline counts from: the first fault or
// order, or else when it was ready, or else its beginning.
func origin(h verify.History) time.Duration {
	for _, m := range h.Marks {
		if m.Kind == verify.Fault || m.Kind == verify.Order {
			return m.At
		}
	}
	for _, m := range h.Marks {
		if m.Kind == verify.Ready {
			return m.At
		}
	}
	return 0
}

// crowded is how many spans of a lane a timeline tells. Where there are more, because packets are
// lost for instance, longer interruptions are left out too, until it tells no more than that.
const crowded = 20

// join unites spans of one source and node that only a brief interruption parts.
func join(spans []verify.Span) []verify.Span {
	type key struct {
		source verify.Source
		node   string
	}
	var order []key
	lanes := make(map[key][]verify.Span)
	for _, s := range spans {
		k := key{s.Source, s.Node}
		if lanes[k] == nil {
			order = append(order, k)
		}
		lanes[k] = append(lanes[k], s)
	}
	var joined []verify.Span
	for _, k := range order {
		lane := bridge(lanes[k], brief)
		for most := 2 * brief; len(lane) > crowded && most < time.Second; most *= 2 {
			lane = bridge(lane, most)
		}
		joined = append(joined, lane...)
	}
	return joined
}

// bridge unites spans of one lane with no more than so long an interruption between them.
func bridge(spans []verify.Span, most time.Duration) []verify.Span {
	var joined []verify.Span
	for _, s := range spans {
		if n := len(joined); n > 0 && s.From-joined[n-1].To <= most {
			joined[n-1].To = max(joined[n-1].To, s.To)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

const laneWidth = 72

// What a column of a lane shows.
const (
	laneNothing = '.'
	laneHolds   = '#' // answers, or runs
	laneSilent  = '~' // the kernel has the address, but nobody can reach it
	laneTwo     = '!' // and another node too
	laneFault   = 'F'
	laneMended  = 'M'
	laneOrder   = 'O'
)

// canvas is where the lanes of a run are drawn, in columns.
type canvas struct {
	run        *Run
	from, step time.Duration
	width      int
}

func (c canvas) column(at time.Duration) int {
	return min(max(int((at-c.from)/c.step), 0), c.width-1)
}

// row returns a row of which nothing is drawn.
func (c canvas) row(empty rune) []rune { return []rune(strings.Repeat(string(empty), c.width)) }

// draw marks when a source saw a node.
func (c canvas) draw(row []rune, h verify.History, node string, src verify.Source, mark rune) {
	for _, s := range h.Spans {
		if s.Source != src || s.Node != node || s.To < c.from {
			continue
		}
		to := s.To
		if to >= h.End-atEnd {
			to = h.End // the last questions were still open
		}
		for i := c.column(s.From); i <= c.column(to); i++ {
			row[i] = mark
		}
	}
}

// two marks when a source saw a node and another one.
func (c canvas) two(row []rune, h verify.History, node string, src verify.Source) {
	if !c.run.counts(src) {
		return
	}
	for _, s := range verify.Splits(h, src) {
		if (s.Nodes[0] == node || s.Nodes[1] == node) && s.To >= c.from {
			for i := c.column(s.From); i <= c.column(s.To); i++ {
				row[i] = laneTwo
			}
		}
	}
}

// lanes draws a run from shortly before the first fault to its end: for each node who had
// the VIPs and whose service ran, column by column.
func lanes(r *Run, width int) []string {
	h := r.Result.History
	zero := origin(h)
	c := canvas{run: r, from: max(0, zero-time.Second), width: width}
	c.step = max((h.End-c.from)/time.Duration(width), time.Millisecond)

	marks := map[verify.Kind]rune{verify.Fault: laneFault, verify.Heal: laneMended, verify.Order: laneOrder}
	events := c.row(' ')
	for _, m := range h.Marks {
		if mark, ok := marks[m.Kind]; ok {
			events[c.column(m.At)] = mark
		}
	}
	rows := []string{
		"seconds     " + ruler(zero, c.from, c.step, width),
		"events      " + strings.TrimRight(string(events), " "),
	}
	for _, node := range h.Nodes {
		name := node // stands once
		line := func(label string, row []rune) {
			rows = append(rows, fmt.Sprintf("%-4s%-7.7s %s", name, label, string(row)))
			name = ""
		}
		for _, p := range parts(h) {
			vip := c.row(laneNothing)
			c.draw(vip, p.History, node, verify.Address, laneSilent)
			c.draw(vip, p.History, node, verify.ARP, laneHolds)
			c.two(vip, p.History, node, verify.Address)
			c.two(vip, p.History, node, verify.ARP)
			line(p.label, vip)
		}
		service := c.row(laneNothing)
		c.draw(service, h, node, verify.Service, laneSilent)
		c.draw(service, h, node, verify.HTTP, laneHolds)
		c.draw(service, h, node, verify.UDP, laneHolds)
		c.two(service, h, node, verify.Service)
		line("service", service)
	}
	return append(rows, "            # answers  ~ has it, unheard  ! two at once  . has it not  F fault  M mended  O order")
}

// ruler numbers the columns in seconds from zero, as many as there is room for.
func ruler(zero, from, step time.Duration, width int) string {
	row := []byte(strings.Repeat(" ", width+8))
	every := time.Second
	for every/step < 6 { // room for a number and a space
		every *= 2
	}
	for at := zero; at < from+step*time.Duration(width); at += every {
		copy(row[(at-from)/step:], fmt.Sprintf("%d", int((at-zero).Seconds())))
	}
	return strings.TrimRight(string(row), " ")
}
