package mesh

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/boottime"
)

func at(ms int) time.Time { return boottime.At(time.Duration(ms) * time.Millisecond) }

func TestTableBringsEachReportOncePerPath(t *testing.T) {
	type arrival struct {
		inc, seq uint64
		via      string
		news     bool
	}
	for _, row := range []struct {
		name     string
		arrivals []arrival
	}{
		{"the same twice", []arrival{{1, 1, "", true}, {1, 1, "", false}}},
		{"out of order", []arrival{{1, 2, "", true}, {1, 1, "", false}, {1, 3, "", true}}},
		{"directly, then relayed by each", []arrival{{1, 1, "", true}, {1, 1, "w1", true}, {1, 1, "w2", true}, {1, 1, "w1", false}}},
		{"relayed first", []arrival{{1, 1, "w1", true}, {1, 1, "", true}, {1, 1, "w1", false}}},
		{"a relayed one that is old news", []arrival{{1, 2, "", true}, {1, 1, "w1", false}, {1, 2, "w1", true}}},
		{"a relayed one that is ahead", []arrival{{1, 1, "", true}, {1, 5, "w1", true}, {1, 4, "w2", true}, {1, 2, "", true}}},
		{"a restart", []arrival{{1, 900, "", true}, {2, 1, "", true}, {1, 901, "w1", false}, {2, 1, "w1", true}}},
		{"the very first is numbered zero", []arrival{{0, 0, "", true}, {0, 0, "", false}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			table := newTable()
			for i, a := range row.arrivals {
				r := arbiter.Report{Node: "lb02", Incarnation: a.inc, Seq: a.seq}
				if got := table.see(r, a.via, at(i)); got != a.news {
					t.Errorf("arrival %d, %+v: news is %v", i, a, got)
				}
			}
		})
	}
}

func TestTablePassesOnOnlyWhatItHeardItselfOfLate(t *testing.T) {
	table := newTable()
	table.see(arbiter.Report{Node: "old", Seq: 1}, "", at(0))
	table.see(arbiter.Report{Node: "lb02", Seq: 1}, "", at(900))
	table.see(arbiter.Report{Node: "lb02", Seq: 2}, "w1", at(950))
	table.see(arbiter.Report{Node: "relayed", Seq: 1}, "w1", at(950))
	table.see(arbiter.Report{Node: "lb01", Seq: 7}, "", at(400))
	table.see(arbiter.Report{Node: "lb01", Seq: 8}, "", at(401))

	want := []arbiter.Report{{Node: "lb01", Seq: 8}, {Node: "lb02", Seq: 1}}
	if diff := cmp.Diff(want, table.fresh(at(1000), 600*time.Millisecond)); diff != "" {
		t.Errorf("passed on (-want +got):\n%s", diff)
	}
	for node, want := range map[string]*stamp{"lb02": {0, 2}, "old": {0, 1}, "nobody": nil} {
		if diff := cmp.Diff(want, table.newest(node)); diff != "" {
			t.Errorf("newest of %s (-want +got):\n%s", node, diff)
		}
	}
}

func TestAskedDeliversOnceAndAnswersEveryWay(t *testing.T) {
	a := newAsked()
	q := arbiter.Request{ID: 1, From: "lb01", To: "lb02"}
	ans := arbiter.Answer{ID: 1, From: "lb02", To: "lb01", Yes: true}
	arrive := func(run uint64, via string, wantFirst, wantAnswer bool) {
		t.Helper()
		first, answer := a.arrive(q, run, via)
		if first != wantFirst || (answer != nil) != wantAnswer {
			t.Errorf("run %d via %q: first %v, answer %v", run, via, first, answer)
		}
	}
	if _, _, ok := a.answered(ans); ok {
		t.Error("an answer without a request found its way")
	}
	arrive(7, "w1", true, false)
	arrive(7, "", false, false)
	arrive(7, "w1", false, false)
	run, vias, ok := a.answered(ans)
	if diff := cmp.Diff([]string{"w1"}, vias); run != 7 || !ok || diff != "" {
		t.Errorf("way back is %d %v %v", run, vias, ok)
	}
	arrive(7, "w2", false, true) // the late copy brings the answer once more, by that way
	arrive(8, "", true, false)   // another run of lb01 has the same number for another question
	if run, vias, _ := a.answered(ans); run != 8 || len(vias) != 0 {
		t.Errorf("way back to the new run is %d %v", run, vias)
	}
}

func TestAskedForgetsTheOldest(t *testing.T) {
	a := newAsked()
	for id := range uint64(3 * maxAsked) {
		a.arrive(arbiter.Request{ID: id, From: "lb01"}, 1, "")
	}
	if len(a.open) != maxAsked || len(a.order) != maxAsked {
		t.Errorf("remembers %d requests in order of %d, want %d", len(a.open), len(a.order), maxAsked)
	}
	if first, _ := a.arrive(arbiter.Request{ID: 3*maxAsked - 1, From: "lb01"}, 1, ""); first {
		t.Error("the newest request was forgotten")
	}
}
