package verify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// powerOff is a run as it should be: n1 holds, loses power at 1 s, n2 answers at 3.8 s.
func powerOff() History {
	return History{
		Nodes: []string{"n1", "n2"},
		End:   6000 * ms,
		Spans: []Span{
			{ARP, "n1", 100 * ms, 999 * ms},
			{Address, "n1", 100 * ms, 999 * ms},
			{UDP, "n1", 110 * ms, 998 * ms},
			{Service, "n1", 105 * ms, 1000 * ms},
			{ARP, "n2", 3840 * ms, 6000 * ms},
			{Address, "n2", 3839 * ms, 6000 * ms},
			{UDP, "n2", 3900 * ms, 6000 * ms},
			{HTTP, "n2", 3910 * ms, 6000 * ms},
			{Service, "n2", 3880 * ms, 6000 * ms},
		},
		Gaps: []Gap{
			{ARP, 0, 100 * ms},
			{UDP, 0, 110 * ms},
			{ARP, 1001 * ms, 3840 * ms},
			{UDP, 1003 * ms, 3900 * ms},
		},
		Marks: []Mark{
			{At: 0, Kind: Setup, Text: "start all"},
			{At: 500 * ms, Kind: Ready, Text: "ready"},
			{At: 1000 * ms, Kind: Fault, Node: "n1", Text: "power off n1"},
			{At: 3840 * ms, Kind: Met, Text: "n2 answers alone"},
		},
	}
}

func TestMeasure(t *testing.T) {
	want := Figures{
		Nobody:   2839 * ms,
		Gap:      2839 * ms,
		Unserved: 2897 * ms,
		Takeovers: []Takeover{{
			After: "power off n1", To: "n2",
			ARP: 2840 * ms, Service: 2900 * ms, HTTP: 2910 * ms, Silence: 2839 * ms,
		}},
		Changes: 1,
		Start:   "n1",
		Final:   "n2",
	}
	if diff := cmp.Diff(want, Measure(powerOff())); diff != "" {
		t.Error(diff)
	}
}

// What an operator does moves the VIP as a fault does, and is measured as one is.
func TestMeasureFromAnOrder(t *testing.T) {
	h := powerOff()
	h.Marks[2] = Mark{At: 1000 * ms, Kind: Order, Node: "n1", Text: "solovip handover"}
	if got := Measure(h).Takeovers; len(got) != 1 || got[0].After != "solovip handover" || got[0].ARP != 2840*ms {
		t.Errorf("%+v", got)
	}
}

func TestJudge(t *testing.T) {
	strict := Expect{Nobody: 3500 * ms, Takeover: 3500 * ms, Serving: 3600 * ms, Holder: "n2"}
	with := func(change func(*History)) History {
		h := powerOff()
		change(&h)
		return h
	}
	tests := []struct {
		name    string
		history History
		expect  Expect
		want    string // part of the only failure; "": pass
	}{
		{"as it should be", powerOff(), strict, ""},
		{"nothing expected", powerOff(), Expect{}, ""},
		{"should have moved once", powerOff(), Expect{Moves: 1}, ""},
		{"both answer for one millisecond", with(func(h *History) {
			h.Spans = append(h.Spans, Span{ARP, "n1", 4000 * ms, 4000 * ms})
		}), Expect{}, "two holders for 1 ms"},
		{"both kernels have the address, only one answers", with(func(h *History) {
			h.Spans = append(h.Spans, Span{Address, "n1", 4000 * ms, 4100 * ms})
		}), Expect{}, "two holders for 101 ms, at most 0 ms expected: the kernels of two nodes had the address, of which one answered"},
		{"the same behind a gate", with(func(h *History) {
			h.Spans = append(h.Spans, Span{Address, "n1", 4000 * ms, 4100 * ms})
		}), Expect{SilentAddress: 200 * ms}, ""},
		{"the same for too long", with(func(h *History) {
			h.Spans = append(h.Spans, Span{Address, "n1", 4000 * ms, 4300 * ms})
		}), Expect{SilentAddress: 200 * ms}, "two holders for 301 ms"},
		{"a second one for a moment is no change of holder", with(func(h *History) {
			h.Spans = append(h.Spans, Span{ARP, "n1", 4000 * ms, 4100 * ms})
		}), Expect{Moves: 1, TwoAtMost: 200 * ms}, ""},
		{"a second one that stays is", with(func(h *History) {
			h.Spans[4].To = 4100 * ms
			h.Spans = append(h.Spans, Span{ARP, "n1", 4000 * ms, 6000 * ms})
		}), Expect{Moves: 1, TwoAtMost: 3 * time.Second}, "the holder changed 2 times"},
		{"two gates are open: they are shown, and whether two answer is what counts", with(func(h *History) {
			h.Spans = append(h.Spans, Span{Gate, "n1", 100 * ms, 5000 * ms}, Span{Gate, "n2", 100 * ms, 6000 * ms})
		}), strict, ""},
		{"two services", with(func(h *History) {
			h.Spans = append(h.Spans, Span{Service, "n1", 1000 * ms, 3881 * ms})
		}), Expect{}, "two guarded services ran for 2 ms"},
		{"two before the run was ready count as well", with(func(h *History) {
			h.Spans = append(h.Spans, Span{ARP, "n2", 100 * ms, 120 * ms})
		}), Expect{}, "two holders for 21 ms"},
		{"a demonstration that fails to split", powerOff(), Expect{TwoAtLeast: ms, TwoAtMost: time.Hour}, "at least 1 ms"},
		{"an outage that is expected", powerOff(), Expect{NobodyAtLeast: 2800 * ms}, ""},
		{"an outage that is expected and does not come", powerOff(), Expect{NobodyAtLeast: 2900 * ms}, "nobody answered for 2839 ms, at least 2900 ms"},
		{"one gap too long", powerOff(), Expect{Gap: 2800 * ms}, "2839 ms without a break"},
		{"two gaps, each short enough", with(func(h *History) {
			h.Gaps = append(h.Gaps, Gap{ARP, 4000 * ms, 4100 * ms})
		}), Expect{Gap: 2850 * ms}, ""},
		{"two gaps, too long together", with(func(h *History) {
			h.Gaps = append(h.Gaps, Gap{ARP, 4000 * ms, 4100 * ms})
		}), Expect{Nobody: 2850 * ms}, "nobody answered for 2939 ms"},
		{"too slow", powerOff(), Expect{Takeover: 2800 * ms}, "n2 answered after 2840 ms"},
		{"service too slow", powerOff(), Expect{Serving: 2800 * ms}, "the service on n2 answered after 2900 ms"},
		{"too long without anybody", powerOff(), Expect{Nobody: 2800 * ms}, "nobody answered for 2839 ms"},
		{"too long without a service", powerOff(), Expect{Unserved: 2800 * ms}, "no service answered for 2897 ms"},
		{"should have stayed", powerOff(), Expect{Stays: true}, "the holder changed 1 times"},
		{"should have moved twice", powerOff(), Expect{Moves: 2}, "the holder changed 1 times, 2 expected"},
		{"wrong holder", powerOff(), Expect{Holder: "n1"}, "holder at the end is n2"},
		{"nobody took over", with(func(h *History) {
			h.Spans = h.Spans[:4]
		}), Expect{Takeover: time.Second}, "nobody took over"},
		{"the service never came", with(func(h *History) {
			h.Spans = append(h.Spans[:6:6], h.Spans[8:]...)
		}), Expect{Serving: time.Second}, "the service on n2 never answered"},
		{"an event did not come", with(func(h *History) {
			h.Marks[3] = Mark{At: 5000 * ms, Kind: Missed, Text: "n2 did not answer within 4s"}
		}), Expect{}, "n2 did not answer within 4s"},
		{"the lab was blind", with(func(h *History) {
			h.Blind = []Gap{{ARP, 2000 * ms, 2500 * ms}}
		}), Expect{}, "the run proves nothing"},
		{"never ready", with(func(h *History) {
			h.Marks = nil
		}), Expect{}, "never ready"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Judge(tt.history, tt.expect)
			switch {
			case tt.want == "" && !v.Pass():
				t.Errorf("failed: %q", v.Failures)
			case tt.want != "" && (len(v.Failures) != 1 || !strings.Contains(v.Failures[0], tt.want)):
				t.Errorf("failures %q, want one with %q", v.Failures, tt.want)
			}
		})
	}
}

// A machine that holds the lab up, or has processes wait, holds daemons up too. What is no question of time
// counts nevertheless.
func TestWhatAHeldUpLabProves(t *testing.T) {
	tests := []struct {
		name   string
		blind  Gap
		expect Expect
		want   bool
	}{
		{"too slow, held up for a little", Gap{ARP, 2000 * ms, 2060 * ms}, Expect{Takeover: 2800 * ms}, true},
		{"too slow, held up before it counted", Gap{ARP, 100 * ms, 160 * ms}, Expect{Takeover: 2800 * ms}, false},
		{"the wrong holder too", Gap{ARP, 2000 * ms, 2060 * ms}, Expect{Takeover: 2800 * ms, Holder: "n1"}, false},
		{"all is well", Gap{ARP, 2000 * ms, 2060 * ms}, Expect{Takeover: 2900 * ms}, false},
		{"held up for long", Gap{ARP, 2000 * ms, 2400 * ms}, Expect{Takeover: 2900 * ms}, true},
	}
	crowded := powerOff()
	crowded.Waiting = 3 * time.Second
	if v := Judge(crowded, Expect{Takeover: 2800 * ms}); !v.Inconclusive {
		t.Errorf("too slow on a crowded machine: %q", v.Failures)
	}
	crowded.Marks = append(crowded.Marks, Mark{At: 5000 * ms, Kind: Missed, Text: "waited in vain", Late: true})
	if v := Judge(crowded, Expect{}); !v.Inconclusive || v.Pass() {
		t.Errorf("a wait in vain on a crowded machine: %q", v.Failures)
	}
	crowded.Marks = append(crowded.Marks, Mark{At: 5000 * ms, Kind: Missed, Text: "a daemon ended by itself"})
	if v := Judge(crowded, Expect{}); v.Inconclusive {
		t.Errorf("a daemon that ended is no question of time: %q", v.Failures)
	}
	for _, tt := range tests {
		h := powerOff()
		h.Blind = []Gap{tt.blind}
		if v := Judge(h, tt.expect); v.Inconclusive != tt.want {
			t.Errorf("%s: inconclusive %v, want %v (%q)", tt.name, v.Inconclusive, tt.want, v.Failures)
		}
	}
}

func TestJudgeOfTheLedger(t *testing.T) {
	fenced := powerOff()
	fenced.Ledger = []string{"n1:permission", "n2:lost"}
	tests := []struct {
		history History
		expect  string
		want    []string
	}{
		{fenced, "", nil},
		{fenced, "n1:permission,n2:lost", nil},
		{fenced, "none", []string{"the ledgers of fencings hold n1:permission,n2:lost, none expected"}},
		{powerOff(), "none", nil},
		{powerOff(), "n1:lost", []string{"the ledgers of fencings hold none, n1:lost expected"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Judge(tt.history, Expect{Ledger: tt.expect}).Failures); diff != "" {
			t.Errorf("%v and %q: %s", tt.history.Ledger, tt.expect, diff)
		}
	}
}

// A run with two VIPs fails when one of them does, and says which.
func TestJudgeOfTwoVIPs(t *testing.T) {
	crosswise := func() History { // VI_2 is n2's all the time
		h := powerOff()
		h.Others = []History{{Name: "VI_2", Spans: []Span{{ARP, "n2", 100 * ms, 6000 * ms}, {Address, "n2", 100 * ms, 6000 * ms}}}}
		return h
	}
	split := crosswise()
	split.Others[0].Spans = append(split.Others[0].Spans, Span{ARP, "n1", 2000 * ms, 2010 * ms})
	tests := []struct {
		name    string
		history History
		expect  Expect
		want    []string
	}{
		{"as it should be", crosswise(), Expect{Holder: "n2", Others: []Expect{{Stays: true, Holder: "n2"}}}, nil},
		{"the other one has two holders", split, Expect{}, []string{"VI_2: two holders for 11 ms, at most 0 ms expected"}},
		{"the other one has the wrong holder", crosswise(), Expect{Others: []Expect{{Holder: "n1"}}}, []string{"VI_2: holder at the end is n2, n1 expected"}},
		// n1 has the one, n2 the other, from 100 to 999 ms.
		{"a group in two places", crosswise(), Expect{Whole: true}, []string{"the group's addresses were on two nodes for 900 ms, at most 0 ms expected"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Judge(tt.history, tt.expect).Failures); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	if f := Judge(split, Expect{}).Figures; f.TwoHolders != 11*ms {
		t.Errorf("two holders %v", f.TwoHolders)
	}
}

// On a crowded machine a run counts all the same when one of its VIPs, or what all have in
// common, shows more than that a time was exceeded.
func TestWhatACrowdedRunWithTwoVIPsProves(t *testing.T) {
	slow := func(change func(*History)) History { // VI_2 is answered too late
		h := powerOff()
		h.Waiting = 5000 * ms
		h.Others = []History{{Name: "VI_2", Spans: slices.Clone(h.Spans), Gaps: slices.Clone(h.Gaps)}}
		change(&h)
		return h
	}
	late := Expect{Others: []Expect{{Takeover: 2800 * ms}}}
	tests := []struct {
		name    string
		history History
		expect  Expect
		want    bool // inconclusive
	}{
		{"one is late", slow(func(*History) {}), late, true},
		{"both are late", slow(func(*History) {}), Expect{Takeover: 2800 * ms, Others: late.Others}, true},
		{"one is late, and a wait was in vain", slow(func(h *History) {
			h.Marks = append(h.Marks, Mark{At: 5000 * ms, Kind: Missed, Text: "waited in vain", Late: true})
		}), late, true},
		{"one is late, the other one has two holders", slow(func(h *History) {
			h.Spans = append(h.Spans, Span{ARP, "n1", 4000 * ms, 4000 * ms})
		}), late, false},
		{"one is late, and the ledger is wrong", slow(func(*History) {}), Expect{Ledger: "n1:lost", Others: late.Others}, false},
		{"one is late, and the group was in two places", slow(func(h *History) {
			h.Spans[4].From, h.Others[0].Spans[0].To = 2000*ms, 3000*ms
		}), Expect{Whole: true, Others: late.Others}, false},
	}
	for _, tt := range tests {
		if v := Judge(tt.history, tt.expect); v.Inconclusive != tt.want || v.Pass() {
			t.Errorf("%s: inconclusive %v: %q", tt.name, v.Inconclusive, v.Failures)
		}
	}
}

// What two VIPs show alike is told of each.
func TestJudgeTellsOfEachVIP(t *testing.T) {
	h := powerOff()
	h.Marks = append(h.Marks, Mark{At: 5000 * ms, Kind: Missed, Text: "waited in vain"})
	h.Others = []History{{Name: "VI_2", Spans: h.Spans}}
	want := []string{"waited in vain", "holder at the end is n2, n1 expected", "VI_2: holder at the end is n2, n1 expected"}
	if diff := cmp.Diff(want, Judge(h, Expect{Holder: "n1", Others: []Expect{{Holder: "n1"}}}).Failures); diff != "" {
		t.Error(diff)
	}
}

// Where tens of milliseconds count, of whichever VIP, nothing else may run beside it.
func TestDelicate(t *testing.T) {
	short, long := Expect{Gap: 299 * ms}, Expect{Gap: 300 * ms}
	for _, tt := range []struct {
		expect Expect
		want   bool
	}{{Expect{}, false}, {long, false}, {short, true}, {Expect{Others: []Expect{long, short}}, true}} {
		if got := tt.expect.Delicate(); got != tt.want {
			t.Errorf("%+v: %v", tt.expect, got)
		}
	}
}

func TestVerdictInOneLine(t *testing.T) {
	got := Judge(powerOff(), Expect{Holder: "n2"}).String()
	want := "two holders 0 ms, nobody 2839 ms, take-over 2840 ms, holder at the end n2: PASS"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
