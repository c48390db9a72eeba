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
	var all []swim
	for _, host := range hosts {
		s := swim{Host: host, Lanes: []swimLane{{Name: "faults", Bars: faults(h, host)}}}
		if slices.Contains(h.Nodes, host) {
			for _, p := range parts(h) {
				s.Lanes = append(s.Lanes, r.vipLanes(p, host)...)
				s.Lanes = append(s.Lanes, saidLanes(r.Result.Said, p, host)...)
			}
			s.Lanes = append(s.Lanes, r.serviceLane(h, host))
		}
		all = append(all, s)
	}
	return append(all, clientSwim(h))
}

// layer is what one source says in a lane.
type layer struct {
	source      verify.Source
	class, text string // with a place for the node
}

// lane draws what sources saw of a node; what is drawn later covers what is drawn earlier.
// Last come the times in which another node was seen too.
func (r *Run) lane(name, node string, p part, layers []layer, twice ...verify.Source) swimLane {
	l := swimLane{Name: name}
	for _, layer := range layers {
		for _, s := range join(p.Spans) {
			if s.Source != layer.source || s.Node != node {
				continue
			}
			to := s.To
			if to >= p.End-atEnd {
				to = p.End // the last questions were still open
			}
			l.Bars = append(l.Bars, bar{s.From, to, layer.class, fmt.Sprintf(layer.text, node)})
		}
	}
	for _, src := range twice {
		for _, s := range verify.Splits(p.History, src) {
			if slices.Contains(s.Nodes[:], node) && r.counts(src) {
				l.Bars = append(l.Bars, bar{s.From, s.To, drawTwo, r.split(s, p.vip)})
			}
		}
	}
	return l
}

// vipLanes returns what was seen of a VIP on a node: who has it, and the gate if any node has one.
func (r *Run) vipLanes(p part, node string) []swimLane {
	lanes := []swimLane{r.lane(p.label, node, p, []layer{
		{verify.Address, drawHas, "the kernel of %s has " + p.vip},
		{verify.ARP, drawHolds, "%s answers ARP for " + p.vip},
	}, verify.Address, verify.ARP)}
	if slices.ContainsFunc(p.Spans, func(s verify.Span) bool { return s.Source == verify.Gate }) {
		lanes = append(lanes, r.lane("gate", node, p, []layer{{verify.Gate, drawHolds, "the gate of %s lets " + p.vip + " speak"}}))
	}
	return lanes
}

func (r *Run) serviceLane(h verify.History, node string) swimLane {
	return r.lane("service", node, part{History: h}, []layer{
		{verify.Service, drawHas, "the guarded service runs on %s"},
		{verify.HTTP, drawHolds, "the service on %s answers HTTP at the VIP"},
		{verify.UDP, drawHolds, "the service on %s answers at the VIP"},
	}, verify.Service)
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

// saidLanes returns what a node's daemon said about itself and a VIP.
func saidLanes(all []netns.Said, p part, node string) []swimLane {
	var said []netns.Said
	for _, s := range all {
		if s.Node == node && (s.Instance == "" || p.Name == "" || s.Instance == p.Name) {
			said = append(said, s)
		}
	}
	what := ""
	if p.Name != "" {
		what = " for " + p.Name
	}
	state := swimLane{Name: "VRRP state", Says: true}
	permission := swimLane{Name: "permission", Says: true}
	for i, s := range said {
		to := p.End
		if i+1 < len(said) {
			to = said[i+1].At
		}
		if class := stateClass(s.State); class != "" {
			state.Bars = extend(state.Bars, bar{s.At, to, class, node + " says that it is " + s.State + what})
		}
		if s.Permission != "" && s.Remaining > 0 {
			permission.Bars = extend(permission.Bars, bar{s.At, min(s.At+s.Remaining, p.End), drawSays, node + " says that it may hold" + what + ": " + s.Permission})
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
	serves := verify.HTTP // a real web server answers nothing else
	if slices.ContainsFunc(h.Spans, func(s verify.Span) bool { return s.Source == verify.UDP }) {
		serves = verify.UDP
	}
	client, lab := swim{Host: "client"}, swimLane{Name: "the lab"}
	for _, p := range parts(h) {
		client.Lanes = append(client.Lanes, missed(p.label, p.Gaps, verify.ARP, "nobody answers for "+p.vip))
		for _, gap := range p.Blind {
			lab.Bars = append(lab.Bars, bar{gap.From, gap.To, drawBlind, "the lab was held up and saw nothing"})
		}
	}
	client.Lanes = append(client.Lanes, missed("service", h.Gaps, serves, "no service answers at the VIP"))
	if len(lab.Bars) > 0 {
		client.Lanes = append(client.Lanes, lab)
	}
	return client
}

// missed returns when a source got no answer.
func missed(name string, gaps []verify.Gap, src verify.Source, text string) swimLane {
	l := swimLane{Name: name}
	for _, gap := range gaps {
		if gap.Source == src && gap.To-gap.From > brief {
			l.Bars = append(l.Bars, bar{gap.From, gap.To, drawNobody, text})
		}
	}
	return l
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
