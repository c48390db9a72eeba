package verify

import (
	"slices"
	"time"
)

const (
	// Prompt is how soon an answer must come to count for the instant of its question.
	// A later one counts for the instant it came, so that a question that waited in a
	// queue on its way to one node cannot make a handover look like two holders.
	Prompt = time.Millisecond

	// BlindAfter is how long a source may go without asking before the time counts as blind.
	BlindAfter = 50 * time.Millisecond
)

// Probe is one question that all nodes could answer, with the answers that came
// before the lab stopped waiting for them. None is an answer too: nobody holds.
type Probe struct {
	Source  Source
	Sent    time.Duration
	Answers []Answer
}

// Answer is a node's answer to a Probe.
type Answer struct {
	Node string
	At   time.Duration
}

// Recorder builds a History from observations. Those of one source must come in the
// order they were made. It is not safe for concurrent use.
type Recorder struct {
	history History
	lanes   map[laneKey]*lane
	sources map[Source]*source
}

type laneKey struct {
	source Source
	node   string
}

// lane is what one source knows of one node.
type lane struct {
	held       bool
	from, last time.Duration
}

// source is what the lab knows of one source as a whole.
type source struct {
	asked   bool
	last    time.Duration // when it asked last
	silent  bool
	silence time.Duration // since when nobody answers, while silent
	holders []string      // who holds now, sorted
	since   time.Duration // since when it has been exactly these
}

// NewRecorder returns a Recorder of a history of the given nodes.
func NewRecorder(nodes []string) *Recorder {
	return &Recorder{
		history: History{Nodes: slices.Clone(nodes)},
		lanes:   make(map[laneKey]*lane),
		sources: make(map[Source]*source),
	}
}

// Mark records what the lab did or noticed.
func (r *Recorder) Mark(m Mark) { r.history.Marks = append(r.history.Marks, m) }

// Probe records a question to all nodes, when it is clear who has answered it.
func (r *Recorder) Probe(p Probe) {
	s := r.source(p.Source)
	r.asked(p.Source, s, p.Sent)
	answered := make(map[string]time.Duration, len(p.Answers))
	for _, a := range p.Answers {
		if _, twice := answered[a.Node]; !twice {
			answered[a.Node] = a.At
		}
	}
	for _, node := range r.nodes(p.Source, answered) {
		at, ok := answered[node]
		if !ok {
			r.Close(p.Source, node, p.Sent)
			continue
		}
		if at-p.Sent <= Prompt {
			at = p.Sent
		}
		r.Open(p.Source, node, at)
	}
	switch {
	case len(answered) == 0 && !s.silent:
		s.silent, s.silence = true, p.Sent
	case len(answered) > 0 && s.silent:
		s.silent = false
		r.history.Gaps = append(r.history.Gaps, Gap{p.Source, s.silence, p.Sent})
	}
}

// Sample records a look at one node: at this instant it held, or it did not.
func (r *Recorder) Sample(src Source, node string, at time.Duration, held bool) {
	r.asked(src, r.source(src), at)
	if held {
		r.Open(src, node, at)
	} else {
		r.Close(src, node, at)
	}
}

// Open records that the node holds at this instant, and was not seen not to since
// the last time it was seen to.
func (r *Recorder) Open(src Source, node string, at time.Duration) {
	l := r.lane(src, node)
	if !l.held {
		*l = lane{held: true, from: at, last: at}
		r.changed(src, at)
	}
	l.last = max(l.last, at)
}

// Close records that the node does not hold at this instant.
func (r *Recorder) Close(src Source, node string, at time.Duration) {
	l := r.lane(src, node)
	if !l.held {
		return
	}
	l.held = false
	r.history.Spans = append(r.history.Spans, Span{src, node, l.from, l.last})
	r.changed(src, at)
}

// Until extends what the node is known to hold up to this instant, for sources that
// report beginnings and ends instead of being asked.
func (r *Recorder) Until(src Source, node string, at time.Duration) {
	if l := r.lane(src, node); l.held {
		l.last = max(l.last, at)
	}
}

// Holding returns which nodes hold now as the source sees it, sorted by name, and
// since when it has been exactly these.
func (r *Recorder) Holding(src Source) (nodes []string, since time.Duration) {
	s := r.source(src)
	return s.holders, s.since
}

// History returns the history up to end; what is held still, is held until it was last seen.
func (r *Recorder) History(end time.Duration) History {
	h := r.history
	h.End = end
	h.Marks = slices.Clone(h.Marks)
	h.Spans = slices.Clone(h.Spans)
	h.Gaps = slices.Clone(h.Gaps)
	h.Blind = slices.Clone(h.Blind)
	for key, l := range r.lanes {
		if l.held {
			h.Spans = append(h.Spans, Span{key.source, key.node, l.from, l.last})
		}
	}
	for name, s := range r.sources {
		if s.silent {
			h.Gaps = append(h.Gaps, Gap{name, s.silence, end})
		}
		// Of the others an answer may take longer than that.
		if name == ARP && end-s.last > BlindAfter {
			h.Blind = append(h.Blind, Gap{name, s.last, end})
		}
	}
	slices.SortFunc(h.Spans, compareSpans)
	slices.SortFunc(h.Gaps, compareGaps)
	slices.SortStableFunc(h.Marks, func(a, b Mark) int { return int(a.At - b.At) })
	return h
}

func (r *Recorder) asked(name Source, s *source, at time.Duration) {
	if s.asked && at-s.last > BlindAfter {
		r.history.Blind = append(r.history.Blind, Gap{name, s.last, at})
	}
	s.asked, s.last = true, max(s.last, at)
}

func (r *Recorder) changed(name Source, at time.Duration) {
	s := r.source(name)
	s.since = at
	s.holders = nil // not in place: a caller of Holding may still read the old one
	for key, l := range r.lanes {
		if key.source == name && l.held {
			s.holders = append(s.holders, key.node)
		}
	}
	slices.Sort(s.holders)
}

// nodes returns all nodes that the source knows and those that answered now, sorted:
// a stranger that answers for the VIP is a holder too.
func (r *Recorder) nodes(src Source, answered map[string]time.Duration) []string {
	nodes := slices.Clone(r.history.Nodes)
	for key := range r.lanes {
		if key.source == src {
			nodes = append(nodes, key.node)
		}
	}
	for node := range answered {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func (r *Recorder) lane(src Source, node string) *lane {
	key := laneKey{src, node}
	l := r.lanes[key]
	if l == nil {
		l = new(lane)
		r.lanes[key] = l
	}
	return l
}

func (r *Recorder) source(name Source) *source {
	s := r.sources[name]
	if s == nil {
		s = new(source)
		r.sources[name] = s
	}
	return s
}
