package report

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// What a terminal shows in the end: the lines that were written, and nothing of the board.
// In a bubble, so that no second passes.
func TestBoardLeavesNothingBehind(t *testing.T) { synctest.Test(t, leavesNothingBehind) }

func leavesNothingBehind(t *testing.T) {
	t.Helper()
	var seen strings.Builder
	b := NewBoard(&seen, 5)
	var runs []*Run
	for _, name := range []string{"a", "b", "c", "d"} {
		r := &Run{Scenario: name, System: scenario.Keepalived, Number: 1}
		runs = append(runs, r)
		b.Begin(r)
	}
	runs[0].Verdict = verify.Verdict{Failures: []string{"two holders"}}
	b.End(runs[0])
	if _, err := fmt.Fprintln(b, "n2 answers"); err != nil {
		t.Fatal(err)
	}
	b.Begin(runs[0])
	_, _ = fmt.Fprintln(b, "n1 answers") // a builder takes all
	b.Close()
	for _, want := range []string{
		"1 of 5 done, 1 failed: b, keepalived (0 s); c, keepalived (0 s); 1 more", "(0 s); 2 more",
	} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("the board never says %q:\n%q", want, seen.String())
		}
	}
	if got := screen(seen.String()); got != "n2 answers\nn1 answers\n" {
		t.Errorf("the terminal shows %q", got)
	}
}

// screen is a terminal that knows new lines and how to clear one.
func screen(written string) string {
	var all, line string
	for written != "" {
		switch {
		case strings.HasPrefix(written, clearLine):
			line, written = "", written[len(clearLine):]
		case written[0] == '\n':
			all, line, written = all+line+"\n", "", written[1:]
		default:
			line, written = line+written[:1], written[1:]
		}
	}
	return all + line
}

func TestNoBoardIsQuiet(*testing.T) {
	var b *Board
	b.Begin(goodRun())
	b.End(goodRun())
	b.Close()
}
