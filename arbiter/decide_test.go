package arbiter

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/golden"
)

const goldenFile = "testdata/decide.golden"

// The node that decides, and the instants of the table.
var (
	tableNow = time.Unix(1000, 0).UTC()
	ended    = tableNow // a permission until now has ended: it must reach beyond
	sooner   = tableNow.Add(time.Second)
	leaseEnd = tableNow.Add(2 * time.Second)
	later    = tableNow.Add(3 * time.Second)
	ours     = Peer{Token: 5, Priority: 100, Address: "10.0.0.10"}
)

// column is one dimension of the input space and its distinct values. A column that is
// only for one mode keeps its first value in the others, where strange does harm to none.
type column struct {
	name   string
	values []value
	only   Mode // 0: for all
}

type value struct {
	label string
	set   func(*Input)
}

// onPeer is a value that speaks of the one peer, if there is one.
func onPeer(label string, set func(*Peer)) value {
	return value{label, func(in *Input) {
		if len(in.Peers) > 0 {
			set(&in.Peers[0])
		}
	}}
}

// space is the whole input space of Decide for up to one peer, reduced to the values
// that can matter. The columns that decide most stand first, so that the table is short.
func space() []column {
	promised := func(at time.Time) func(*Input) { return func(in *Input) { in.Promised = at } }
	lease := func(l Lease) func(*Input) { return func(in *Input) { in.Lease = l } }
	peer := func(holds Tri) func(*Input) {
		return func(in *Input) {
			in.Peers = append(in.Peers[:0], Peer{Name: "n2", Holds: holds, Path: Path{Via: "w1"}, Age: 150 * time.Millisecond})
		}
	}
	var modes, wants []value
	for m := ModeNone; m <= ModeLease+1; m++ {
		modes = append(modes, value{m.String(), func(in *Input) { in.Mode = m }})
	}
	for w := WantNone; w <= WantOffered; w++ {
		wants = append(wants, value{w.String(), func(in *Input) { in.Want = w }})
	}
	return []column{
		{"barred", []value{{"no", func(*Input) {}}, {"yes", func(in *Input) { in.Barred = "script check is down" }}}, 0},
		{"mode", modes, 0},
		{"holding", []value{{"no", func(*Input) {}}, {"yes", func(in *Input) { in.Holding = true }}}, 0},
		{"want", wants, 0},
		{"peer holds", []value{
			{"(no peer)", func(in *Input) { in.Peers = in.Peers[:0] }}, {"unknown", peer(Unknown)}, {"no", peer(No)}, {"yes", peer(Yes)},
		}, 0},
		{"its token", []value{onPeer("lower", func(p *Peer) { p.Token = 4 }), onPeer("same", func(p *Peer) { p.Token = 5 }), onPeer("higher", func(p *Peer) { p.Token = 6 })}, 0},
		{"priority", []value{onPeer("lower", func(p *Peer) { p.Priority = 90 }), onPeer("same", func(p *Peer) { p.Priority = 100 }), onPeer("higher", func(p *Peer) { p.Priority = 110 })}, 0},
		// 10.0.0.9 is the lower number, though the higher text.
		{"address", []value{onPeer("lower", func(p *Peer) { p.Address = "10.0.0.9" }), onPeer("higher", func(p *Peer) { p.Address = "10.0.0.11" })}, 0},
		{"alive", []value{onPeer("unknown", func(p *Peer) { p.Alive = Unknown }), onPeer("no", func(p *Peer) { p.Alive = No }), onPeer("yes", func(p *Peer) { p.Alive = Yes })}, 0},
		{"takes", []value{onPeer("no", func(*Peer) {}), onPeer("yes", func(p *Peer) { p.Takes = true })}, ModeVeto},
		{"isolation", []value{
			{"hold", func(in *Input) { in.Isolation = IsolationHold }},
			{"claim", func(in *Input) { in.Isolation = IsolationClaim }},
			{"fence", func(in *Input) { in.Isolation = IsolationFence }},
			{"fence, off", func(in *Input) { in.Isolation, in.Off = IsolationFence, Yes }},
			{"fence, failed", func(in *Input) { in.Isolation, in.Off = IsolationFence, No }},
		}, ModeVeto},
		{"reference", []value{
			{"unknown", func(in *Input) { in.Reference = Unknown }}, {"no", func(in *Input) { in.Reference = No }}, {"yes", func(in *Input) { in.Reference = Yes }},
		}, ModeVeto},
		{"arp", []value{
			{"unknown", func(in *Input) { in.ARP = Unknown }},
			{"no", func(in *Input) { in.ARP = No }},
			{"yes", func(in *Input) { in.ARP, in.ARPFrom = Yes, "02:00:00:00:00:01 answers ARP for 10.0.0.100" }},
		}, ModeVeto},
		{"promise to", []value{{"-", func(*Input) {}}, {"n3", func(in *Input) { in.PromiseTo = "n3" }}}, 0},
		{"promised", []value{{"-", promised(time.Time{})}, {"ended", promised(ended)}, {"1s", promised(sooner)}, {"3s", promised(later)}}, 0},
		{"lease", []value{
			{"silent", lease(Lease{})},
			{"waiting", lease(Lease{State: LeaseWaiting, Free: later, Holder: "n2", Token: 4})},
			{"unwatched", lease(Lease{State: LeaseWaiting, Free: later})},
			{"free", lease(Lease{State: LeaseFree, Holder: "n2", Token: 4})},
			{"mine, ended", lease(Lease{State: LeaseMine, Until: ended, Token: 5})},
			{"mine, 2s", lease(Lease{State: LeaseMine, Until: leaseEnd, Token: 5})},
		}, ModeLease},
	}
}

// table enumerates the space and joins what does not matter.
type table struct {
	t       *testing.T
	columns []column
	in      Input
	whys    map[string]string // without numbers
	rows    int
	failed  int
}

// TestDecideTable runs Decide over its whole input space, checks what must hold in every
// row, and compares the result with testdata/decide.golden.
func TestDecideTable(t *testing.T) {
	tb := &table{t: t, columns: space(), whys: map[string]string{}}
	tb.in = Input{Now: tableNow, Token: ours.Token, Priority: ours.Priority, Address: ours.Address}
	lines := tb.rowsFrom(0)
	t.Logf("%d inputs, %d lines", tb.rows, len(lines))
	got := tb.render(lines)
	golden.File(t, goldenFile, got)
}

// line is some inputs with one outcome: labels from its column on, then the outcome.
type line []string

// rowsFrom returns the lines for the columns from i on, the earlier ones being set in
// tb.in. Values that lead to the same lines are joined; a column of which all do is "".
func (tb *table) rowsFrom(i int) []line {
	if i == len(tb.columns) {
		return []line{tb.leaf()}
	}
	type group struct {
		labels []string
		lines  []line
		key    string
	}
	var groups []*group
	values := tb.columns[i].values
	if only := tb.columns[i].only; only != 0 && only != tb.in.Mode {
		values = values[:1]
	}
next:
	for _, v := range values {
		before := tb.in
		before.Peers = append([]Peer(nil), tb.in.Peers...)
		v.set(&tb.in)
		lines := tb.rowsFrom(i + 1)
		tb.in = before
		key := text(lines)
		for _, g := range groups {
			if g.key == key {
				g.labels = append(g.labels, v.label)
				continue next
			}
		}
		groups = append(groups, &group{[]string{v.label}, lines, key})
	}
	var all []line
	for _, g := range groups {
		label := strings.Join(g.labels, "|")
		if len(groups) == 1 {
			label = ""
		}
		for _, l := range g.lines {
			all = append(all, append(line{label}, l...))
		}
	}
	return all
}

// text returns lines as something to compare.
func text(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		for _, cell := range l {
			b.WriteString(cell)
			b.WriteByte('\x00')
		}
	}
	return b.String()
}

var numbers = regexp.MustCompile(`(token|priority) \d+`)

// strange fills in what is meant for other modes only, and so must not matter.
func strange(in Input) Input {
	if in.Mode != ModeVeto {
		in.Isolation, in.Reference, in.ARP = IsolationClaim, Yes, Yes
	}
	if in.Mode != ModeLease {
		in.Lease = Lease{State: LeaseMine, Until: later, Token: 99}
	}
	return in
}

// leaf decides one input, checks it, and returns the outcome as text without the numbers
// that only restate the input.
func (tb *table) leaf() line {
	tb.rows++
	v := Decide(tb.in)
	if why := wrong(tb.in, v); why != "" && tb.failed < 10 {
		tb.failed++
		tb.t.Errorf("%s:\n%+v\n%+v", why, tb.in, v)
	}
	until := ""
	if !v.Until.IsZero() {
		until = v.Until.Sub(tb.in.Now).String()
	}
	why, known := tb.whys[v.Why]
	if !known {
		why = numbers.ReplaceAllString(v.Why, "$1 N")
		tb.whys[v.Why] = why
	}
	return line{v.Do.String(), until, v.Peer, why}
}

// wrong says which rule a verdict breaks; empty: none.
func wrong(in Input, v Verdict) string {
	var peer Peer
	if len(in.Peers) > 0 {
		peer = in.Peers[0]
	}
	permission := in.Mode == ModeQuorum || in.Mode == ModeLease
	leased := in.Mode == ModeLease && in.Lease.State == LeaseMine && in.Lease.Until.After(in.Now)
	byLease := leased && in.Lease.Until.Equal(v.Until)
	byPromise := in.Promised.After(in.Now) && in.Promised.Equal(v.Until)
	holds, taking := v.Do == Hold, v.Do == Hold && !in.Holding
	switch {
	case Decide(in) != v:
		return "the same input gives another verdict"
	case Decide(strange(in)) != v:
		return "what is meant for another mode matters"
	case v.Why == "":
		return "a verdict without a why"
	case in.Barred != "" && v.Do != Refuse:
		return "barred, and not refused"
	case in.Mode == ModeNone && v.Do != Refuse:
		return "no mode, and not refused"
	case permission && holds && !byLease && !byPromise:
		return "held without a permission that reaches beyond now"
	case in.Mode == ModeQuorum && leased && holds && !byPromise:
		return "held by a lease in quorum mode"
	case holds && !permission && !v.Until.IsZero():
		return "a deadline where none is needed"
	case !holds && !v.Until.IsZero():
		return "a deadline without holding"
	case in.Mode == ModeVeto && holds && peer.Holds == Yes && (!in.Holding || peer.outranks(in.Token, in.Priority, in.Address)):
		return "held in veto mode although a peer holds and comes first"
	case permission && in.Holding && holds && peer.Holds == Yes && peer.Token > in.Token:
		return "held on although a peer holds by a higher token"
	case in.Mode == ModeVeto && taking && peer.Takes && peer.outranks(peer.Token, in.Priority, in.Address):
		return "taken in veto mode although a peer takes it too and comes first"
	case in.Mode != ModeVRRP && taking && peer.Holds == Yes:
		return "taken from a live holder"
	case taking && in.Want == WantNone:
		return "taken without a wish"
	case permission && taking && in.PromiseTo != "":
		return "taken although promised to another"
	case v.Do == Handover && (in.Holding || in.Want != WantPreempt || v.Peer != peer.Name || peer.Holds != Yes || in.Priority <= peer.Priority):
		return "a handover asked of one that is no holder of lower priority, or not wanted"
	case in.Mode == ModeVeto && taking && (in.ARP == Yes || in.ARP == Unknown && in.Want != WantOffered):
		return "taken in veto mode although another station answers ARP, or may"
	case in.Mode == ModeVeto && taking && in.Isolation == IsolationHold && in.Peers != nil && peer.Name != "" && peer.Holds != No:
		return "taken with a peer unaccounted for and on_isolation hold"
	case in.Mode == ModeVeto && taking && in.Isolation == IsolationFence && in.Off != Yes && peer.Name != "" && peer.Holds != No:
		return "taken with a peer unaccounted for that is not shown to be switched off"
	case v.Do == Shoot && (in.Isolation != IsolationFence || in.Holding || in.Reference != Yes || peer.Alive != No || peer.Holds == No || in.Want == WantPreempt):
		return "a shot at one that may live, or from one that may be cut off"
	}
	return ""
}

// render lines the columns up.
func (tb *table) render(lines []line) string {
	head := line{}
	for _, c := range tb.columns {
		head = append(head, c.name)
	}
	head = append(head, "verdict", "until", "ask", "why")
	width := make([]int, len(head))
	for _, l := range append([]line{head}, lines...) {
		for i, cell := range l {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Every verdict of Decide, for up to one peer (n2): %d inputs. An empty cell: the column does\n"+
		"# not matter; a|b: either. This node has token 5, priority 100, address 10.0.0.10; now is 0s.\n"+
		"# Written by go test ./arbiter -run TestDecideTable -rewrite; read the diff.\n\n", tb.rows)
	for _, l := range append([]line{head}, lines...) {
		text := ""
		for i, cell := range l {
			text += fmt.Sprintf("%-*s  ", width[i], cell)
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	return b.String()
}

func TestDecideZeroInputRefuses(t *testing.T) {
	if v := Decide(Input{}); v.Do != Refuse || v.Why == "" {
		t.Errorf("Decide of nothing = %+v, want a refusal with a reason", v)
	}
}

// TestDecideTwoPeers has what needs more than one peer.
func TestDecideTwoPeers(t *testing.T) {
	silent := func(name string) Peer { return Peer{Name: name} }
	says := func(name string, holds Tri) Peer { return Peer{Name: name, Alive: Yes, Holds: holds} }
	holder := func(name string, token Token, priority uint8, address string) Peer {
		return Peer{Name: name, Alive: Yes, Holds: Yes, Token: token, Priority: priority, Address: address}
	}
	veto := Input{Now: tableNow, Mode: ModeVeto, Want: WantVacant, Token: 5, Priority: 100, Address: "10.0.0.1"}
	preempting := veto
	preempting.Want = WantPreempt
	holding := veto
	holding.Holding = true
	for _, c := range []struct {
		name  string
		in    Input
		peers []Peer
		do    Do
		peer  string
		why   string
	}{
		{"one silent is enough to consult", veto, []Peer{says("n2", No), silent("n3")}, Consult, "", "no word yet from n3"},
		{"silence goes before absence", veto, []Peer{{Name: "n2", Alive: No}, silent("n3")}, Consult, "", "no word yet from n3"},
		{"all absent are named", veto, []Peer{{Name: "n2", Alive: No}, {Name: "n3", Alive: No}}, Refuse, "", "no path reaches n2, n3, and on_isolation is hold"},
		{"one holder vetoes for all", veto, []Peer{says("n2", No), holder("n3", 1, 1, "")}, Refuse, "n3", "n3 lives and holds it (mesh, direct, 0s ago)"},
		{"of two holders the higher token is asked", preempting, []Peer{holder("n2", 7, 90, ""), holder("n3", 8, 80, "")}, Handover, "n3", "n3 holds it with the lower priority 80"},
		{"of two holders the higher priority is named", veto, []Peer{holder("n2", 7, 90, ""), holder("n3", 7, 91, "")}, Refuse, "n3", "n3 lives and holds it (mesh, direct, 0s ago)"},
		{"equal holders: the higher address is named", veto, []Peer{holder("n2", 7, 90, "10.0.0.10"), holder("n3", 7, 90, "10.0.0.9")}, Refuse, "n2", "n2 lives and holds it (mesh, direct, 0s ago)"},
		{"the best holder counts against us", holding, []Peer{holder("n2", 4, 200, ""), holder("n3", 6, 1, "")}, Refuse, "", "n3 holds it too and outranks this node: token 6, priority 1 (mesh, direct, 0s ago)"},
		{"lesser holders do not", holding, []Peer{holder("n2", 4, 200, ""), holder("n3", 5, 99, "")}, Hold, "", "no live holder outranks this node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Peers = c.peers
			v := Decide(c.in)
			if want := (Verdict{Do: c.do, Peer: c.peer, Why: c.why}); v != want {
				t.Errorf("got  %+v\nwant %+v", v, want)
			}
		})
	}
}

// TestDecideKeepsItsInput also moves all instants together: only differences may matter.
func TestDecideKeepsItsInput(t *testing.T) {
	base := Input{
		Now: tableNow, Mode: ModeLease, Want: WantVacant, Token: 5, Promised: sooner,
		Lease: Lease{State: LeaseMine, Until: leaseEnd}, Peers: []Peer{{Name: "n2", Holds: No}, {Name: "n3", Alive: No}},
	}
	kept := base
	kept.Peers = append([]Peer(nil), base.Peers...)
	before := Decide(base)
	if !reflect.DeepEqual(base, kept) {
		t.Errorf("Decide changed its input to %+v", base)
	}
	const shift = 400 * 24 * time.Hour
	base.Now, base.Promised, base.Lease.Until = base.Now.Add(shift), base.Promised.Add(shift), base.Lease.Until.Add(shift)
	after := Decide(base)
	after.Until = after.Until.Add(-shift)
	if after != before {
		t.Errorf("a year later the verdict is %+v, was %+v", after, before)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		fmt.Sprint(ModeVeto, Mode(9)):                     "veto Mode(9)",
		fmt.Sprint(Unknown, No, Yes, Tri(9)):              "unknown no yes Tri(9)",
		fmt.Sprint(Refuse, Hold, Do(9)):                   "refuse hold Do(9)",
		fmt.Sprint(WantNone, WantOffered, Want(9)):        "none offered Want(9)",
		fmt.Sprint(LeaseSilent, LeaseMine, LeaseState(9)): "silent mine LeaseState(9)",
		fmt.Sprint(Path{}, Path{Via: "w1"}):               "direct via w1",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReport(t *testing.T) {
	r := Report{Incarnation: 2, Seq: 5, Claims: []ClaimReport{{Claim: "a", Token: 1}, {Claim: "b", Token: 2}}}
	if c, ok := r.Claim("b"); !ok || c.Token != 2 {
		t.Errorf("Claim(b) = %+v, %t", c, ok)
	}
	if _, ok := r.Claim("c"); ok {
		t.Error("a claim that the report does not name was found")
	}
	for _, c := range []struct {
		incarnation, seq uint64
		newer            bool
	}{{2, 6, true}, {2, 5, false}, {2, 4, false}, {3, 1, true}, {1, 9, false}} {
		if got := (Report{Incarnation: c.incarnation, Seq: c.seq}).Newer(r); got != c.newer {
			t.Errorf("report %d/%d newer than 2/5: %t, want %t", c.incarnation, c.seq, got, c.newer)
		}
	}
}
