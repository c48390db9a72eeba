package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// A pair is two machines on a link, in virtual time, each with the plain composer that
// answers Want with Grant at once.
type pair struct {
	now   time.Time
	m     [2]*Machine
	dead  [2]bool // crashed: takes no part any more
	cut   [2]bool // what node i sends is lost
	wire  []frame // in order of arrival: the delay is always the same
	steps []pairStep
	judge judge
	trace strings.Builder
}

type frame struct {
	at time.Time
	to int
	ev Received
}

// pairStep is something that happens to the pair at a given time.
type pairStep struct {
	at   time.Duration
	name string
	do   func(p *pair)
}

const linkDelay = 5 * time.Millisecond

func (p *pair) step(i int, ev Event) {
	if p.dead[i] {
		return
	}
	for _, a := range p.m[i].Step(p.now, ev) {
		fmt.Fprintf(&p.trace, "%7.3f node %d: %s\n", seconds(p.now), i, describe(a))
		switch a := a.(type) {
		case Send:
			if !p.cut[i] {
				p.wire = append(p.wire, frame{p.now.Add(linkDelay), 1 - i, Received{a.Packet, p.m[i].cfg.Source}})
			}
		case Want:
			p.step(i, Grant{})
		case Unwant, Changed, Overdue, Challenged, Announce, Discarded:
		}
	}
}

// next returns when something happens next.
func (p *pair) next() time.Time {
	var at []time.Time
	for i, m := range p.m {
		if !p.dead[i] {
			at = append(at, m.Deadline())
		}
	}
	if len(p.wire) > 0 {
		at = append(at, p.wire[0].at)
	}
	if len(p.steps) > 0 {
		at = append(at, scriptStart.Add(p.steps[0].at))
	}
	return earliest(at...)
}

// run plays until end and returns what the judge found wrong.
func (p *pair) run(end time.Duration) error {
	for {
		at := p.next()
		if at.IsZero() || at.After(scriptStart.Add(end)) {
			at = scriptStart.Add(end)
		}
		if err := p.judge.pass(p, at); err != nil {
			return err
		}
		p.now = at
		switch {
		case !at.Before(scriptStart.Add(end)):
			return nil
		case len(p.steps) > 0 && !scriptStart.Add(p.steps[0].at).After(at):
			s := p.steps[0]
			p.steps = p.steps[1:]
			fmt.Fprintf(&p.trace, "%7.3f %s\n", seconds(p.now), s.name)
			s.do(p)
		case len(p.wire) > 0 && !p.wire[0].at.After(at):
			f := p.wire[0]
			p.wire = p.wire[1:]
			p.step(f.to, f.ev)
		default:
			for i, m := range p.m {
				if d := m.Deadline(); !d.IsZero() && !d.After(at) {
					p.step(i, Tick{})
				}
			}
		}
	}
}

// master reports whether node i is MASTER; a crashed one no longer counts.
func (p *pair) master(i int) bool { return !p.dead[i] && p.m[i].State() == StateMaster }

func (p *pair) serves(i int) bool {
	return !p.dead[i] && p.m[i].State() != StateInit && p.m[i].State() != StateFault
}

func (p *pair) connected() bool { return !p.cut[0] && !p.cut[1] }

// judge watches the time between events, when nothing changes. It holds two rules:
//
//   - Two connected masters find out within two trips over the link, since a new master
//     speaks at once and a better one answers at once. After a cut they find out with
//     the next advert of either.
//   - While a node can serve, there is a master within the longest master-down interval,
//     which is below four advertisement intervals.
type judge struct {
	longest   time.Duration // advertisement interval
	twoSince  time.Time     // two masters, connected
	noneSince time.Time     // a node could serve, and none did
	healedAt  time.Time
	wasCut    bool
	worstTwo  time.Duration
	worstNone time.Duration
	worstHeal time.Duration
}

func (j *judge) pass(p *pair, to time.Time) error {
	if p.connected() && j.wasCut {
		j.healedAt = p.now
	}
	j.wasCut = !p.connected()

	if p.master(0) && p.master(1) && p.connected() {
		if j.twoSince.IsZero() {
			j.twoSince = p.now
		}
		limit, worst := 2*linkDelay, &j.worstTwo
		if !j.healedAt.IsZero() && !j.healedAt.Before(j.twoSince) {
			limit, worst = j.longest+2*linkDelay, &j.worstHeal
		}
		*worst = max(*worst, to.Sub(j.twoSince))
		if d := to.Sub(j.twoSince); d > limit {
			return fmt.Errorf("two masters for %v at %.3f, limit %v", d, seconds(to), limit)
		}
	} else {
		j.twoSince = time.Time{}
	}

	if (p.serves(0) || p.serves(1)) && !p.master(0) && !p.master(1) {
		if j.noneSince.IsZero() {
			j.noneSince = p.now
		}
		j.worstNone = max(j.worstNone, to.Sub(j.noneSince))
		if d, limit := to.Sub(j.noneSince), 4*j.longest+2*linkDelay; d > limit {
			return fmt.Errorf("no master for %v at %.3f, limit %v", d, seconds(to), limit)
		}
	} else {
		j.noneSince = time.Time{}
	}
	return nil
}

// pairCase is one point of the space.
type pairCase struct {
	priority [2]uint8
	preempt  [2]string // "yes", "no" or "delayed"
	interval [2]time.Duration
	start    time.Duration // of node 1; node 0 starts at 0
	trouble  string
	at       time.Duration
}

func (c pairCase) pair() (*pair, error) {
	p := &pair{now: scriptStart}
	p.judge.longest = max(c.interval[0], c.interval[1])
	for i := range p.m {
		cfg := defaultConfig()
		cfg.Source = netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)})
		cfg.Priority, cfg.AdvertInterval = c.priority[i], c.interval[i]
		if c.interval[0] == c.interval[1] {
			cfg.Version = V2 // which wants the intervals to be equal
		}
		cfg.InitialMaster = cfg.Priority == PriorityOwner
		cfg.Preempt = c.preempt[i] != "no"
		if c.preempt[i] == "delayed" {
			cfg.PreemptDelay = 2 * time.Second
		}
		m, err := New(cfg)
		if err != nil {
			return nil, err
		}
		p.m[i] = m
	}
	start := func(i int, at time.Duration) {
		p.steps = append(p.steps, pairStep{at, fmt.Sprintf("start node %d", i), func(p *pair) { p.step(i, Start{}) }})
	}
	start(0, 0)
	start(1, c.start)
	p.steps = append(p.steps, troubles[c.trouble](c.at)...)
	slices.SortStableFunc(p.steps, func(a, b pairStep) int { return int(a.at - b.at) })
	return p, nil
}

// troubles are what can happen to a pair from a given time on. All are over 7 s later.
var troubles = map[string]func(at time.Duration) []pairStep{
	"none": func(time.Duration) []pairStep { return nil },
	"node 0 stops": func(at time.Duration) []pairStep {
		return []pairStep{
			{at, "stop node 0", func(p *pair) { p.step(0, Stop{}) }},
			{at + 5*time.Second, "start node 0", func(p *pair) { p.step(0, Start{}) }},
		}
	},
	"node 1 crashes": func(at time.Duration) []pairStep {
		return []pairStep{{at, "crash node 1", func(p *pair) { p.dead[1] = true }}}
	},
	"node 1 in FAULT": func(at time.Duration) []pairStep {
		return []pairStep{
			{at, "fault on node 1", func(p *pair) { p.step(1, SetFault{Fault: true, Why: "test"}) }},
			{at + 1500*time.Millisecond, "fault over", func(p *pair) { p.step(1, SetFault{}) }},
		}
	},
	"cut": func(at time.Duration) []pairStep {
		return []pairStep{
			{at, "cut", func(p *pair) { p.cut = [2]bool{true, true} }},
			{at + 6200*time.Millisecond, "heal", func(p *pair) { p.cut = [2]bool{} }},
		}
	},
	"node 0 unheard": func(at time.Duration) []pairStep {
		return []pairStep{
			{at, "cut one way", func(p *pair) { p.cut[0] = true }},
			{at + 6200*time.Millisecond, "heal", func(p *pair) { p.cut = [2]bool{} }},
		}
	},
	"priority of node 0 falls": func(at time.Duration) []pairStep {
		return []pairStep{
			{at, "priority 20", func(p *pair) { p.step(0, SetPriority{Priority: 20}) }},
			{at + 3*time.Second, "priority 150", func(p *pair) { p.step(0, SetPriority{Priority: 150}) }},
		}
	},
	"handover to node 0": func(at time.Duration) []pairStep {
		return []pairStep{{at, "hand over", func(p *pair) {
			if p.master(1) {
				p.step(1, Yield{Quiet: true, Why: "handed over"})
				p.step(0, Grant{})
			}
		}}}
	},
}

// TestPairExhaustive plays every case of a small space: two nodes, their priorities,
// preemption, intervals and start times, and one trouble at a time. The rules are the
// judge's; and in the end, with all trouble over, just one node is MASTER, the better one
// if it may preempt.
func TestPairExhaustive(t *testing.T) {
	const sec, ms = time.Second, time.Millisecond
	priorities := []uint8{50, 100, 254, 255}
	preempts := []string{"yes", "no", "delayed"}
	intervals := [][2]time.Duration{{sec, sec}, {sec, 300 * ms}}
	starts := []time.Duration{0, 3 * ms, 2 * sec, 3607 * ms, 5300 * ms}
	ats := []time.Duration{1 * sec, 4 * sec, 7100 * ms}
	var worst judge
	cases := 0
	for _, p0 := range priorities {
		for _, p1 := range priorities {
			for _, pre0 := range preempts {
				for _, pre1 := range preempts {
					for _, interval := range intervals {
						for _, start := range starts {
							for trouble := range troubles {
								for _, at := range ats {
									c := pairCase{[2]uint8{p0, p1}, [2]string{pre0, pre1}, interval, start, trouble, at}
									cases++
									playPair(t, c, &worst)
									if t.Failed() {
										return
									}
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d cases; two masters for %v at most, %v after a cut; none for %v at most", cases, worst.worstTwo, worst.worstHeal, worst.worstNone)
}

func playPair(t *testing.T, c pairCase, worst *judge) {
	t.Helper()
	p, err := c.pair()
	if err == nil {
		err = p.run(30 * time.Second)
	}
	if err == nil {
		err = p.settled()
	}
	if err != nil {
		t.Errorf("%+v: %v\n%s", c, err, p.trace.String())
		return
	}
	worst.worstTwo = max(worst.worstTwo, p.judge.worstTwo)
	worst.worstHeal = max(worst.worstHeal, p.judge.worstHeal)
	worst.worstNone = max(worst.worstNone, p.judge.worstNone)
}

// settled checks the end of a case.
func (p *pair) settled() error {
	if p.dead[1] {
		if !p.master(0) {
			return fmt.Errorf("the survivor is %v", p.m[0].State())
		}
		return nil
	}
	if p.master(0) == p.master(1) {
		return fmt.Errorf("in the end: %v and %v", p.m[0].State(), p.m[1].State())
	}
	better := 0
	switch p0, p1 := p.m[0].Priority(), p.m[1].Priority(); {
	case p0 == p1:
		return nil // whoever came first
	case p1 > p0:
		better = 1
	}
	if p.m[better].cfg.Preempt && !p.master(better) {
		return fmt.Errorf("node %d should have preempted", better)
	}
	return nil
}
