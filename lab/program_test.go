package lab

import (
	"testing"

	"github.com/solovip/solovip/lab/report"
	"github.com/solovip/solovip/lab/verify"
)

// Scripts rely on it: zero only when everything was as expected.
func TestExitStatus(t *testing.T) {
	pass := &run{}
	fail := &run{Run: report.Run{Verdict: verify.Verdict{Failures: []string{"two holders"}}}}
	broken := &run{Run: report.Run{Error: "no namespaces"}}
	tests := []struct {
		runs []*run
		want int
	}{
		{[]*run{pass, pass}, 0},
		{[]*run{pass, fail}, 1},
		{[]*run{fail, broken}, 2},
	}
	for _, tt := range tests {
		if got := (&program{runs: tt.runs}).exitCode(); got != tt.want {
			t.Errorf("%d, want %d", got, tt.want)
		}
	}
}
