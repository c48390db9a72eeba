package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// run is one run of a scenario on a system, and what came of it.
type run struct {
	Scenario string          `json:"scenario"`
	System   scenario.System `json:"system"`
	Number   int             `json:"number"` // counts repetitions, from 1
	Seed     uint64          `json:"seed"`   // of what the scenario leaves to chance
	Verdict  verify.Verdict  `json:"verdict"`
	Result   netns.Result    `json:"result"`
	Error    string          `json:"error,omitempty"` // the lab could not run it

	scenario scenario.Scenario
	solovip  string
	lab      string
	keep     bool
	done     chan struct{}
}

// name returns how progress and reports call the run.
func (r *run) name() string {
	name := r.Scenario + ", " + r.System.String()
	if r.Number > 1 {
		name += fmt.Sprintf(" (%d)", r.Number)
	}
	return name
}

// pass reports whether the run has shown all that was expected.
func (r *run) pass() bool { return r.Error == "" && r.Verdict.Pass() }

// program is a list of runs.
type program struct {
	runs  []*run
	jobs  int     // how many at the same time
	limit float64 // of ratios; 0: none
}

// useBinary sets which solovip is tested: the one at path, or this one.
func (p *program) useBinary(path string, keep bool) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	if path == "" {
		path = self
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	for _, r := range p.runs {
		r.solovip, r.lab, r.keep, r.done = path, self, keep, make(chan struct{})
	}
	return nil
}

// perform makes the runs, several at a time, and prints each report in the order of the
// runs as soon as it is complete.
func (p *program) perform(ctx context.Context, out printer) {
	var group errgroup.Group
	group.SetLimit(p.jobs + 1)
	group.Go(func() error {
		for _, r := range p.runs {
			<-r.done
			if ctx.Err() == nil {
				out.report(r)
			}
		}
		return nil
	})
	var mu sync.Mutex // one progress line at a time
	for _, r := range p.runs {
		group.Go(func() error {
			defer close(r.done)
			r.perform(ctx, func(m verify.Mark) {
				mu.Lock()
				defer mu.Unlock()
				out.step(r, m)
			})
			return nil
		})
	}
	_ = group.Wait() // no member returns an error: each run keeps its own
}

// attempts is how often a run is made until the lab was not held up in it.
const attempts = 3

func (r *run) perform(ctx context.Context, progress func(verify.Mark)) {
	for range attempts {
		if ctx.Err() != nil {
			return
		}
		r.once(ctx, progress)
		if r.Error != "" || !r.Verdict.Inconclusive {
			return
		}
		progress(verify.Mark{
			At: r.Result.History.End, Kind: verify.Missed,
			Text: fmt.Sprintf("the machine had too much to do, it held the lab up for %d ms and processes for %d ms: this run proves nothing",
				r.Verdict.Figures.Blind.Milliseconds(), r.Result.History.Waiting.Milliseconds()),
		})
	}
}

func (r *run) once(ctx context.Context, progress func(verify.Mark)) {
	result, err := netns.Run(ctx, netns.Job{
		Scenario: r.scenario, System: r.System, Seed: r.Seed, Solovip: r.solovip, Lab: r.lab, Keep: r.keep,
	}, progress)
	if err != nil {
		r.Error = err.Error()
		return
	}
	r.Result = result
	r.Verdict = verify.Judge(result.History, r.scenario.Expect[r.System])
}

func (p *program) exitCode() int {
	code := 0
	for _, r := range p.runs {
		switch {
		case r.Error != "":
			return exitBroken
		case !r.pass():
			code = exitFailed
		}
	}
	if slices.ContainsFunc(p.ratios(), ratio.fails) {
		code = exitFailed
	}
	return code
}
