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
	add := func(at time.Duration, color int, text string) {
		entries = append(entries, entry{at: at - zero, text: text, color: color})
	}
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
	words := map[verify.Source][2]string{
		verify.ARP:     {"%s answers for the VIP", "%s stops answering for the VIP"},
		verify.Address: {"the kernel of %s has the VIP", "the kernel of %s has the VIP no longer"},
		verify.UDP:     {"the service on %s answers at the VIP", "the service on %s stops answering at the VIP"},
		verify.Service: {"the service on %s is started", "the service on %s has stopped"},
	}
	for _, span := range join(h.Spans) {
		text, ok := words[span.Source]
		if !ok {
			continue
		}
		add(span.From, 0, fmt.Sprintf(text[0], span.Node))
		if span.To < h.End-atEnd {
			add(span.To, 0, fmt.Sprintf(text[1], span.Node))
		}
	}
	for _, src := range []verify.Source{verify.ARP, verify.Address, verify.Service} {
		color := 0
		if r.counts(src) {
			color = red
		}
		for _, s := range verify.Splits(h, src) {
			add(s.From, color, r.split(s))
		}
	}
	for _, gap := range h.Blind {
		add(gap.From, faint, fmt.Sprintf("the lab was held up for %d ms (%s)", (gap.To-gap.From).Milliseconds(), gap.Source))
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	return entries
}

// counts reports whether two that a source saw are two holders. Two kernels may have the
// VIP where one is silenced: then the verdict has left that out.
func (r *Run) counts(src verify.Source) bool {
	f := r.Verdict.Figures
	return src != verify.Address || f.TwoHolders > f.TwoAnswering
}

func (r *Run) split(s verify.Split) string {
	if !r.counts(s.Source) {
		return fmt.Sprintf("the kernels of %s and %s both have the VIP, for %d ms: one of them is silenced",
			s.Nodes[0], s.Nodes[1], max(1, (s.To-s.From).Milliseconds()))
	}
	what := map[verify.Source]string{
		verify.ARP:     "TWO HOLDERS: %s and %s both answer for the VIP, for %d ms",
		verify.Address: "TWO HOLDERS: the kernels of %s and %s both have the VIP, for %d ms",
		verify.Service: "TWO SERVICES: on %s and %s, for %d ms",
	}[s.Source]
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

// join unites spans of one source and node that only a brief interruption parts.
func join(spans []verify.Span) []verify.Span {
	type key struct {
		source verify.Source
		node   string
	}
	last := make(map[key]int) // where the latest span of a lane is in joined
	var joined []verify.Span
	for _, s := range spans {
		k := key{s.Source, s.Node}
		if i, ok := last[k]; ok && s.From-joined[i].To <= brief {
			joined[i].To = max(joined[i].To, s.To)
			continue
		}
		last[k] = len(joined)
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

// lanes draws a run from shortly before the first fault to its end: for each node
// who had the VIP and whose service ran, column by column.
func lanes(r *Run, width int) []string {
	h := r.Result.History
	zero := origin(h)
	from := max(0, zero-time.Second)
	step := max((h.End-from)/time.Duration(width), time.Millisecond)
	column := func(at time.Duration) int { return min(max(int((at-from)/step), 0), width-1) }

	faults := []rune(strings.Repeat(" ", width))
	for _, m := range h.Marks {
		switch m.Kind {
		case verify.Fault:
			faults[column(m.At)] = laneFault
		case verify.Heal:
			faults[column(m.At)] = laneMended
		case verify.Order:
			faults[column(m.At)] = laneOrder
		case verify.Setup, verify.Ready, verify.Met, verify.Missed, verify.Notice:
		}
	}
	rows := []string{
		"seconds     " + ruler(zero, from, step, width),
		"events      " + strings.TrimRight(string(faults), " "),
	}
	draw := func(row []rune, node string, src verify.Source, mark rune) {
		for _, s := range h.Spans {
			if s.Source != src || s.Node != node || s.To < from {
				continue
			}
			to := s.To
			if to >= h.End-atEnd {
				to = h.End // the last questions were still open
			}
			for c := column(s.From); c <= column(to); c++ {
				row[c] = mark
			}
		}
	}
	two := func(row []rune, node string, src verify.Source) {
		if !r.counts(src) {
			return
		}
		for _, s := range verify.Splits(h, src) {
			if (s.Nodes[0] == node || s.Nodes[1] == node) && s.To >= from {
				for c := column(s.From); c <= column(s.To); c++ {
					row[c] = laneTwo
				}
			}
		}
	}
	for _, node := range h.Nodes {
		vip := []rune(strings.Repeat(string(laneNothing), width))
		draw(vip, node, verify.Address, laneSilent)
		draw(vip, node, verify.ARP, laneHolds)
		two(vip, node, verify.Address)
		two(vip, node, verify.ARP)
		service := []rune(strings.Repeat(string(laneNothing), width))
		draw(service, node, verify.Service, laneSilent)
		draw(service, node, verify.UDP, laneHolds)
		two(service, node, verify.Service)
		rows = append(rows, fmt.Sprintf("%-4s%-8s%s", node, "VIP", string(vip)), fmt.Sprintf("%-4s%-8s%s", "", "service", string(service)))
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
