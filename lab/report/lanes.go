package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/verify"
)

// swim is what one host, or the client, did in a run.
type swim struct {
	Host  string
	Lanes []swimLane
}

// swimLane is one row of bars.
type swimLane struct {
	Name string
	Says bool // a daemon's own words
	Bars []bar
}

// bar is a time in which something was so.
type bar struct {
	From, To time.Duration
	Class    string // how it is drawn
	Text     string
}

// The ways in which a bar is drawn.
const (
	drawHolds  = "holds"  // answers, runs, open
	drawHas    = "has"    // the kernel has the address, or the service runs, and nobody was seen to reach it
	drawTwo    = "two"    // two at once
	drawNobody = "nobody" // nobody answers
	drawFault  = "fault"
	drawOrder  = "order"
	drawLow    = "low" // said: BACKUP
	drawSays   = "says"
	drawBlind  = "blind"
)

// swims returns the lanes of all hosts of a run.
func swims(r *Run) []swim {
	h := r.Result.History
	hosts := slices.Clone(h.Nodes)
	for _, m := range h.Marks {
		if m.Node != "" && m.Kind != verify.Notice && !slices.Contains(hosts, m.Node) {
			hosts = append(hosts, m.Node)
		}
	}
	spans := join(h.Spans)
	gated := slices.ContainsFunc(spans, func(s verify.Span) bool { return s.Source == verify.Gate })
	var all []swim
	for _, host := range hosts {
		s := swim{Host: host, Lanes: []swimLane{{Name: "faults", Bars: faults(h, host)}}}
		if slices.Contains(h.Nodes, host) {
			s.Lanes = append(s.Lanes, nodeLanes(r, spans, host, gated)...)
			s.Lanes = append(s.Lanes, saidLanes(r.Result.Said, host, h.End)...)
		}
		all = append(all, s)
	}
	return append(all, clientSwim(h))
}

// nodeLanes returns what was seen of a node.
func nodeLanes(r *Run, spans []verify.Span, node string, gated bool) []swimLane {
	h := r.Result.History
	vip, service, gate := swimLane{Name: "VIP"}, swimLane{Name: "service"}, swimLane{Name: "gate"}
	// What is drawn later covers what is drawn earlier.
	for _, layer := range []struct {
		lane        *swimLane
		source      verify.Source
		class, text string
	}{
		{&vip, verify.Address, drawHas, "the kernel of %s has the VIP"},
		{&vip, verify.ARP, drawHolds, "%s answers ARP for the VIP"},
		{&service, verify.Service, drawHas, "the guarded service runs on %s"},
		{&service, verify.HTTP, drawHolds, "the service on %s answers HTTP at the VIP"},
		{&service, verify.UDP, drawHolds, "the service on %s answers at the VIP"},
		{&gate, verify.Gate, drawHolds, "the gate of %s lets the VIP speak"},
	} {
		for _, s := range spans {
			if s.Source != layer.source || s.Node != node {
				continue
			}
			to := s.To
			if to >= h.End-atEnd {
				to = h.End // the last questions were still open
			}
			layer.lane.Bars = append(layer.lane.Bars, bar{s.From, to, layer.class, fmt.Sprintf(layer.text, node)})
		}
	}
	for _, two := range []struct {
		lane   *swimLane
		source verify.Source
	}{{&vip, verify.Address}, {&vip, verify.ARP}, {&service, verify.Service}} {
		for _, s := range verify.Splits(h, two.source) {
			if slices.Contains(s.Nodes[:], node) && r.counts(two.source) {
				two.lane.Bars = append(two.lane.Bars, bar{s.From, s.To, drawTwo, r.split(s)})
			}
		}
	}
	if gated {
		return []swimLane{vip, gate, service}
	}
	return []swimLane{vip, service}
}

// faults returns what the lab broke on a host, each until it was mended, and orders.
func faults(h verify.History, host string) []bar {
	var bars []bar
	for i, m := range h.Marks {
		if m.Node != host {
			continue
		}
		switch m.Kind {
		case verify.Fault:
			to := h.End
			for _, later := range h.Marks[i+1:] {
				if later.Kind == verify.Heal && later.Node == host {
					to = later.At
					break
				}
			}
			bars = append(bars, bar{m.At, to, drawFault, m.Text})
		case verify.Order:
			bars = append(bars, bar{m.At, m.At, drawOrder, m.Text})
		case verify.Setup, verify.Ready, verify.Heal, verify.Met, verify.Missed, verify.Notice:
		}
	}
	return bars
}

// saidLanes returns what a node's daemon said about itself.
func saidLanes(said []netns.Said, node string, end time.Duration) []swimLane {
	state := swimLane{Name: "VRRP state", Says: true}
	permission := swimLane{Name: "permission", Says: true}
	for i, s := range said {
		if s.Node != node {
			continue
		}
		to := end
		for _, later := range said[i+1:] {
			if later.Node == node {
				to = later.At
				break
			}
		}
		if class := stateClass(s.State); class != "" {
			state.Bars = extend(state.Bars, bar{s.At, to, class, node + " says that it is " + s.State})
		}
		if s.Permission != "" && s.Remaining > 0 {
			permission.Bars = extend(permission.Bars, bar{s.At, min(s.At+s.Remaining, end), drawSays, node + " says that it may hold by " + s.Permission})
		}
	}
	return slices.DeleteFunc([]swimLane{state, permission}, func(l swimLane) bool { return len(l.Bars) == 0 })
}

func stateClass(state string) string {
	switch state {
	case "":
		return ""
	case "MASTER":
		return drawSays
	case "FAULT":
		return drawFault
	}
	return drawLow
}

// extend adds a bar, or lengthens the last one when it says the same and there is no gap.
func extend(bars []bar, b bar) []bar {
	if n := len(bars); n > 0 && bars[n-1].Text == b.Text && b.From <= bars[n-1].To {
		bars[n-1].To = b.To
		return bars
	}
	return append(bars, b)
}

// clientSwim returns what the client missed, and when the lab itself saw nothing.
func clientSwim(h verify.History) swim {
	answers, service, lab := swimLane{Name: "VIP"}, swimLane{Name: "service"}, swimLane{Name: "the lab"}
	serves := verify.HTTP // a real web server answers nothing else
	if slices.ContainsFunc(h.Spans, func(s verify.Span) bool { return s.Source == verify.UDP }) {
		serves = verify.UDP
	}
	for _, gap := range h.Gaps {
		switch {
		case gap.To-gap.From <= brief:
		case gap.Source == verify.ARP:
			answers.Bars = append(answers.Bars, bar{gap.From, gap.To, drawNobody, "nobody answers for the VIP"})
		case gap.Source == serves:
			service.Bars = append(service.Bars, bar{gap.From, gap.To, drawNobody, "no service answers at the VIP"})
		}
	}
	for _, gap := range h.Blind {
		lab.Bars = append(lab.Bars, bar{gap.From, gap.To, drawBlind, "the lab was held up and saw nothing"})
	}
	client := swim{Host: "client", Lanes: []swimLane{answers, service}}
	if len(lab.Bars) > 0 {
		client.Lanes = append(client.Lanes, lab)
	}
	return client
}

// inWords returns a lane as a sentence, for who cannot see it.
func (l swimLane) inWords(host string, zero time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: ", host, l.Name)
	if len(l.Bars) == 0 {
		b.WriteString("nothing")
	}
	for i, bar := range l.Bars {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s, %s", bar.Text, during(bar, zero))
	}
	return b.String()
}

// during returns when a bar was, in seconds from zero.
func during(b bar, zero time.Duration) string {
	if b.From == b.To {
		return fmt.Sprintf("at %+.3f s", (b.From - zero).Seconds())
	}
	return fmt.Sprintf("%+.3f s to %+.3f s", (b.From - zero).Seconds(), (b.To - zero).Seconds())
}
