package verify

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// asked returns probes every 2 ms from 0 on, the i-th answered by the nodes of rows[i].
func asked(rows ...[]string) *Recorder {
	r := NewRecorder([]string{"n1", "n2"})
	for i, row := range rows {
		p := Probe{Source: ARP, Sent: time.Duration(2*i) * ms}
		for _, node := range row {
			p.Answers = append(p.Answers, Answer{Node: node, At: p.Sent + ms/10})
		}
		r.Probe(p)
	}
	return r
}

func TestProbesBecomeSpansAndGaps(t *testing.T) {
	n1, n2, none := []string{"n1"}, []string{"n2"}, []string(nil)
	got := asked(n1, n1, n1, none, none, n2, n2, n2).History(20 * ms)
	want := History{
		Nodes: []string{"n1", "n2"},
		End:   20 * ms,
		Spans: []Span{{ARP, "n1", 0, 4 * ms}, {ARP, "n2", 10 * ms, 14 * ms}},
		Gaps:  []Gap{{ARP, 6 * ms, 10 * ms}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTwoHolders(t *testing.T) {
	n1, n2, both := []string{"n1"}, []string{"n2"}, []string{"n1", "n2"}
	tests := []struct {
		name string
		rows [][]string
		want time.Duration
	}{
		{"handover between two questions", [][]string{n1, n1, n2, n2}, 0},
		{"one question answered by both", [][]string{n1, both, n2}, ms},
		{"two questions answered by both", [][]string{n1, both, both, n2}, 3 * ms},
		{"both for ever", [][]string{both, both, both, both}, 7 * ms},
		{"each seen before and after the other", [][]string{n1, n2, n1, n2}, 0},
		{"a stranger answers as well", [][]string{n1, {"n1", "02:00:00:00:00:99"}, n1}, ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Measure(asked(tt.rows...).History(20 * ms)).TwoHolders; got != tt.want {
				t.Errorf("two holders for %v, want %v", got, tt.want)
			}
		})
	}
}

// A question may wait in a queue of a busy machine on its way to one of the nodes.
// Then both answer it, the second one after a handover, and there were never two.
func TestLateAnswerIsNoSecondHolder(t *testing.T) {
	r := NewRecorder([]string{"n1", "n2"})
	r.Probe(Probe{Source: ARP, Sent: 0, Answers: []Answer{{"n1", 0}}})
	r.Probe(Probe{Source: ARP, Sent: 2 * ms, Answers: []Answer{{"n1", 2 * ms}, {"n2", 9 * ms}}})
	r.Probe(Probe{Source: ARP, Sent: 10 * ms, Answers: []Answer{{"n2", 10 * ms}}})
	if got := Measure(r.History(20 * ms)).TwoHolders; got != 0 {
		t.Errorf("two holders for %v, want none", got)
	}
}

func TestSamplesProveTwoAddressesBySandwich(t *testing.T) {
	r := NewRecorder([]string{"n1", "n2"})
	for at := time.Duration(0); at < 10*ms; at += ms {
		r.Sample(Address, "n1", at, at < 6*ms)
		r.Sample(Address, "n2", at+ms/2, at >= 4*ms)
	}
	f := Measure(r.History(10 * ms))
	if f.TwoAddressed != 2*ms { // n2 from 4.5 on, n1 to 5
		t.Errorf("two addresses for %v, want 2ms", f.TwoAddressed)
	}
	if f.TwoAnswering != 0 || f.TwoHolders != f.TwoAddressed {
		t.Errorf("answering %v, holders %v", f.TwoAnswering, f.TwoHolders)
	}
}

func TestHoldingIsWhatWaitsLookAt(t *testing.T) {
	n1, n2, none := []string{"n1"}, []string{"n2"}, []string(nil)
	r := asked(n1, n1, none, n2, n2)
	nodes, since := r.Holding(ARP)
	if diff := cmp.Diff(n2, nodes); diff != "" || since != 6*ms {
		t.Errorf("holding since %v: %s", since, diff)
	}
}

func TestBlindTimeIsKnown(t *testing.T) {
	r := NewRecorder([]string{"n1"})
	r.Probe(Probe{Source: ARP, Sent: 0, Answers: []Answer{{"n1", 0}}})
	r.Probe(Probe{Source: ARP, Sent: 80 * ms, Answers: []Answer{{"n1", 80 * ms}}})
	if got := Measure(r.History(100 * ms)).Blind; got != 80*ms {
		t.Errorf("blind for %v, want 80ms", got)
	}
}

// A lab that was held up at the end says who held before, and that it was.
func TestHeldUpAtTheEnd(t *testing.T) {
	r := NewRecorder([]string{"n1", "n2"})
	for sent := time.Duration(0); sent < 400*ms; sent += 2 * ms {
		r.Probe(Probe{Source: ARP, Sent: sent, Answers: []Answer{{"n1", sent}}})
	}
	h := r.History(600 * ms)
	if got := Measure(h); got.Final != "n1" || got.Blind != 202*ms {
		t.Errorf("at the end %s holds, blind for %v", got.Final, got.Blind)
	}
	if got := Measure(r.History(420 * ms)); got.Final != "n1" || got.Blind != 0 {
		t.Errorf("in time %s holds, blind for %v", got.Final, got.Blind)
	}
}

// Against a known truth: a proper handover is never taken for two holders, however
// late answers come, and an overlap long enough to be asked about twice is always seen.
func TestRecorderAgainstTruth(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		off := time.Duration(rng.Int64N(int64(100 * ms))) // n1 lets go
		overlap := time.Duration(0)
		on := off + time.Duration(1+rng.Int64N(int64(20*ms))) // n2 takes
		if seed%2 == 1 {
			overlap = 6*ms + time.Duration(rng.Int64N(int64(20*ms)))
			on = max(0, off-overlap)
			overlap = off - on
		}
		r := NewRecorder([]string{"n1", "n2"})
		for sent := time.Duration(0); sent < 150*ms; sent += 2 * ms {
			p := Probe{Source: ARP, Sent: sent}
			for _, n := range []string{"n1", "n2"} {
				delay := time.Duration(rng.Int64N(int64(ms / 5)))
				if seed%2 == 0 && rng.IntN(20) == 0 {
					delay = time.Duration(rng.Int64N(int64(15 * ms)))
				}
				seen := sent + delay // when the node's kernel looks at the question
				if n == "n1" && seen < off || n == "n2" && seen >= on {
					p.Answers = append(p.Answers, Answer{n, seen + ms/50})
				}
			}
			r.Probe(p)
		}
		got := Measure(r.History(150 * ms)).TwoHolders
		switch {
		case seed%2 == 0 && on > off+ms && got != 0:
			t.Fatalf("seed %d: handover %v to %v measured as %v with two holders", seed, off, on, got)
		case seed%2 == 1 && overlap >= 6*ms && (got < overlap-6*ms || got > overlap+2*ms):
			t.Fatalf("seed %d: overlap of %v measured as %v", seed, overlap, got)
		}
	}
}
