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
	"github.com/solovip/solovip/lab/report"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/turns"
	"github.com/solovip/solovip/lab/verify"
)

// run is one run to make, and what comes of it.
type run struct {
	report.Run
	scenario scenario.Scenario
	solovip  string
	lab      string
	keep     bool
	machine  bool // it is played in a virtual machine
	done     chan struct{}
}

func newRun(s scenario.Scenario, system scenario.System, number int, seed uint64) *run {
	return &run{
		Run:      report.Run{Scenario: s.Name, Text: s.Text, System: system, Number: number, Seed: seed},
		scenario: s, machine: s.MovesClock(),
	}
}

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
// runs as soon as it is complete. The board, which may be nil, hears how far they are.
// Those in machines come when nothing else runs: an emulator takes all the processors there are. Those
// in which tens of milliseconds count come last, one at a time.
func (p *program) perform(ctx context.Context, out report.Printer, board *report.Board) {
	var printing sync.WaitGroup
	printing.Go(func() {
		for _, r := range p.runs {
			<-r.done
			if ctx.Err() == nil {
				out.Report(&r.Run)
			}
		}
	})
	var mu sync.Mutex // one progress line at a time
	var crowd turns.Turns
	for _, pass := range []struct {
		machine, delicate bool
		jobs              int
	}{{false, false, p.jobs}, {true, false, p.jobs}, {false, true, 1}} {
		var group errgroup.Group
		group.SetLimit(pass.jobs)
		for _, r := range p.runs {
			delicate := r.scenario.Expect[r.System].Delicate() && !r.machine
			if delicate != pass.delicate || r.machine != pass.machine {
				continue
			}
			group.Go(func() error {
				defer close(r.done)
				board.Begin(&r.Run)
				defer func() { board.End(&r.Run) }()
				r.perform(ctx, &crowd, func(m verify.Mark) {
					mu.Lock()
					defer mu.Unlock()
					out.Step(&r.Run, m)
				})
				return nil
			})
		}
		_ = group.Wait() // no member returns an error: each run keeps its own
	}
	printing.Wait()
}

// attempts is how often a run is made until the lab was not held up in it.
const attempts = 3

// perform makes the run: in the crowd of others first, and when that proves nothing, alone.
func (r *run) perform(ctx context.Context, crowd *turns.Turns, progress func(verify.Mark)) {
	for i := range attempts {
		if ctx.Err() != nil {
			return
		}
		crowd.Take(i > 0, func() { r.once(ctx, progress) })
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
	play := netns.Run
	if r.machine {
		play = playInMachine
	}
	result, err := play(ctx, netns.Job{
		Scenario: r.scenario, System: r.System, Seed: r.Seed, Solovip: r.solovip, Lab: r.lab, Keep: r.keep,
	}, progress)
	if err != nil {
		r.Error = err.Error()
		return
	}
	r.Result = result
	r.Verdict = verify.Judge(result.History, r.scenario.Expect[r.System])
}

// reports returns what the runs have shown.
func (p *program) reports() []*report.Run {
	all := make([]*report.Run, len(p.runs))
	for i, r := range p.runs {
		all[i] = &r.Run
	}
	return all
}

func (p *program) ratios() []report.Ratio { return report.Ratios(p.reports(), p.limit) }

func (p *program) exitCode() int {
	code := 0
	for _, r := range p.runs {
		switch {
		case r.Error != "":
			return exitBroken
		case !r.Pass():
			code = exitFailed
		}
	}
	if slices.ContainsFunc(p.ratios(), report.Ratio.Fails) {
		code = exitFailed
	}
	return code
}
