package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// BlindLimit is how long the lab itself may be held up before a run proves nothing.
const BlindLimit = 300 * time.Millisecond

// Expect is what a run of a system must show. The zero Expect asks that two nodes
// never hold, and nothing else.
type Expect struct {
	// TwoAtLeast and TwoAtMost bound the time with two holders. A system that is known
	// to split has to show it: then the lab is known to see it.
	TwoAtLeast time.Duration `json:"two_at_least_ns,omitempty"`
	TwoAtMost  time.Duration `json:"two_at_most_ns,omitempty"`
	// SilentAddress is how long a second node's kernel may have the address while nobody
	// can reach it there: a gate silences it, and only the client can tell. 0: not at all.
	SilentAddress time.Duration `json:"silent_address_ns,omitempty"`
	// TwoServices allows that two guarded services run at once; implied by TwoAtMost.
	TwoServices bool `json:"two_services,omitempty"`

	// NobodyAtLeast is asked of a system that is known to leave the VIP unanswered.
	NobodyAtLeast time.Duration `json:"nobody_at_least_ns,omitempty"`

	Nobody   time.Duration `json:"nobody_ns,omitempty"`   // longest time in sum without an ARP answer; 0: any
	Gap      time.Duration `json:"gap_ns,omitempty"`      // longest unbroken time without an ARP answer; 0: any
	Unserved time.Duration `json:"unserved_ns,omitempty"` // the same without an answer of a service; 0: any
	Takeover time.Duration `json:"takeover_ns,omitempty"` // longest time from the first fault to another holder; 0: any
	Serving  time.Duration `json:"serving_ns,omitempty"`  // the same to an answer of its service; 0: any

	Stays  bool   `json:"stays,omitempty"`  // the holder never changes
	Moves  int    `json:"moves,omitempty"`  // how often the holder changes; 0: any number
	Holder string `json:"holder,omitempty"` // who alone holds at the end; "": anybody

	// Ledger is what the nodes' ledgers of fencings must hold at the end, as in a History
	// with commas between; or "none". "": anything.
	Ledger string `json:"ledger,omitempty"`

	// Whole asks that the VIPs of the run, which are one sync group, are never on two nodes,
	// each of them or one here and one there, for longer than two may hold one of them.
	Whole bool `json:"whole,omitempty"`
	// Others are what the further VIPs of the run must show, in the order of the history.
	// One that is not named has to show what the zero Expect asks.
	Others []Expect `json:"others,omitempty"`
}

// shortGap is a Gap in which other runs beside the one that is to show it would be seen.
const shortGap = 300 * time.Millisecond

// Delicate reports whether a run has to have the machine for itself to show what is expected.
func (e Expect) Delicate() bool {
	return e.Gap > 0 && e.Gap < shortGap || slices.ContainsFunc(e.Others, Expect.Delicate)
}

// Verdict is what a run has shown, and where it fell short of what was expected.
type Verdict struct {
	Figures  Figures  `json:"figures"`
	Failures []string `json:"failures,omitempty"`
	// Inconclusive says that the run should be repeated: the lab itself was held up for
	// longer than BlindLimit, so that it proves nothing, whatever it shows; or nothing but
	// a time was exceeded, and that may be the doing of a machine with too much to do.
	Inconclusive bool `json:"inconclusive,omitempty"`
	// Split says that the system was expected to have two holders, and had.
	Split bool `json:"split,omitempty"`
	// Lost says that the system was expected to leave the VIP unanswered, and did.
	Lost bool `json:"lost,omitempty"`
}

// Pass reports whether the run has shown all that was expected.
func (v Verdict) Pass() bool { return len(v.Failures) == 0 }

// Judge measures a history and compares it with what was expected. With several VIPs the
// figures are those of the first one, but for two holders, where the worst counts.
func Judge(h History, e Expect) Verdict {
	var v Verdict
	fail := func(format string, args ...any) {
		v.Failures = append(v.Failures, fmt.Sprintf(format, args...))
	}
	times := 0 // of the failures: a time was exceeded, and that is all
	for _, m := range h.Marks {
		if m.Kind == Missed {
			fail("%s", m.Text)
		}
		if m.Late {
			times++
		}
	}
	if _, ready := h.ready(); !ready {
		fail("the run was never ready")
	}
	parts := h.Parts()
	crowded := false
	for i, part := range parts {
		one, exceeded := judgeOne(part, e.of(i))
		for _, text := range one.Failures {
			if i > 0 {
				text = part.Name + ": " + text
			}
			fail("%s", text)
		}
		times += exceeded
		crowded = crowded || busy(part)
		if i == 0 {
			v.Figures = one.Figures
		}
		v.Figures.TwoHolders = max(v.Figures.TwoHolders, one.Figures.TwoHolders)
		v.Inconclusive = v.Inconclusive || one.Inconclusive
		v.Split, v.Lost = v.Split || one.Split, v.Lost || one.Lost
	}
	if is := cmp.Or(strings.Join(h.Ledger, ","), "none"); e.Ledger != "" && is != e.Ledger {
		fail("the ledgers of fencings hold %s, %s expected", is, e.Ledger)
	}
	if apart := apart(parts); e.Whole && apart > e.TwoAtMost {
		fail("the group's addresses were on two nodes for %d ms, at most %d ms expected", apart.Milliseconds(), e.TwoAtMost.Milliseconds())
		v.Figures.TwoHolders = max(v.Figures.TwoHolders, apart)
	}
	if times > 0 && times == len(v.Failures) && crowded {
		v.Inconclusive = true
	}
	return v
}

// of returns what is expected of one of the VIPs, counted as in History.Parts.
func (e Expect) of(vip int) Expect {
	switch {
	case vip == 0:
		return e
	case vip <= len(e.Others):
		return e.Others[vip-1]
	}
	return Expect{}
}

// judgeOne judges the history of one VIP by itself, and returns how many of its failures are
// that a time was exceeded.
func judgeOne(h History, e Expect) (v Verdict, times int) {
	f := Measure(h)
	if e.SilentAddress > 0 && f.TwoAddressed <= e.SilentAddress {
		f.TwoHolders = f.TwoAnswering
	}
	v = Verdict{
		Figures: f,
		Split:   e.TwoAtLeast > 0 && f.TwoHolders >= e.TwoAtLeast,
		Lost:    e.NobodyAtLeast > 0 && f.Nobody >= e.NobodyAtLeast,
	}
	fail := func(format string, args ...any) {
		v.Failures = append(v.Failures, fmt.Sprintf(format, args...))
	}
	if _, ready := h.ready(); !ready {
		e = Expect{TwoAtMost: e.TwoAtMost} // the rest has not been tried
	}
	if f.Blind > BlindLimit {
		v.Inconclusive = true
		fail("the lab was held up for %d ms and saw nothing: the run proves nothing, let it run with less beside it", f.Blind.Milliseconds())
	}
	two := f.TwoHolders
	switch {
	case two > e.TwoAtMost:
		which := ""
		if f.TwoAnswering <= e.TwoAtMost {
			which = ": the kernels of two nodes had the address, of which one answered (where a daemon is frozen or killed grant it by silent-address)"
		}
		fail("two holders for %d ms, at most %d ms expected%s", two.Milliseconds(), e.TwoAtMost.Milliseconds(), which)
	case two < e.TwoAtLeast:
		fail("two holders for %d ms, at least %d ms expected", two.Milliseconds(), e.TwoAtLeast.Milliseconds())
	}
	if f.TwoServing > 0 && e.TwoAtMost == 0 && !e.TwoServices {
		fail("two guarded services ran for %d ms", f.TwoServing.Milliseconds())
	}
	certain := len(v.Failures)
	judgeSilence(f, e, fail)
	judgeTakeover(f, e, fail)
	times = len(v.Failures) - certain
	if e.Stays && f.Changes > 0 {
		fail("the holder changed %d times, it should have stayed", f.Changes)
	}
	if e.Moves > 0 && f.Changes != e.Moves {
		fail("the holder changed %d times, %d expected", f.Changes, e.Moves)
	}
	if e.Holder != "" && f.Final != e.Holder {
		fail("holder at the end is %s, %s expected", f.Final, e.Holder)
	}
	return v, times
}

// busyShare is how much of the time processes may wait for a processor in a run whose
// times count: one part of so many. A run alone on two processors has a tenth.
const busyShare = 4

// busy reports whether, since the run was ready, the machine had too much to do for times
// to mean much.
func busy(h History) bool {
	ready, _ := h.ready()
	return h.Waiting > (h.End-ready)/busyShare ||
		slices.ContainsFunc(h.Blind, func(gap Gap) bool { return gap.To > ready })
}

func judgeSilence(f Figures, e Expect, fail func(string, ...any)) {
	for _, bound := range []struct {
		what     string
		is, most time.Duration
	}{
		{"nobody answered for %d ms, at most %d ms expected", f.Nobody, e.Nobody},
		{"nobody answered for %d ms without a break, at most %d ms expected", f.Gap, e.Gap},
		{"no service answered for %d ms, at most %d ms expected", f.Unserved, e.Unserved},
	} {
		if bound.most > 0 && bound.is > bound.most {
			fail(bound.what, bound.is.Milliseconds(), bound.most.Milliseconds())
		}
	}
	if f.Nobody < e.NobodyAtLeast {
		fail("nobody answered for %d ms, at least %d ms expected", f.Nobody.Milliseconds(), e.NobodyAtLeast.Milliseconds())
	}
}

func judgeTakeover(f Figures, e Expect, fail func(string, ...any)) {
	if e.Takeover == 0 && e.Serving == 0 {
		return
	}
	if len(f.Takeovers) == 0 {
		fail("nobody took over")
		return
	}
	first := f.Takeovers[0]
	if e.Takeover > 0 && first.ARP > e.Takeover {
		fail("%s answered after %d ms, at most %d ms expected", first.To, first.ARP.Milliseconds(), e.Takeover.Milliseconds())
	}
	switch {
	case e.Serving > 0 && first.Service == 0:
		fail("the service on %s never answered", first.To)
	case first.Service > e.Serving && e.Serving > 0:
		fail("the service on %s answered after %d ms, at most %d ms expected", first.To, first.Service.Milliseconds(), e.Serving.Milliseconds())
	}
}

// String returns the figures that matter most, in a line: "two holders 0 ms, nobody 2840 ms,
// holder at the end n2".
func (f Figures) String() string {
	text := fmt.Sprintf("two holders %d ms, nobody %d ms", f.TwoHolders.Milliseconds(), f.Nobody.Milliseconds())
	if len(f.Takeovers) > 0 {
		text += fmt.Sprintf(", take-over %d ms", f.Takeovers[0].ARP.Milliseconds())
	}
	return text + ", holder at the end " + f.Final
}

// String returns the figures and the verdict in one line: "two holders 0 ms, nobody 2840 ms,
// holder at the end n2: PASS".
func (v Verdict) String() string {
	switch {
	case !v.Pass():
		return v.Figures.String() + ": FAIL (" + strings.Join(v.Failures, "; ") + ")"
	case v.Split:
		return v.Figures.String() + ": SPLIT, as expected of it"
	case v.Lost:
		return v.Figures.String() + ": LOST, as expected of it"
	}
	return v.Figures.String() + ": PASS"
}
