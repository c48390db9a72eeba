package verify

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Figures are what a history amounts to. Times are whole milliseconds: one that is
// touched counts.
type Figures struct {
	TwoAnswering time.Duration `json:"two_answering_ns"` // two nodes answered ARP, or two services answered, for the VIP
	TwoAddressed time.Duration `json:"two_addressed_ns"` // two kernels had the VIP
	TwoHolders   time.Duration `json:"two_holders_ns"`   // either of them
	TwoServing   time.Duration `json:"two_serving_ns"`   // two guarded services ran, reachable or not

	Nobody   time.Duration `json:"nobody_ns"`   // no node answered ARP, since the run was ready
	Gap      time.Duration `json:"gap_ns"`      // the longest unbroken part of that
	Unserved time.Duration `json:"unserved_ns"` // no service answered, since the run was ready

	Takeovers []Takeover `json:"takeovers"` // one for each fault, heal or order after which the holder changed

	Changes int           `json:"changes"`      // how often another node became holder, since the run was ready
	Start   string        `json:"holder_start"` // who answered ARP when the run was ready
	Final   string        `json:"holder_end"`   // who answered ARP at the end; "nobody"; "n1 and n2"
	Blind   time.Duration `json:"blind_ns"`     // the longest time the lab itself was held up
	Missed  []string      `json:"missed,omitempty"`
}

// Takeover is how long it took after something was done until another node held.
type Takeover struct {
	After   string        `json:"after"`    // the mark's text
	To      string        `json:"to"`       // the new holder
	ARP     time.Duration `json:"arp_ns"`   // until it first answered ARP
	Service time.Duration `json:"udp_ns"`   // until its service first answered a datagram; 0: it did not
	HTTP    time.Duration `json:"http_ns"`  // until its service first answered a new connection; 0: it did not
	Silence time.Duration `json:"quiet_ns"` // how much of that time nobody answered ARP
}

// lookBack is how far back from an instant a node must have answered to count as holder then.
const lookBack = 100 * time.Millisecond

// Measure computes the figures of a history.
func Measure(h History) Figures {
	ready, isReady := h.ready()
	if !isReady {
		ready = h.End
	}
	answering := newMillis(h.End)
	for _, src := range []Source{ARP, UDP, HTTP} {
		answering.splits(Splits(h, src))
	}
	addressed := newMillis(h.End)
	addressed.splits(Splits(h, Address))
	either := newMillis(h.End)
	either.union(answering)
	either.union(addressed)
	serving := newMillis(h.End)
	serving.splits(Splits(h, Service))

	f := Figures{
		TwoAnswering: answering.count(),
		TwoAddressed: addressed.count(),
		TwoHolders:   either.count(),
		TwoServing:   serving.count(),
		Nobody:       silence(h, ARP, ready, h.End),
		Unserved:     silence(h, UDP, ready, h.End),
		Start:        "nobody",
		Final:        holders(h, lastLook(h)-lookBack, h.End),
	}
	if isReady {
		f.Start = holders(h, ready-lookBack, ready)
	}
	for _, gap := range h.Gaps {
		if gap.Source == ARP && gap.To > ready {
			f.Gap = max(f.Gap, silence(h, ARP, max(gap.From, ready), gap.To))
		}
	}
	f.Takeovers, f.Changes = takeovers(h, ready)
	for _, gap := range h.Blind {
		f.Blind = max(f.Blind, gap.To-gap.From)
	}
	for _, m := range h.Marks {
		if m.Kind == Missed {
			f.Missed = append(f.Missed, m.Text)
		}
	}
	return f
}

// takeovers follows who answers ARP from ready on, and lays each change of the holder
// to the last fault, heal or order before it. Who answers for a moment while the holder goes on
// answering is a second holder, not a new one.
func takeovers(h History, ready time.Duration) (found []Takeover, changes int) {
	var holding Span
	for _, span := range h.of(ARP) {
		if span.To < ready-lookBack || span.To <= holding.To {
			continue
		}
		previous, holder := holding.Node, span.Node
		holding = span
		if previous == "" || previous == holder {
			continue
		}
		changes++
		cause, ok := lastCause(h, span.From)
		if !ok {
			continue
		}
		found = append(found, Takeover{
			After:   cause.Text,
			To:      holder,
			ARP:     span.From - cause.At,
			Service: firstAfter(h.of(UDP), holder, cause.At),
			HTTP:    firstAfter(h.of(HTTP), holder, cause.At),
			Silence: silence(h, ARP, cause.At, span.From),
		})
	}
	return found, changes
}

func lastCause(h History, before time.Duration) (cause Mark, ok bool) {
	for _, m := range h.Marks {
		if m.At <= before && (m.Kind == Fault || m.Kind == Heal || m.Kind == Order) {
			cause, ok = m, true
		}
	}
	return cause, ok
}

// firstAfter returns how long after an instant the node was first seen by the spans'
// source, zero when it was not.
func firstAfter(spans []Span, node string, after time.Duration) time.Duration {
	for _, s := range spans {
		if s.Node == node && s.From >= after {
			return s.From - after
		}
	}
	return 0
}

func silence(h History, src Source, from, to time.Duration) time.Duration {
	quiet := newMillis(h.End)
	for _, gap := range h.Gaps {
		if gap.Source == src && gap.To > from && gap.From < to {
			// A gap ends where an answer begins: that millisecond was answered.
			quiet.mark(max(gap.From, from), min(gap.To, to)-1)
		}
	}
	return quiet.count()
}

// lastLook returns when the lab asked by ARP for the last time: at the end, unless it was
// held up there.
func lastLook(h History) time.Duration {
	for _, gap := range h.Blind {
		if gap.Source == ARP && gap.To == h.End {
			return gap.From
		}
	}
	return h.End
}

func holders(h History, from, to time.Duration) string {
	var nodes []string
	for _, s := range h.of(ARP) {
		if s.To >= from && s.From <= to {
			nodes = append(nodes, s.Node)
		}
	}
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	if len(nodes) == 0 {
		return "nobody"
	}
	return strings.Join(nodes, " and ")
}

// Split is a time in which two nodes held together, as a source saw it.
type Split struct {
	Source Source        `json:"source"`
	Nodes  [2]string     `json:"nodes"`
	From   time.Duration `json:"from_ns"`
	To     time.Duration `json:"to_ns"`
}

// Splits returns the times in which two nodes held together, as one source saw it, in
// order.
func Splits(h History, src Source) []Split {
	var found []Split
	spans := h.of(src)
	for i, a := range spans {
		for _, b := range spans[i+1:] {
			if from, to := max(a.From, b.From), min(a.To, b.To); a.Node != b.Node && from <= to {
				found = append(found, Split{src, [2]string{a.Node, b.Node}, from, to})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Split) int { return cmp.Compare(a.From, b.From) })
	return found
}

// apart returns how long two nodes answered for VIPs of one group, the same or different ones.
func apart(parts []History) time.Duration {
	all := parts[0]
	all.Spans = nil
	for _, part := range parts {
		all.Spans = append(all.Spans, part.of(ARP)...)
	}
	together := newMillis(all.End)
	together.splits(Splits(all, ARP))
	return together.count()
}

// millis is a set of milliseconds of a history.
type millis []bool

func newMillis(end time.Duration) millis { return make(millis, end/time.Millisecond+1) }

// mark adds every millisecond that the closed interval touches.
func (m millis) mark(from, to time.Duration) {
	for i := max(from, 0) / time.Millisecond; i <= to/time.Millisecond && int(i) < len(m); i++ {
		m[i] = true
	}
}

// splits adds every millisecond in which two nodes held together.
func (m millis) splits(splits []Split) {
	for _, s := range splits {
		m.mark(s.From, s.To)
	}
}

func (m millis) union(other millis) {
	for i, set := range other {
		m[i] = m[i] || set
	}
}

func (m millis) count() time.Duration {
	n := 0
	for _, set := range m {
		if set {
			n++
		}
	}
	return time.Duration(n) * time.Millisecond
}

func compareSpans(a, b Span) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Node, b.Node))
}

func compareGaps(a, b Gap) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Source, b.Source))
}
