package report

import (
	"fmt"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// Run is one run of a scenario on a system, and what came of it: what `lab run --json`
// prints.
type Run struct {
	Scenario string          `json:"scenario"`
	Text     string          `json:"text"` // what happens in it, in a line
	System   scenario.System `json:"system"`
	Number   int             `json:"number"` // counts repetitions, from 1
	Seed     uint64          `json:"seed"`   // of what the scenario leaves to chance
	Verdict  verify.Verdict  `json:"verdict"`
	Result   netns.Result    `json:"result"`
	Error    string          `json:"error,omitempty"` // the lab could not run it
}

// Name returns how progress and reports call the run.
func (r *Run) Name() string {
	name := r.Scenario + ", " + r.System.String()
	if r.Number > 1 {
		name += fmt.Sprintf(" (%d)", r.Number)
	}
	return name
}

// Pass reports whether the run has shown all that was expected.
func (r *Run) Pass() bool { return r.Error == "" && r.Verdict.Pass() }

// Word returns the verdict in a word: PASS, FAIL, SPLIT or LOST where that was expected, or
// "not run".
func (r *Run) Word() string {
	switch {
	case r.Error != "":
		return "not run"
	case !r.Pass():
		return "FAIL"
	case r.Verdict.Split:
		return "SPLIT"
	case r.Verdict.Lost:
		return "LOST"
	}
	return "PASS"
}
