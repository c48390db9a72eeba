package verify

import (
	"cmp"
	"slices"
	"time"
)

// Source is one way of seeing who holds the VIP.
type Source string

// The sources, all outside the daemons.
const (
	ARP     Source = "arp"     // a node answered the client's who-has for the VIP
	Address Source = "address" // a node's kernel takes the VIP for its own
	UDP     Source = "udp"     // a node's service answered a datagram to the VIP
	HTTP    Source = "http"    // a node's service answered a request to the VIP on a new connection
	Service Source = "service" // a node's guarded service ran
	Gate    Source = "gate"    // a node's kernel let the VIP speak, where a gate silences it else; shown, not judged
)

// Span says that a source saw a node hold at From and at To, and at every
// observation between them. Instants count from the start of the history.
type Span struct {
	Source Source        `json:"source"`
	Node   string        `json:"node"`
	From   time.Duration `json:"from_ns"`
	To     time.Duration `json:"to_ns"`
}

// Gap is a time in which a source got no answer from any node; or, among the
// blind ones, in which the lab did not ask.
type Gap struct {
	Source Source        `json:"source"`
	From   time.Duration `json:"from_ns"`
	To     time.Duration `json:"to_ns"`
}

// Kind tells the marks of a history apart.
type Kind string

// The kinds of marks.
const (
	Setup  Kind = "setup"  // before the run counts: processes started
	Ready  Kind = "ready"  // from here on, silence counts
	Fault  Kind = "fault"  // the lab broke something
	Heal   Kind = "heal"   // the lab mended something
	Order  Kind = "order"  // an operator's command, or a daemon told to stop
	Met    Kind = "met"    // an awaited event came
	Missed Kind = "missed" // an awaited event did not come in time
	Notice Kind = "notice" // worth knowing: an announcement, a process that ended
)

// Mark is something the lab did, or waited for, or noticed.
type Mark struct {
	At   time.Duration `json:"at_ns"`
	Kind Kind          `json:"kind"`
	Node string        `json:"node,omitempty"`
	Text string        `json:"text"`
	Late bool          `json:"late,omitempty"` // Missed: a deadline went by, and that is all
}

// History is what was recorded of one run. It can be judged again at any time.
type History struct {
	// Name is the VRRP instance whose VIP this is about.
	Name  string        `json:"name,omitempty"`
	Nodes []string      `json:"nodes"`
	End   time.Duration `json:"end_ns"`
	Spans []Span        `json:"spans"`
	Gaps  []Gap         `json:"gaps"`
	Blind []Gap         `json:"blind,omitempty"` // the lab itself was held up for longer than BlindAfter
	Marks []Mark        `json:"marks"`
	// Waiting is how much of the time since the run was ready some process of the machine,
	// the lab's or another, waited for a processor. 0: the kernel does not tell.
	Waiting time.Duration `json:"waiting_ns,omitempty"`
	// Ledger is what the nodes' ledgers of fencings hold at the end: "NODE:CAUSE" for each, in order.
	Ledger []string `json:"ledger,omitempty"`
	// Others are the histories of further VIPs of the same run. What all have in common
	// stands in the first one only, see Parts.
	Others []History `json:"others,omitempty"`
}

// Parts returns the histories of all VIPs of the run, each complete, the first one first.
func (h History) Parts() []History {
	parts := []History{h}
	for _, o := range h.Others {
		o.Nodes, o.End, o.Marks, o.Waiting = h.Nodes, h.End, h.Marks, h.Waiting
		parts = append(parts, o)
	}
	parts[0].Others = nil
	return parts
}

// ready returns from when on silence counts, and whether the run came so far.
func (h History) ready() (time.Duration, bool) {
	for _, m := range h.Marks {
		if m.Kind == Ready {
			return m.At, true
		}
	}
	return 0, false
}

// of returns the spans of one source, ordered by their start.
func (h History) of(s Source) []Span {
	var spans []Span
	for _, span := range h.Spans {
		if span.Source == s {
			spans = append(spans, span)
		}
	}
	slices.SortStableFunc(spans, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	return spans
}
