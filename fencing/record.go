package fencing

import (
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// Cause is why a fencing happened: one word, the same in the ledger and in every status.
type Cause string

// The causes.
const (
	Permission Cause = "permission" // it ended, and was not renewed in time
	Outranked  Cause = "outranked"  // another node holds, with a higher token or, without tokens, rank
	Lost       Cause = "lost"       // the witness has given the claim to another node
	Operator   Cause = "operator"   // an operator said so
	Crash      Cause = "crash"      // a worker ended without letting go, and was cleaned up after
	Guard      Cause = "guard"      // a guarded service could not be shown to be stopped
	Isolation  Cause = "isolation"  // another node was to be switched off by an agent
)

// Result is how far a fencing has come.
type Result string

// The results.
const (
	UnderWay Result = "under way" // not everything is shown to be done
	Done     Result = "done"      // everything is
	Failed   Result = "failed"    // a step has failed; it is tried again unless the record says so
)

// Evidence is one thing that was known when something was decided: who said what, by
// which path, and how long before.
type Evidence struct {
	Source string `json:"source"`         // witness, mesh, promise, vrrp, arp, reference, agent, guard or operator
	Who    string `json:"who,omitempty"`  // the node or station that it is of
	Path   string `json:"path,omitempty"` // direct, or via NAME
	AgeMS  int64  `json:"age_ms"`         // -1: it was never heard
	Says   string `json:"says"`
}

// Step is one action of a fencing.
type Step struct {
	What  string `json:"what"`
	AtMS  int64  `json:"at_ms"`           // after the beginning of the fencing, when it was shown to be done, or failed last
	Tries int    `json:"tries,omitempty"` // if more than one
	Error string `json:"error,omitempty"` // of the last try
}

// Clearing is how the fencing's ban ended.
type Clearing struct {
	AtMS int64  `json:"at_ms"` // after the beginning of the fencing; -1: not known, the host was booted since
	By   string `json:"by"`    // operator, or rule
	Why  string `json:"why"`
}

// Record is one fencing: a line of the ledger. A later line with the same ID replaces an
// earlier one: the first is written when the fencing begins, so that a crash on the way
// leaves a trace.
type Record struct {
	ID       string        `json:"id"`      // unique for the node, over its restarts
	Time     time.Time     `json:"time"`    // when it began, by the wall clock: for people
	Boot     string        `json:"boot"`    // the kernel's boot id
	BootMS   int64         `json:"boot_ms"` // when it began, by the boot clock
	Node     string        `json:"node"`
	Mode     string        `json:"mode"`
	Claim    string        `json:"claim"`
	Target   string        `json:"target,omitempty"` // Isolation: the node that was to be switched off
	Cause    Cause         `json:"cause"`
	Why      string        `json:"why"`
	Token    arbiter.Token `json:"token"` // of the holding that ended
	Evidence []Evidence    `json:"evidence,omitempty"`
	Actions  []Step        `json:"actions,omitempty"`
	Result   Result        `json:"result"`
	DoneMS   int64         `json:"done_ms,omitempty"` // after the beginning, when the result came
	To       string        `json:"to,omitempty"`      // the node in whose favour
	Cleared  *Clearing     `json:"cleared,omitempty"` // nil: the node stays out

	// Began is when it began, on the boot clock of this boot; the shell turns it into
	// Time, Boot and BootMS.
	Began time.Time `json:"-"`
}

// The bounds of a record, so that a line of the ledger stays below MaxLine even if each
// byte needs six to be written.
const (
	maxText     = 200 // bytes of one text
	maxEvidence = 32  // pieces
	maxSteps    = 16
)

// Step notes how an action went at an instant of the boot clock. One that is tried again
// keeps its place.
func (r *Record) Step(now time.Time, what string, err error) {
	s := Step{What: what, AtMS: now.Sub(r.Began).Milliseconds()}
	if err != nil {
		s.Error = err.Error()
	}
	i := slices.IndexFunc(r.Actions, func(o Step) bool { return o.What == what })
	switch {
	case i >= 0:
		s.Tries = max(r.Actions[i].Tries, 1) + 1
		r.Actions[i] = s
	case len(r.Actions) < maxSteps:
		r.Actions = append(r.Actions, s)
	}
	if r.Result != Done {
		r.Result = UnderWay
		if slices.ContainsFunc(r.Actions, func(o Step) bool { return o.Error != "" }) {
			r.Result = Failed
		}
	}
}

// Finish notes that everything is shown to be done.
func (r *Record) Finish(now time.Time) {
	r.Result, r.DoneMS = Done, now.Sub(r.Began).Milliseconds()
}

// Clear notes by whom and why the ban ended.
func (r *Record) Clear(now time.Time, by, why string) {
	at := int64(-1)
	if !r.Began.IsZero() {
		at = now.Sub(r.Began).Milliseconds()
	}
	r.Cleared = &Clearing{AtMS: at, By: by, Why: why}
}

// Open reports whether the node stays out of the claim for it: never for the switching off of
// another one.
func (r *Record) Open() bool { return r.Cleared == nil && r.Target == "" }

// Clone returns a copy that shares nothing with r: what is written later must not change
// meanwhile.
func (r *Record) Clone() Record {
	c := *r
	c.Evidence, c.Actions = slices.Clone(r.Evidence), slices.Clone(r.Actions)
	if r.Cleared != nil {
		cleared := *r.Cleared
		c.Cleared = &cleared
	}
	return c
}

// trim cuts what is too long for a line.
func (r *Record) trim() {
	cut := func(s *string) {
		if len(*s) > maxText {
			*s = strings.ToValidUTF8((*s)[:maxText], "") + "..."
		}
	}
	for _, s := range []*string{&r.ID, &r.Boot, &r.Mode, &r.Node, &r.Claim, &r.Target, (*string)(&r.Cause), &r.Why, (*string)(&r.Result), &r.To} {
		cut(s)
	}
	r.Evidence = r.Evidence[:min(len(r.Evidence), maxEvidence)]
	r.Actions = r.Actions[:min(len(r.Actions), maxSteps)]
	for i := range r.Evidence {
		e := &r.Evidence[i]
		for _, s := range []*string{&e.Source, &e.Who, &e.Path, &e.Says} {
			cut(s)
		}
	}
	for i := range r.Actions {
		cut(&r.Actions[i].What)
		cut(&r.Actions[i].Error)
	}
	if r.Cleared != nil {
		cut(&r.Cleared.By)
		cut(&r.Cleared.Why)
	}
}
