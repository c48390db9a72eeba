package checks

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/golden"
	"github.com/solovip/solovip/lvs"
)

// start is when stories begin.
var start = time.Unix(3600, 0)

// TestScripts plays the stories in testdata/*.txt; see package golden. A trace has all that the
// scheduler did, with the seconds since the start. The commands:
//
//	add ID every D [retry N] [pause D] [pages N] [fast] [first D]
//	remove ID
//	ID ok|fail|hang [in D]   what attempts of it find from now on, and how long they take
//	weight ID N              as ok, with a weight
//	run D                    time passes
//	jump D                   time passes in which the machine does nothing
func TestScripts(t *testing.T) {
	golden.Play(t, "testdata/*.txt", func() golden.Player { return newWorld() })
}

// world is a scheduler with servers that answer as a script wants it.
type world struct {
	s      *Scheduler
	now    time.Time
	finds  map[lvs.CheckID]finding
	inAir  []flight
	trace  strings.Builder
	result map[lvs.CheckID]lvs.Result
}

type finding struct {
	done  Done
	hangs bool
	in    time.Duration
}

type flight struct {
	at   time.Time
	done Done
}

func newWorld() *world {
	return &world{s: New(), now: start, finds: map[lvs.CheckID]finding{}, result: map[lvs.CheckID]lvs.Result{}}
}

// Trace implements golden.Player.
func (w *world) Trace() string {
	text := w.trace.String()
	w.trace.Reset()
	return text
}

// Command implements golden.Player.
func (w *world) Command(line string) error {
	c := &command{words: strings.Fields(line)}
	switch first := c.next(); first {
	case "add":
		w.step(c.add(w.now))
	case "remove":
		w.step(Remove{ID: lvs.CheckID(c.next())})
	case "run":
		w.run(w.now.Add(c.duration()))
	case "jump":
		w.now = w.now.Add(c.duration())
	case "weight":
		id := lvs.CheckID(c.next())
		w.finds[id] = finding{done: Done{OK: true, Adjust: lvs.Adjust{Kind: lvs.Set, Value: c.number()}}}
	default:
		w.finds[lvs.CheckID(first)] = c.finding()
	}
	return c.err
}

// command is the words of a line that were not read yet, and what was wrong with the others.
type command struct {
	words []string
	err   error
}

// next returns the next word; empty: there is none.
func (c *command) next() string {
	if len(c.words) == 0 {
		c.err = errors.Join(c.err, errors.New("a word is missing"))
		return ""
	}
	word := c.words[0]
	c.words = c.words[1:]
	return word
}

func (c *command) duration() time.Duration {
	d, err := time.ParseDuration(c.next())
	c.err = errors.Join(c.err, err)
	return d
}

func (c *command) number() int {
	n, err := strconv.Atoi(c.next())
	c.err = errors.Join(c.err, err)
	return n
}

// unknown says that a word means nothing.
func (c *command) unknown(word string) {
	c.err = errors.Join(c.err, fmt.Errorf("%q is not understood", word))
}

func (c *command) add(now time.Time) Add {
	a := Add{ID: lvs.CheckID(c.next()), First: now}
	for len(c.words) > 0 {
		switch word := c.next(); word {
		case "every":
			a.Timing.Interval = c.duration()
		case "retry":
			a.Timing.Retry = c.number()
		case "pause":
			a.Timing.DelayBeforeRetry = c.duration()
		case "pages":
			a.Timing.Pages = c.number()
		case "fast":
			a.Timing.FastRecovery = true
		case "first":
			a.First = now.Add(c.duration())
		default:
			c.unknown(word)
		}
	}
	return a
}

func (c *command) finding() finding {
	var find finding
	switch word := c.next(); word {
	case "ok":
		find.done.OK = true
	case "fail":
		find.done.Why = "refused"
	case "hang":
		find.hangs = true
	default:
		c.unknown(word)
	}
	if len(c.words) > 0 {
		if word := c.next(); word != "in" {
			c.unknown(word)
		}
		find.in = c.duration()
	}
	return find
}

// step sends one event and takes the actions in.
func (w *world) step(ev Event) {
	for _, a := range w.s.Step(w.now, ev) {
		switch a := a.(type) {
		case Attempt:
			find := w.finds[a.ID]
			page := ""
			if a.Page > 0 {
				page = fmt.Sprintf(" page %d", a.Page+1)
			}
			w.tell("%s attempt%s", a.ID, page)
			if !find.hangs {
				done := find.done
				done.Attempt = a
				w.inAir = append(w.inAir, flight{w.now.Add(find.in), done})
			}
		case Report:
			r := a.Result
			if r == w.result[r.Check] {
				continue
			}
			w.result[r.Check] = r
			text := map[bool]string{true: "UP", false: "DOWN"}[r.Up]
			if r.Adjust.Kind == lvs.Set {
				text += fmt.Sprintf(" weight %d", r.Adjust.Value)
			}
			if r.Why != "" {
				text += ": " + r.Why
			}
			w.tell("%s %s", r.Check, text)
		}
	}
}

func (w *world) tell(format string, args ...any) {
	at := w.now.Sub(start).Seconds()
	fmt.Fprintf(&w.trace, "%7.3f %s\n", at, fmt.Sprintf(format, args...))
}

// run lets time pass until an instant, that included.
func (w *world) run(until time.Time) {
	for {
		at, air := w.s.Deadline(), -1
		for i, f := range w.inAir {
			if at.IsZero() || !f.at.After(at) {
				at, air = f.at, i
			}
		}
		if at.IsZero() || at.After(until) {
			w.now = until
			return
		}
		if at.After(w.now) {
			w.now = at
		}
		if air < 0 {
			w.step(Tick{})
			continue
		}
		done := w.inAir[air].done
		w.inAir = append(w.inAir[:air], w.inAir[air+1:]...)
		w.step(done)
	}
}
