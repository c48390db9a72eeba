package checks

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/solovip/solovip/lvs"
)

// Scheduler decides when attempts are made and what they mean. It is driven by Step alone
// and is not safe for concurrent use.
type Scheduler struct {
	checks  map[lvs.CheckID]*check
	waiting queue  // the checks without an attempt under way
	number  uint64 // of the last attempt
	out     []Action
}

// New returns a scheduler without checks.
func New() *Scheduler { return &Scheduler{checks: make(map[lvs.CheckID]*check)} }

// Step takes in one event and returns what has to be done, in order; the slice is good
// until the next Step. now is on the boot clock and never goes back.
func (s *Scheduler) Step(now time.Time, ev Event) []Action {
	s.out = s.out[:0]
	switch ev := ev.(type) {
	case Add:
		s.remove(ev.ID)
		c := &check{id: ev.ID, timing: ev.Timing.sane(), due: ev.First}
		s.checks[c.id] = c
		heap.Push(&s.waiting, c)
	case Remove:
		s.remove(ev.ID)
	case Tick:
		for len(s.waiting) > 0 && !now.Before(s.waiting[0].due) {
			c := heap.Pop(&s.waiting).(*check) //nolint:forcetypeassert // nothing else is in it
			s.number++
			c.attempt = s.number
			s.out = append(s.out, Attempt{ID: c.id, Page: c.page, Due: c.due, Number: c.attempt})
		}
	case Done:
		c := s.checks[ev.Attempt.ID]
		if c == nil || c.attempt != ev.Attempt.Number {
			break
		}
		c.attempt = 0
		if result, known := c.done(now, ev); known {
			s.out = append(s.out, Report{result})
		}
		heap.Push(&s.waiting, c)
	}
	return s.out
}

// Deadline returns when the next Tick is due; zero: none is.
func (s *Scheduler) Deadline() time.Time {
	if len(s.waiting) == 0 {
		return time.Time{}
	}
	return s.waiting[0].due
}

func (s *Scheduler) remove(id lvs.CheckID) {
	c := s.checks[id]
	if c == nil {
		return
	}
	delete(s.checks, id)
	if c.attempt == 0 {
		heap.Remove(&s.waiting, c.place)
	}
}

// sane returns the timing with what cannot be put right: time has to pass between two
// attempts, and there is something to try.
func (t Timing) sane() Timing {
	t.Interval = max(t.Interval, time.Millisecond)
	t.DelayBeforeRetry = max(t.DelayBeforeRetry, 0)
	t.Retry = max(t.Retry, 0)
	t.Pages = max(t.Pages, 1)
	return t
}

// state is what is known of a check.
type state uint8

const (
	unknown state = iota
	up
	down
)

// check is a check and where it stands.
type check struct {
	id      lvs.CheckID
	timing  Timing
	state   state
	due     time.Time // of the next attempt, or of the one under way
	attempt uint64    // under way; 0: none, and the check is in the queue
	place   int       // in the queue
	page    int       // of the next attempt
	passed  int       // pages in a row, while not up
	failed  int       // attempts in a row
	why     string    // of the state
}

// done takes an outcome in and settles when the next attempt is due. It returns the state,
// if it is known.
func (c *check) done(now time.Time, d Done) (lvs.Result, bool) {
	if d.OK {
		c.success(now, d.Why)
	} else {
		c.failure(now, d.Why)
	}
	r := lvs.Result{Check: c.id, Up: c.state == up, Why: c.why}
	if d.OK {
		r.Adjust = d.Adjust
	}
	return r, c.state != unknown
}

func (c *check) success(now time.Time, why string) {
	c.failed = 0
	c.passed++
	c.page = (c.page + 1) % c.timing.Pages
	switch {
	case c.state == up || c.passed >= c.timing.Pages:
		c.becomeUp(why)
	case c.timing.FastRecovery:
		c.due = now
		return
	}
	c.nextInterval(now)
}

func (c *check) failure(now time.Time, why string) {
	c.failed++
	c.passed = 0
	switch {
	case c.state != up || c.failed > c.timing.Retry:
		c.becomeDown(why)
		c.nextInterval(now)
	default:
		c.why = fmt.Sprintf("attempt %d of %d failed: %s", c.failed, c.timing.Retry+1, why)
		c.due = now.Add(c.timing.DelayBeforeRetry)
	}
}

func (c *check) becomeUp(why string) {
	c.state, c.passed, c.why = up, 0, why
}

// becomeDown is also called when it is down already, for another reason perhaps.
func (c *check) becomeDown(why string) {
	c.state, c.failed, c.why = down, 0, why
}

// nextInterval makes the next attempt due a whole number of intervals after the last: one,
// or as many as have passed. So a check keeps its distance from others, however long
// attempts take, and after a pause of the machine attempts are not caught up on.
func (c *check) nextInterval(now time.Time) {
	passed := int64(max(now.Sub(c.due), 0) / c.timing.Interval)
	c.due = c.due.Add(time.Duration(passed+1) * c.timing.Interval)
}

// queue is a heap of checks by when they are due. Those due at one instant come in the
// order of their ids, so that one story has one trace.
type queue []*check

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].id < q[j].id
	}
	return q[i].due.Before(q[j].due)
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push adds a check: for package heap.
func (q *queue) Push(x any) {
	c := x.(*check) //nolint:forcetypeassert // called by package heap alone, with what Step gives it
	c.place = len(*q)
	*q = append(*q, c)
}

// Pop takes the last check off: for package heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return c
}
