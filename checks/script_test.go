package checks

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/lvs"
)

var rewrite = flag.Bool("rewrite", false, "write what scripts produce into testdata")

// start is when stories begin.
var start = time.Unix(3600, 0)

// TestScripts plays the stories in testdata/*.txt: commands, one a line, then "----", then
// all that the scheduler did meanwhile, with the seconds since the start.
//
//	add ID every D [retry N] [pause D] [pages N] [fast] [first D]
//	remove ID
//	ID ok|fail|hang [in D]   what attempts of it find from now on, and how long they take
//	weight ID N              as ok, with a weight
//	run D                    time passes
//	jump D                   time passes in which the machine does nothing
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(data))
			if got == string(data) {
				return
			}
			if !*rewrite {
				t.Errorf("%s: the trace differs; run go test ./checks -run TestScripts -rewrite and read the diff.\ngot:\n%s", file, got)
				return
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// play returns the script with the trace that its commands produce.
func play(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	w := newWorld(t)
	inTrace := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case inTrace && line != "":
			continue
		case line == "" || line[0] == '#':
			inTrace = false
			out.WriteString(line + "\n")
		case line == "----":
			out.WriteString("----\n" + strings.Join(append(w.trace, ""), "\n"))
			w.trace, inTrace = nil, true
		default:
			out.WriteString(line + "\n")
			w.command(strings.Fields(line))
		}
	}
	return out.String()
}

// world is a scheduler with servers that answer as a script wants it.
type world struct {
	t      *testing.T
	s      *Scheduler
	now    time.Time
	finds  map[lvs.CheckID]finding
	inAir  []flight
	trace  []string
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

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, s: New(), now: start, finds: map[lvs.CheckID]finding{}, result: map[lvs.CheckID]lvs.Result{}}
}

func (w *world) command(f []string) {
	w.t.Helper()
	words := f
	next := func() string {
		if len(words) == 0 {
			w.t.Fatalf("%v: a word is missing", f)
		}
		word := words[0]
		words = words[1:]
		return word
	}
	duration := func() time.Duration {
		d, err := time.ParseDuration(next())
		if err != nil {
			w.t.Fatal(f, err)
		}
		return d
	}
	number := func() int {
		n, err := strconv.Atoi(next())
		if err != nil {
			w.t.Fatal(f, err)
		}
		return n
	}
	switch first := next(); first {
	case "add":
		a := Add{ID: lvs.CheckID(next()), First: w.now}
		for len(words) > 0 {
			switch word := next(); word {
			case "every":
				a.Timing.Interval = duration()
			case "retry":
				a.Timing.Retry = number()
			case "pause":
				a.Timing.DelayBeforeRetry = duration()
			case "pages":
				a.Timing.Pages = number()
			case "fast":
				a.Timing.FastRecovery = true
			case "first":
				a.First = w.now.Add(duration())
			default:
				w.t.Fatalf("%v: %s is not understood", f, word)
			}
		}
		w.step(a)
	case "remove":
		w.step(Remove{ID: lvs.CheckID(next())})
	case "run":
		w.run(w.now.Add(duration()))
	case "jump":
		w.now = w.now.Add(duration())
	case "weight":
		id := lvs.CheckID(next())
		w.finds[id] = finding{done: Done{OK: true, Adjust: lvs.Adjust{Kind: lvs.Set, Value: number()}}}
	default:
		find := finding{}
		switch word := next(); word {
		case "ok":
			find.done.OK = true
		case "fail":
			find.done.Why = "refused"
		case "hang":
			find.hangs = true
		default:
			w.t.Fatalf("%v: %s is not understood", f, word)
		}
		if len(words) > 0 {
			next()
			find.in = duration()
		}
		w.finds[lvs.CheckID(first)] = find
	}
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
	w.trace = append(w.trace, fmt.Sprintf("%7.3f ", at)+fmt.Sprintf(format, args...))
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
