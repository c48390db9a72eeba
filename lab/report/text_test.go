package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

const ms = time.Millisecond

// splitRun is a run in which n2 takes the VIP 2 s after the fault, n1 keeps it, and both
// agree again 1 s after the end of the fault.
func splitRun() *Run {
	h := verify.History{
		Nodes: []string{"n1", "n2"},
		End:   10000 * ms,
		Spans: []verify.Span{
			{Source: verify.ARP, Node: "n1", From: 1000 * ms, To: 2998 * ms},
			{Source: verify.UDP, Node: "n1", From: 1010 * ms, To: 4998 * ms},
			{Source: verify.ARP, Node: "n1", From: 3004 * ms, To: 9980 * ms}, // one question was lost
			{Source: verify.ARP, Node: "n2", From: 5000 * ms, To: 8000 * ms},
			{Source: verify.UDP, Node: "n2", From: 5010 * ms, To: 7990 * ms},
		},
		Marks: []verify.Mark{
			{At: 0, Kind: verify.Setup, Text: "start all daemons"},
			{At: 3000 * ms, Kind: verify.Ready, Text: "ready"},
			{At: 3000 * ms, Kind: verify.Fault, Node: "n2", Text: "n2's firewall drops VRRP"},
			{At: 7000 * ms, Kind: verify.Heal, Node: "n2", Text: "n2's firewall drops nothing any more"},
			{At: 9900 * ms, Kind: verify.Missed, Node: "n1", Text: "waited 2s in vain: n1 sings"},
		},
	}
	s, _ := scenario.Find("vrrp-blocked")
	r := &Run{Scenario: s.Name, Text: s.Text, System: scenario.Lease, Number: 1}
	r.Result = netns.Result{History: h, Logs: []netns.Log{{Host: "n2", Path: "/x/n2/log", Tail: []string{"no advert from n1"}}}}
	r.Verdict = verify.Judge(h, verify.Expect{})
	return r
}

func TestReport(t *testing.T) {
	var b strings.Builder
	Printer{Out: &b}.Report(splitRun())
	want := `
== vrrp-blocked, solovip lease ==
n2's firewall drops VRRP both ways; everything else works; nothing may change

     -3.000 s  start all daemons
     -2.000 s  n1 answers for the VIP
     -1.990 s  the service on n1 answers at the VIP
     +0.000 s  ready
     +0.000 s  FAULT: n2's firewall drops VRRP
     +1.998 s  the service on n1 stops answering at the VIP
     +2.000 s  n2 answers for the VIP
     +2.000 s  TWO HOLDERS: n1 and n2 both answer for the VIP, for 3000 ms
     +2.010 s  the service on n2 answers at the VIP
     +4.000 s  MENDED: n2's firewall drops nothing any more
     +4.990 s  the service on n2 stops answering at the VIP
     +5.000 s  n2 stops answering for the VIP
     +6.900 s  MISSED: waited 2s in vain: n1 sings

  seconds              0        1        2        3        4        5        6
  events               F                                   M
  n1  VIP     ###########################!!!!!!!!!!!!!!!!!!!!!!!!!!!!#################
      service ###########################.............................................
  n2  VIP     ...........................!!!!!!!!!!!!!!!!!!!!!!!!!!!!.................
      service ...........................###########################..................
              # answers  ~ has it, unheard  ! two at once  . has it not  F fault  M mended  O order

last lines of n2 (run with --keep for all of it):
    no advert from n1
vrrp-blocked, solovip lease: two holders 3001 ms, nobody 0 ms, holder at the end n1: FAIL (waited 2s in vain: n1 sings; two holders for 3001 ms, at most 0 ms expected)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// Two that answer are not silenced, also when their kernels were seen to have the VIP for a
// moment less.
func TestTwoThatAnswerAreNotSilenced(t *testing.T) {
	r := splitRun()
	r.Result.History.Spans = append(r.Result.History.Spans,
		verify.Span{Source: verify.Address, Node: "n1", From: 1000 * ms, To: 9980 * ms},
		verify.Span{Source: verify.Address, Node: "n2", From: 5001 * ms, To: 7999 * ms})
	r.Verdict = verify.Judge(r.Result.History, verify.Expect{})
	var b strings.Builder
	Printer{Out: &b}.Report(r)
	if want := "TWO HOLDERS: the kernels of n1 and n2 both have the VIP"; !strings.Contains(b.String(), want) || strings.Contains(b.String(), "silenced") {
		t.Errorf("%q is not in\n%s", want, b.String())
	}
}

func TestBriefReport(t *testing.T) {
	good := splitRun()
	good.Verdict = verify.Verdict{Figures: verify.Figures{Final: "n1"}}
	var b strings.Builder
	out := Printer{Out: &b, Progress: &b, Brief: true}
	out.Step(good, verify.Mark{Kind: verify.Fault, Text: "power off n1"})
	out.Report(good)
	want := "vrrp-blocked, solovip lease: two holders 0 ms, nobody 0 ms, holder at the end n1: PASS\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	out.Report(splitRun()) // failed: all of it is wanted
	if !strings.Contains(b.String(), "TWO HOLDERS") {
		t.Errorf("the report of a failure is %q", b.String())
	}
}

func TestTableStandsSideBySide(t *testing.T) {
	good := splitRun()
	good.Verdict = verify.Verdict{Figures: verify.Figures{Final: "n1"}}
	beside := splitRun()
	beside.System = scenario.Keepalived
	beside.Verdict = verify.Judge(beside.Result.History, verify.Expect{TwoAtLeast: ms, TwoAtMost: time.Hour})
	beside.Verdict.Failures = nil
	broken := &Run{Scenario: "power-off", System: scenario.Veto, Error: "no namespaces"}
	var b strings.Builder
	Printer{Out: &b}.Table([]*Run{good, beside, broken})
	want := `
      scenario         system  two holders  nobody  no service  take-over  at the end  verdict
  vrrp-blocked  solovip lease         0 ms    0 ms        0 ms          -          n1     PASS
  vrrp-blocked     keepalived      3001 ms    0 ms        0 ms          -          n1    SPLIT
     power-off   solovip veto            -       -           -          -           -  not run
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestComparison(t *testing.T) {
	again := goodRun()
	again.Number, again.Verdict.Figures.Nobody = 2, 700*ms
	var b strings.Builder
	Printer{Out: &b}.Compare(append(samples(), again))
	want := `
    two holders / nobody, ms  solovip lease  keepalived  solovip veto
                      freeze        0 / 700    3001 / 0             -
                vrrp-blocked  3001 / 0 FAIL           -             -
                   power-off              -           -       not run
         two holders, in sum        3001 ms     3001 ms          0 ms
  scenarios with two holders              1           1             0
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTableOfRepetitions(t *testing.T) {
	took := func(n int, d time.Duration) *Run {
		f := verify.Figures{Nobody: d, Unserved: 2 * d, Takeovers: []verify.Takeover{{ARP: d}}}
		return &Run{Scenario: "power-off", System: scenario.Lease, Number: n, Verdict: verify.Verdict{Figures: f}}
	}
	failed := took(4, 9*ms)
	failed.Verdict.Failures = []string{"too slow"}
	var b strings.Builder
	Printer{Out: &b}.Table([]*Run{took(1, 3*ms), took(2, 1*ms), took(3, 2*ms), failed})
	want := `
   scenario         system  runs  failed  two holders    nobody  longest gap  no service  take-over
  power-off  solovip lease     4       1     0/0/0 ms  2/9/9 ms     0/0/0 ms  5/18/18 ms   2/9/9 ms
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// Where packets are lost, a service misses answers all the time: the timeline tells the
// interruptions that matter, and not those of a question or two.
func TestTimelineOfALossyNetwork(t *testing.T) {
	var spans []verify.Span
	for at := time.Duration(0); at < 10*time.Second; at += 50 * ms {
		if at < 4*time.Second || at >= 6*time.Second {
			spans = append(spans, verify.Span{Source: verify.UDP, Node: "n1", From: at, To: at + 30*ms})
		}
	}
	want := []verify.Span{
		{Source: verify.UDP, Node: "n1", From: 0, To: 3980 * ms},
		{Source: verify.UDP, Node: "n1", From: 6 * time.Second, To: 9980 * ms},
	}
	if diff := cmp.Diff(want, join(spans)); diff != "" {
		t.Error(diff)
	}
	if few := join(spans[:5]); len(few) != 5 {
		t.Errorf("%d of 5 spans are told", len(few))
	}
}
