package report

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/browser"
	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// goodRun is a run in which n1 freezes 5 s after the beginning: its gate closes, and n2
// takes over.
func goodRun() *Run {
	s, _ := scenario.Find("freeze")
	h := verify.History{
		Nodes: []string{"n1", "n2"},
		End:   15000 * ms,
		Spans: []verify.Span{
			{Source: verify.ARP, Node: "n1", From: 1000 * ms, To: 7600 * ms},
			{Source: verify.Address, Node: "n1", From: 1000 * ms, To: 9900 * ms},
			{Source: verify.Service, Node: "n1", From: 1010 * ms, To: 15000 * ms},
			{Source: verify.UDP, Node: "n1", From: 1015 * ms, To: 7598 * ms},
			{Source: verify.Gate, Node: "n1", From: 990 * ms, To: 7595 * ms},
			{Source: verify.ARP, Node: "n2", From: 8100 * ms, To: 14990 * ms},
			{Source: verify.Address, Node: "n2", From: 8099 * ms, To: 14999 * ms},
			{Source: verify.Service, Node: "n2", From: 8150 * ms, To: 15000 * ms},
			{Source: verify.UDP, Node: "n2", From: 8160 * ms, To: 14995 * ms},
			{Source: verify.Gate, Node: "n2", From: 8090 * ms, To: 14990 * ms},
		},
		Gaps: []verify.Gap{
			{Source: verify.ARP, From: 0, To: 1000 * ms},
			{Source: verify.ARP, From: 7602 * ms, To: 8100 * ms},
			{Source: verify.UDP, From: 7600 * ms, To: 8160 * ms},
		},
		Marks: []verify.Mark{
			{At: 0, Kind: verify.Setup, Text: "start all daemons"},
			{At: 3000 * ms, Kind: verify.Ready, Text: "ready"},
			{At: 5000 * ms, Kind: verify.Fault, Node: "n1", Text: "freeze every daemon process of n1"},
			{At: 12000 * ms, Kind: verify.Fault, Node: "w1", Text: "stop w1 <b>in order</b>"},
		},
	}
	r := &Run{Scenario: s.Name, Text: s.Text, System: scenario.Lease, Number: 1}
	r.Result = netns.Result{History: h, Said: []netns.Said{
		{Node: "n1", At: 900 * ms, State: "BACKUP"},
		{Node: "n1", At: 1000 * ms, State: "MASTER", Permission: "leased by the witness", Remaining: 2800 * ms},
		{Node: "n1", At: 3000 * ms, State: "MASTER", Permission: "leased by the witness", Remaining: 2800 * ms},
		{Node: "n1", At: 4900 * ms, State: "MASTER", Permission: "leased by the witness", Remaining: 2700 * ms},
		{Node: "n2", At: 900 * ms, State: "BACKUP"},
		{Node: "n2", At: 8200 * ms, State: "MASTER", Permission: "leased by the witness", Remaining: 2800 * ms},
	}}
	r.Verdict = verify.Judge(h, verify.Expect{SilentAddress: 3000 * ms, TwoServices: true})
	return r
}

// inWords returns lanes as sentences.
func inWords(all []swim) []string {
	var words []string
	for _, s := range all {
		for _, l := range s.Lanes {
			words = append(words, l.inWords(s.Host, 5000*ms))
		}
	}
	return words
}

func TestLanes(t *testing.T) {
	want := []string{
		"n1, faults: freeze every daemon process of n1, +0.000 s to +10.000 s",
		"n1, VIP: the kernel of n1 has the VIP, -4.000 s to +4.900 s; n1 answers ARP for the VIP, -4.000 s to +2.600 s",
		"n1, gate: the gate of n1 lets the VIP speak, -4.010 s to +2.595 s",
		"n1, VRRP state: n1 says that it is BACKUP, -4.100 s to -4.000 s; n1 says that it is MASTER, -4.000 s to +10.000 s",
		"n1, permission: n1 says that it may hold: leased by the witness, -4.000 s to +2.600 s",
		"n1, service: the guarded service runs on n1, -3.990 s to +10.000 s; the service on n1 answers at the VIP, -3.985 s to +2.598 s; " +
			"TWO SERVICES: on n1 and n2, for 6850 ms, +3.150 s to +10.000 s",
		"n2, faults: nothing",
		"n2, VIP: the kernel of n2 has the VIP, +3.099 s to +10.000 s; n2 answers ARP for the VIP, +3.100 s to +10.000 s",
		"n2, gate: the gate of n2 lets the VIP speak, +3.090 s to +10.000 s",
		"n2, VRRP state: n2 says that it is BACKUP, -4.100 s to +3.200 s; n2 says that it is MASTER, +3.200 s to +10.000 s",
		"n2, permission: n2 says that it may hold: leased by the witness, +3.200 s to +6.000 s",
		"n2, service: the guarded service runs on n2, +3.150 s to +10.000 s; the service on n2 answers at the VIP, +3.160 s to +10.000 s; " +
			"TWO SERVICES: on n1 and n2, for 6850 ms, +3.150 s to +10.000 s",
		"w1, faults: stop w1 <b>in order</b>, +7.000 s to +10.000 s",
		"client, VIP: nobody answers for the VIP, -5.000 s to -4.000 s; nobody answers for the VIP, +2.602 s to +3.100 s",
		"client, service: no service answers at the VIP, +2.600 s to +3.160 s",
	}
	if diff := cmp.Diff(want, inWords(swims(goodRun()))); diff != "" {
		t.Error(diff)
	}
}

// Two VIPs crosswise: each has lanes of its own, and words that say which one is meant.
func TestLanesOfTwoVIPs(t *testing.T) {
	r := goodRun()
	h := &r.Result.History
	h.Name = "VI_1"
	h.Others = []verify.History{{
		Name:  "VI_2",
		Spans: []verify.Span{{Source: verify.ARP, Node: "n2", From: 1000 * ms, To: 14990 * ms}, {Source: verify.ARP, Node: "n1", From: 6000 * ms, To: 6010 * ms}},
		Gaps:  []verify.Gap{{Source: verify.ARP, From: 0, To: 1000 * ms}},
	}}
	r.Result.Said = []netns.Said{
		{Node: "n2", At: 900 * ms, Instance: "VI_1", State: "BACKUP"},
		{Node: "n2", At: 900 * ms, Instance: "VI_2", State: "MASTER"},
		{Node: "n2", At: 2000 * ms},
	}
	want := []string{
		"n2, faults: nothing",
		"n2, VI_1: the kernel of n2 has the VIP of VI_1, +3.099 s to +10.000 s; n2 answers ARP for the VIP of VI_1, +3.100 s to +10.000 s",
		"n2, gate: the gate of n2 lets the VIP of VI_1 speak, +3.090 s to +10.000 s",
		"n2, VRRP state: n2 says that it is BACKUP for VI_1, -4.100 s to -3.000 s",
		"n2, VI_2: n2 answers ARP for the VIP of VI_2, -4.000 s to +10.000 s; " +
			"TWO HOLDERS: n2 and n1 both answer for the VIP of VI_2, for 10 ms, +1.000 s to +1.010 s",
		"n2, VRRP state: n2 says that it is MASTER for VI_2, -4.100 s to -3.000 s",
		"n2, service: the guarded service runs on n2, +3.150 s to +10.000 s; the service on n2 answers at the VIP, +3.160 s to +10.000 s; " +
			"TWO SERVICES: on n1 and n2, for 6850 ms, +3.150 s to +10.000 s",
	}
	if diff := cmp.Diff(want, inWords(swims(r)[1:2])); diff != "" {
		t.Error(diff)
	}
	rows := strings.Join(lanes(r, 40), "\n")
	for _, want := range []string{"n1  VI_1    #", "\n    VI_2    .", "\n    service #", "\nn2  VI_1    ."} {
		if !strings.Contains(rows, want) {
			t.Errorf("%q is not in\n%s", want, rows)
		}
	}
}

// open shows a page of some runs in a browser.
func open(t *testing.T, runs ...*Run) *browser.Browser {
	t.Helper()
	b := browser.Start(t)
	file := filepath.Join(t.TempDir(), "page.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Page(f, runs, Ratios(runs, 0)); err != nil {
		t.Fatal(err)
	}
	b.Size(1280, 900)
	b.Open((&url.URL{Scheme: "file", Path: file}).String())
	return b
}

// samples are a good run, the same on keepalived, which splits, one that failed, and two that
// could not be run: so many that what passed is folded.
func samples() []*Run {
	beside := splitRun()
	beside.Scenario, beside.System = "freeze", scenario.Keepalived
	beside.Verdict = verify.Judge(beside.Result.History, verify.Expect{TwoAtLeast: ms, TwoAtMost: 10000 * ms})
	beside.Verdict.Failures = nil
	broken := Run{Scenario: "power-off", System: scenario.Veto, Number: 1, Error: "no namespaces"}
	again := broken
	again.Number = 2
	return []*Run{goodRun(), beside, splitRun(), &broken, &again}
}

func TestPageInABrowser(t *testing.T) {
	b := open(t, samples()...)
	says(t, b)
	unfolds(t, b)
	zooms(t, b)
	fitsAPhone(t, b)
	isReadByDayAndByNight(t, b)
	if said := b.Complaints(); len(said) > 0 {
		t.Errorf("the console has: %q", said)
	}
}

// says looks at what the page has.
func says(t *testing.T, b *browser.Browser) {
	t.Helper()
	var got struct {
		Title   string
		Table   []string
		Lanes   int
		Unnamed int
		Loaded  int
		Two     []float64
		Bold    int
	}
	b.Eval(&got, `return {
		title: document.title,
		table: [...document.querySelectorAll("table.compare tbody tr, table.compare tfoot tr")].map(tr => [...tr.cells].map(c => c.innerText.replace(/\s+/g, " ").trim()).join(" | ")),
		lanes: document.querySelectorAll("svg.lane").length,
		unnamed: [...document.querySelectorAll("svg.lane, button, .chart, .wide")].filter(e => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent)).length,
		loaded: performance.getEntriesByType("resource").length,
		two: [...document.querySelectorAll("#run3 rect.two")].map(r => r.getBoundingClientRect().width),
		bold: document.querySelectorAll("main b").length,
	}`)
	if got.Title != "solovip lab: 2 of 5 runs showed what was expected." {
		t.Errorf("title %q", got.Title)
	}
	want := []string{
		"freeze " + goodRun().Text + " | PASS two holders 0 ms nobody 498 ms take-over 3100 ms | SPLIT two holders 3001 ms nobody 0 ms | not played",
		"vrrp-blocked " + splitRun().Text + " | FAIL two holders 3001 ms nobody 0 ms | not played | not played",
		"power-off | not played | not played | not run 2 runs, 2 failed",
		"two holders, in sum | 3001 ms | 3001 ms | 0 ms",
		"scenarios with two holders | 1 | 1 | 0",
	}
	if diff := cmp.Diff(want, got.Table); diff != "" {
		t.Error(diff)
	}
	if got.Lanes != 15+8+8 || got.Unnamed != 0 || got.Loaded != 0 || got.Bold != 0 {
		t.Errorf("%d lanes; %d elements without a name; %d files loaded; %d times text was taken for markup", got.Lanes, got.Unnamed, got.Loaded, got.Bold)
	}
	if len(got.Two) == 0 || got.Two[0] < 100 {
		t.Errorf("two holders are drawn %v wide", got.Two)
	}
}

// unfolds follows a link of the table to a run that is folded: then its timeline can be zoomed.
func unfolds(t *testing.T, b *browser.Browser) {
	t.Helper()
	var before, after struct {
		Open  bool
		Ticks int
	}
	const look = `const run = document.querySelector("#run1"); return {open: run.open, ticks: run.querySelectorAll(".ticks span").length}`
	b.Eval(&before, look)
	b.Eval(nil, `document.querySelector("table.compare a").click()`)
	await.That(t, "the run's ruler has numbers", func() bool {
		b.Eval(&after, look)
		return after.Ticks > 5
	})
	if before.Open || before.Ticks > 0 || !after.Open {
		t.Errorf("before %v, after %v", before, after)
	}
}

func fitsAPhone(t *testing.T, b *browser.Browser) {
	t.Helper()
	const phone = 375
	b.Size(phone, 812)
	defer b.Size(1280, 900)
	var wide struct {
		Page  int
		Cause []string
	}
	b.Eval(&wide, `
		for (const d of document.querySelectorAll("details")) d.open = true;
		return {page: document.documentElement.scrollWidth, cause: [...document.querySelectorAll("body *")]
			.filter(e => !e.closest(".wide, pre, svg, .ticks") && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))}`)
	if wide.Page > phone || len(wide.Cause) > 0 {
		t.Errorf("the page is %d pixels wide on a screen of %d: %q", wide.Page, phone, wide.Cause)
	}
}

func isReadByDayAndByNight(t *testing.T, b *browser.Browser) {
	t.Helper()
	backs := map[string]bool{}
	for _, light := range []bool{true, false} {
		b.Scheme(light)
		var got struct {
			Back string
			Low  []string
		}
		b.Eval(&got, contrast)
		backs[got.Back] = true
		if len(got.Low) > 0 {
			t.Errorf("light %v: too little contrast:\n%s", light, strings.Join(got.Low, "\n"))
		}
	}
	if len(backs) != 2 {
		t.Errorf("one background for both: %v", backs)
	}
}

// contrast returns the text that is hard to read: less than 4.5 to 1 (WCAG 2.2, 1.4.3).
const contrast = `
	for (const d of document.querySelectorAll("details")) d.open = true;
	const rgb = c => (c.match(/[\d.]+/g) || []).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const back = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } };
	const low = [];
	for (const e of document.querySelectorAll("body *")) {
		if (e.closest("svg, script") || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
		const [a, b] = [light(rgb(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
		if ((a + .05) / (b + .05) < 4.5) low.push(((a + .05) / (b + .05)).toFixed(2) + ": " + e.outerHTML.slice(0, 80));
	}
	return {back: getComputedStyle(document.body).backgroundColor, low}`

// zooms tries every way to zoom and to move, and what an instant says of itself.
func zooms(t *testing.T, b *browser.Browser) {
	t.Helper()
	type view struct{ Left, Width float64 }
	look := func() (v view) {
		b.Eval(&v, `const b = document.querySelector("#run1 svg.lane").viewBox.baseVal; return {left: b.x, width: b.width}`)
		return v
	}
	var lane struct{ X, Y, Width float64 }
	b.Eval(&lane, `const e = document.querySelectorAll("#run1 svg.lane")[1]; e.scrollIntoView({block: "center"});
		const r = e.getBoundingClientRect(); return {x: r.x, y: r.y + r.height / 2, width: r.width}`)
	click := func(name string) {
		t.Helper()
		b.Eval(nil, `document.querySelector("#run1 button[data-do=" + arguments[0] + "]").click()`, name)
	}
	key := func(name string) {
		b.Eval(nil, `document.querySelector("#run1 .chart").focus({preventScroll: true})`)
		for _, kind := range []string{"rawKeyDown", "keyUp"} {
			b.DevTools("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": name})
		}
	}
	mouse := func(kind string, share float64, more map[string]any) {
		params := map[string]any{"type": kind, "x": lane.X + share*lane.Width, "y": lane.Y, "button": "left", "clickCount": 1, "pointerType": "mouse"}
		maps.Copy(params, more)
		b.DevTools("Input.dispatchMouseEvent", params)
	}
	touch := func(kind string, shares ...float64) {
		points := []map[string]any{}
		for i, share := range shares {
			points = append(points, map[string]any{"x": lane.X + share*lane.Width, "y": lane.Y, "id": i})
		}
		b.DevTools("Input.dispatchTouchEvent", map[string]any{"type": kind, "touchPoints": points})
	}
	whole := view{3000, 12000} // from two seconds before the first fault
	steps := []struct {
		name string
		do   func()
		want view
	}{
		{"at first", func() {}, whole},
		{"button +", func() { click("in") }, view{6000, 6000}},
		{"button -", func() { click("out") }, whole},
		{"the whole run", func() { click("all") }, view{0, 15000}},
		{"reset", func() { click("reset") }, whole},
		{"key +", func() { key("+") }, view{6000, 6000}},
		{"key left", func() { key("ArrowLeft") }, view{4500, 6000}},
		{"key right", func() { key("ArrowRight") }, view{6000, 6000}},
		{"key -", func() { key("-") }, whole},
		{"drag", func() {
			key("+")
			mouse("mousePressed", .5, nil)
			mouse("mouseMoved", .75, map[string]any{"buttons": 1})
			mouse("mouseReleased", .75, nil)
		}, view{4500, 6000}},
		{"key 0", func() { key("0") }, whole},
		{"pinch", func() {
			touch("touchStart", .4, .6)
			touch("touchMove", .3, .7)
			touch("touchEnd")
		}, view{6000, 6000}},
	}
	const slack = 60 // ms: half a dozen pixels
	for _, s := range steps {
		s.do()
		if got := look(); got.Left < s.want.Left-slack || got.Left > s.want.Left+slack ||
			got.Width < s.want.Width-slack || got.Width > s.want.Width+slack {
			t.Errorf("%s: shows %v, want %v", s.name, got, s.want)
		}
	}
	click("reset")
	mouse("mouseWheel", .25, map[string]any{"deltaX": 0, "deltaY": -100, "modifiers": 2})
	if got := look(); got.Width >= 10000 || got.Left < 3100 {
		t.Errorf("the wheel with Ctrl shows %v", got)
	}
	click("reset")
	mouse("mousePressed", .5, nil)
	mouse("mouseReleased", .5, nil)
	var said string
	b.Eval(&said, `return document.querySelector("#run1 .at").textContent`)
	for _, part := range []string{"+4.0", "n2 answers ARP for the VIP", "the gate of n2 lets the VIP speak", "n1 says that it is MASTER"} {
		if !strings.Contains(said, part) {
			t.Errorf("an instant says %q, not %q", said, part)
		}
	}
}
