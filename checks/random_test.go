package checks

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/solovip/solovip/lvs"
)

// TestRandom plays random stories of many checks, with outcomes that come late, twice or
// never, and holds against each what it may do.
func TestRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a story that can be told again
		if err := randomStory(r); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// seen is what an observer knows of a check.
type seen struct {
	timing  Timing
	under   bool // an attempt is under way
	ended   time.Time
	begun   time.Time // the attempt before
	due     time.Time
	fails   int // in a row
	passes  int
	result  lvs.Result
	decided bool
}

func randomStory(r *rand.Rand) error {
	s, now := New(), start
	all := map[lvs.CheckID]*seen{}
	var air []Attempt
	for range 400 {
		switch r.IntN(8) {
		case 0:
			id := lvs.CheckID(fmt.Sprint(r.IntN(6)))
			timing := Timing{
				Interval: time.Duration(1+r.IntN(5)) * time.Second, Retry: r.IntN(3), Pages: r.IntN(4),
				DelayBeforeRetry: time.Duration(r.IntN(2000)) * time.Millisecond, FastRecovery: r.IntN(2) == 0,
			}
			first := now.Add(time.Duration(r.Int64N(int64(timing.Interval))))
			all[id] = &seen{timing: timing, due: first}
			if got := s.Step(now, Add{id, timing, first}); len(got) > 0 {
				return fmt.Errorf("Add does %v", got)
			}
		case 1:
			id := lvs.CheckID(fmt.Sprint(r.IntN(6)))
			delete(all, id)
			s.Step(now, Remove{id})
		case 2, 3, 4:
			now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
			for _, a := range s.Step(now, Tick{}) {
				attempt, ok := a.(Attempt)
				if !ok {
					return fmt.Errorf("Tick does %T", a)
				}
				if err := all[attempt.ID].begin(now, attempt); err != nil {
					return fmt.Errorf("check %s: %w", attempt.ID, err)
				}
				air = append(air, attempt)
			}
			if due := s.Deadline(); !due.IsZero() && !due.After(now) {
				return fmt.Errorf("after Tick at %v the deadline is %v", now, due)
			}
		default:
			if len(air) == 0 {
				continue
			}
			i := r.IntN(len(air))
			a := air[i]
			if r.IntN(8) > 0 { // else it comes again
				air = append(air[:i], air[i+1:]...)
			}
			d := Done{Attempt: a, OK: r.IntN(2) == 0, Why: "why"}
			c := all[a.ID]
			current := c != nil && c.under && s.checks[a.ID].attempt == a.Number
			got := s.Step(now, d)
			if !current {
				if len(got) > 0 {
					return fmt.Errorf("an outcome that means nothing does %v", got)
				}
				continue
			}
			if err := c.end(now, d, got); err != nil {
				return fmt.Errorf("check %s: %w", a.ID, err)
			}
		}
	}
	return nil
}

// begin returns what is wrong with an attempt that begins.
func (c *seen) begin(now time.Time, a Attempt) error {
	switch {
	case c == nil:
		return fmt.Errorf("an attempt after it was removed")
	case c.under:
		return fmt.Errorf("a second attempt at one time")
	case a.Due.After(now):
		return fmt.Errorf("an attempt before it is due")
	case c.begun.IsZero() && !a.Due.Equal(c.due):
		return fmt.Errorf("the first attempt is due at %v, not %v", a.Due, c.due)
	case a.Page < 0 || a.Page >= max(1, c.timing.Pages):
		return fmt.Errorf("page %d of %d", a.Page, c.timing.Pages)
	}
	retry := c.fails > 0 && c.decided && c.result.Up
	fast := c.passes > 0 && c.timing.FastRecovery && (!c.decided || !c.result.Up)
	switch since := a.Due.Sub(c.begun); {
	case c.begun.IsZero() || fast:
	case retry && !a.Due.Equal(c.ended.Add(c.timing.DelayBeforeRetry)):
		return fmt.Errorf("a retry %v after the failure, not %v", a.Due.Sub(c.ended), c.timing.DelayBeforeRetry)
	case !retry && since%c.timing.Interval != 0:
		return fmt.Errorf("an attempt %v after the one before", since)
	}
	c.under, c.begun = true, a.Due
	return nil
}

// end returns what is wrong with what an outcome did.
func (c *seen) end(now time.Time, d Done, got []Action) error {
	c.under, c.ended = false, now
	if d.OK {
		c.fails, c.passes = 0, c.passes+1
	} else {
		c.fails, c.passes = c.fails+1, 0
	}
	up := c.decided && c.result.Up || c.passes >= max(1, c.timing.Pages)
	if !d.OK && (!c.decided || !c.result.Up) || c.fails > c.timing.Retry {
		up = false
		c.decided, c.fails = true, 0
	}
	if up {
		c.decided, c.passes = true, 0
	}
	if !c.decided {
		if len(got) > 0 {
			return fmt.Errorf("a state before there is one: %v", got)
		}
		return nil
	}
	report, ok := Action(nil), false
	if len(got) == 1 {
		report = got[0]
		_, ok = report.(Report)
	}
	if !ok {
		return fmt.Errorf("%+v does %v", d, got)
	}
	c.result = report.(Report).Result
	if c.result.Up != up || !up && c.result.Why == "" {
		return fmt.Errorf("%+v is told as %+v, want up %v", d, c.result, up)
	}
	return nil
}

// BenchmarkScheduler measures a second of ten thousand checks, each made once.
func BenchmarkScheduler(b *testing.B) {
	const n = 10_000
	s, now := New(), start
	for i := range n {
		s.Step(now, Add{lvs.CheckID(fmt.Sprintf("TCP_CHECK 10.0.%d.%d:80", i/256, i%256)), Timing{Interval: time.Second}, now.Add(time.Duration(i) * time.Second / n)})
	}
	for b.Loop() {
		for range 1000 { // a millisecond each
			now = now.Add(time.Millisecond)
			var due []Attempt
			for _, a := range s.Step(now, Tick{}) {
				due = append(due, a.(Attempt))
			}
			for _, a := range due {
				s.Step(now, Done{Attempt: a, OK: true})
			}
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "checks/s")
}
