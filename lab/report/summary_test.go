package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

func took(name string, system scenario.System, d time.Duration) *Run {
	f := verify.Figures{Takeovers: []verify.Takeover{{ARP: d}}}
	return &Run{Scenario: name, System: system, Number: 1, Verdict: verify.Verdict{Figures: f}}
}

func TestMedianAndPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i+1) * ms
	}
	tests := []struct {
		times       []time.Duration
		median, p99 time.Duration
	}{
		{hundred[:1], 1 * ms, 1 * ms},
		{hundred[:2], 1500 * time.Microsecond, 2 * ms},
		{hundred[:3], 2 * ms, 3 * ms},
		{hundred[:20], 10500 * time.Microsecond, 20 * ms},
		{hundred, 50500 * time.Microsecond, 99 * ms},
	}
	for _, tt := range tests {
		if got := median(tt.times); got != tt.median {
			t.Errorf("median of %d: %v, want %v", len(tt.times), got, tt.median)
		}
		if got := percentile(tt.times, 99); got != tt.p99 {
			t.Errorf("percentile of %d: %v, want %v", len(tt.times), got, tt.p99)
		}
	}
}

// A script relies on it: slower than the others is a failure, when that was asked for.
func TestRatioOfTakeovers(t *testing.T) {
	runs := []*Run{
		took("power-off", scenario.Lease, 2000*ms), took("power-off", scenario.Keepalived, 3000*ms),
		took("power-off", scenario.Lease, 2400*ms), took("power-off", scenario.Keepalived, 3400*ms),
		{Scenario: "power-off", System: scenario.Lease}, // nobody took over
		took("failover", scenario.Lease, 3000*ms), took("failover", scenario.Veto, 2000*ms),
		took("handover", scenario.Lease, 30*ms),
	}
	for limit, want := range map[float64]bool{0: false, 1.6: false, 1: true} {
		if got := slices.ContainsFunc(Ratios(runs, limit), Ratio.Fails); got != want {
			t.Errorf("limit %v: fails %v, want %v", limit, got, want)
		}
	}
	var b strings.Builder
	Printer{Out: &b}.Ratios(Ratios(runs, 1))
	want := `power-off: the median take-over of solovip lease is 0.69 times that of keepalived (2200 ms, 3200 ms): PASS
failover: the median take-over of solovip lease is 1.50 times that of solovip veto (3000 ms, 2000 ms): FAIL (at most 1.00 expected)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
