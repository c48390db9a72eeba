package text

import (
	"fmt"
	"strconv"
	"time"

	"github.com/solovip/solovip/fencing"
	"github.com/solovip/solovip/node"
)

// Why returns what `solovip fence why CLAIM` prints: the present verdict, whether this node
// is fenced from the claim, every piece of evidence with its source and age, and what would
// have to change.
func Why(s node.Snapshot, c node.ClaimSnapshot, width int) string {
	p := newPage(width)
	p.line("", fenceClaim(s, c))
	p.line("verdict  ", c.Why)
	if f := c.Fenced; f != nil {
		p.line("FENCED   ", fencedText(f))
	}
	p.line("change   ", c.Needs)
	p.ifLost(c)
	if len(c.Evidence) == 0 {
		return p.out.String()
	}
	p.gap()
	rows := [][]string{{"SOURCE", "WHO", "PATH", "AGE", "SAYS"}}
	for _, e := range c.Evidence {
		rows = append(rows, evidenceRow(e))
	}
	p.table(rows)
	return p.out.String()
}

func evidenceRow(e fencing.Evidence) []string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return []string{e.Source, dash(e.Who), dash(e.Path), span(e.AgeMS), e.Says}
}

// fencedText says in words how this node is fenced from a claim.
func fencedText(f *node.FencedSnapshot) string {
	text := fmt.Sprintf("%s ago, cause %s: %s; ", span(f.SinceMS), f.Cause, f.Why)
	if f.SinceMS < 0 {
		text = fmt.Sprintf("before this host was booted, cause %s: %s; ", f.Cause, f.Why)
	}
	if f.Result != fencing.Done {
		text += string(f.Result) + ", "
	}
	text += "waits for " + f.WaitsFor
	if f.RemainingMS > 0 {
		text += "; clear_after ends in " + span(f.RemainingMS)
	}
	return text
}

// History returns what `solovip fence history` prints: each fencing with its evidence and
// steps, the latest last.
func History(records []fencing.Record, width int) string {
	p := newPage(width)
	for i, r := range records {
		if i > 0 {
			p.gap()
		}
		p.line("", r.Time.Format(time.DateTime+".000")+"  "+r.Claim+"  "+string(r.Cause)+": "+r.Why)
		p.line("  fencing   ", fmt.Sprintf("%s, node %s, mode %s, token %d", r.ID, r.Node, r.Mode, r.Token))
		for _, a := range r.Actions {
			p.line("  "+stepAt(a)+"  ", stepText(a))
		}
		p.line("  result    ", resultText(r))
		if r.Cleared != nil {
			p.line("  cleared   ", clearedText(*r.Cleared))
		} else if r.Open() {
			p.line("  cleared   ", "NO: this node stays out")
		}
		for _, e := range r.Evidence {
			row := evidenceRow(e)
			p.line("  evidence  ", fmt.Sprintf("%s %s (%s), %s before: %s", row[0], row[1], row[2], row[3], row[4]))
		}
	}
	if len(records) == 0 {
		p.line("", "no fencing is in the ledger")
	}
	return p.out.String()
}

// stepAt is when a step was done, in the width of a label.
func stepAt(a fencing.Step) string {
	return fmt.Sprintf("%8s", "+"+strconv.FormatInt(a.AtMS, 10)+"ms")
}

func stepText(a fencing.Step) string {
	text := a.What
	if a.Tries > 1 {
		text += fmt.Sprintf(" (try %d)", a.Tries)
	}
	if a.Error != "" {
		text += ": FAILED: " + a.Error
	}
	return text
}

func resultText(r fencing.Record) string {
	text := string(r.Result)
	if r.Result == fencing.Done {
		text += " after " + span(r.DoneMS)
	}
	if r.Target != "" {
		text += ", target " + r.Target
	}
	if r.To != "" {
		text += ", in favour of " + r.To
	}
	return text
}

func clearedText(c fencing.Clearing) string {
	if c.AtMS < 0 {
		return "by " + c.By + ": " + c.Why
	}
	return "after " + span(c.AtMS) + " by " + c.By + ": " + c.Why
}
