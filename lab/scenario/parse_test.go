package scenario

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameScenario compares scenarios whole.
var sameScenario = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}

// whole uses everything that a file may have.
const whole = `# A comment.
scenario everything   # and another one
text of all that may be written: a bit

topology
    node n1 10.77.0.11 and 10.79.0.11 priority 150
    node n2 10.77.0.12 priority 100
    witness w1 10.77.0.13
    client c1 10.77.0.50 and 10.79.0.50
    claim VI_1 10.77.0.100/24
    claim VI_2 10.79.0.100/24 prefers n2 and 300 more
    group G
    service nginx
    begin-with keepalived

configure
    instance advert_int 0.1
configure lease quorum on n1 n2
    VI_2 nopreempt
    line vrrp_script check {
    line     script "/bin/true # no comment"
    line }

file keepalived on n1
    | global_defs {
    |     # stays
    |
    | }

steps
    begin n1
    drop n1 30% of ip in with n2
    block vrrp n1 <- n2
    await n2 answers of VI_2 for 1s within 1m30s
    edit n1 "priority 150" "priority 160\n    nopreempt"
    install n1 vrrp
    clock +8760h
    clock -5s
    hold 15s or-longer
    unplug n1 eth1

expect lease quorum
    two-holders never
    changes 2
    holder n1 and n2
    group together
    ledger n1:permission,n2:lost
    claim VI_2
    two-holders at-least 1s at-most 1h
    nobody at-least 2s
expect keepalived
    changes none
    holder nobody
`

func TestPrintIsReadAgain(t *testing.T) {
	s, err := Parse("everything.scenario", whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(Shipped(), s) {
		back, err := Parse("printed", Print(s))
		if err != nil {
			t.Errorf("%s: %v\n%s", s.Name, err, Print(s))
		}
		if diff := cmp.Diff(s, back, sameScenario); diff != "" {
			t.Errorf("%s: %s", s.Name, diff)
		}
	}
}

// Every mistake is told with its place and with what to write instead.
func TestMistakes(t *testing.T) {
	const begin = "scenario x\ntext y\nsteps\n    begin n1\n"
	const end = "expect lease\n    holder n1\n"
	const two = "scenario x\ntext y\ntopology\n    claim A 10.77.0.100/24\n    claim B 10.77.0.101/24\nsteps\n    begin n1\nexpect lease\n    claim B\n"
	tests := []struct{ name, text, want string }{
		{"a mistyped step", begin + "    powr-off n1\n" + end, `f:5:5: "powr-off" is not a step; did you mean "power-off"?`},
		{"a step of another world", begin + "    dance n1\n" + end, `f:5:5: "dance" is not a step; write one of: allow, assign, await,`},
		{"a host that is not there", begin + "    power-off n3\n" + end, `f:5:15: "n3" is not a host; did you mean "n1"?`},
		{"a witness has no worker", begin + "    kill-worker w1\n" + end, `f:5:17: "w1" is not a node;`},
		{"no deadline", begin + "    await n2 serves for 1s\n" + end, `f:5:27: "await" ends where "within" should stand; write: await HOST EVENT [of CLAIM] [for TIME] within LIMIT`},
		{"no number", begin + "    hold long\n" + end, `f:5:10: "long" is not a time: write a number and a unit, as in 250ms, 1.5s or 2m`},
		{"no unit", begin + "    hold 8\n" + end, `f:5:10: "8" is not a time: write`},
		{"a jump without a sign", begin + "    clock 24h\n" + end, `f:5:11: "24h" is not a jump of the clock: write a sign, a number and a unit, as in +24h or -5s`},
		{"no jump", begin + "    clock +0s\n" + end, `f:5:11: "+0s" is not a jump of the clock:`},
		{"a jump too far", begin + "    clock -87601h\n" + end, `f:5:11: "-87601h" is not a jump of the clock:`},
		{"a clock of one host", begin + "    clock n1 +1h\n" + end, `f:5:11: "n1" is not a jump of the clock:`},
		{"too much", begin + "    power-off n1 now\n" + end, `f:5:18: "now" is too much; write: power-off HOST`},
		{"a kind of traffic", begin + "    drop n1 vrp\n" + end, `f:5:13: "vrp" is not a kind of traffic; did you mean "vrrp"?`},
		{"a word in the wrong place", begin + "    cut n1 and n2\n" + end, `f:5:12: "and" is not a host;`},
		{"not indented", begin + "power-off n1\n" + end, `f:5:1: "power-off" belongs into a section; indent the line`},
		{"an unknown section", "scenario x\ntopologie\n", `f:2:1: "topologie" is not the name of a section; did you mean "topology"?`},
		{"a section too late", begin + end + "topology\n    service nginx\n", `f:7:1: "topology" stands too late; the order is: scenario, text, topology, configure, file, steps, expect`},
		{"a section twice", begin + "steps\n    ready\n" + end, `f:5:1: "steps" is there twice;`},
		{"no name", "text y\n", `f:1:1: the scenario has no name; begin the file with: scenario NAME`},
		{"a name with capitals", "scenario X\n", `f:1:10: "X" is not a name for a scenario;`},
		{"an unknown system", begin + "expect leese\n", `f:5:8: "leese" is not a system; did you mean "lease"?`},
		{"an expectation", begin + "expect lease\n    holders n1\n", `f:6:5: "holders" is not an expectation; did you mean "holder"?`},
		{"an expectation twice", begin + end + "    holder n2\n", `f:7:5: "holder" is there twice`},
		{"a system twice", begin + end + "expect lease\n", `f:7:8: what is expected of solovip lease is there twice`},
		{"nobody holds a name", begin + "expect lease\n    holder n7\n", `f:6:12: "n7" is not a node;`},
		{"half an expectation", begin + "expect lease\n    nobody\n", `f:6:11: "nobody" says nothing; write: nobody [at-least`},
		{"nothing is expected", begin, `nothing is expected of any system`},
		{"never ready", "scenario x\ntext y\nsteps\n    start\n" + end, `begin the steps with "begin NODE"`},
		{"an address", "scenario x\ntopology\n    node n1 10.77.0.256 priority 1\n", `f:3:13: "10.77.0.256" is not an address: write an IPv4 address`},
		{"a priority", "scenario x\ntopology\n    node n1 10.77.0.1 priority 255\n", `f:3:32: "255" is not a priority: write a number from 1 to 254`},
		{"a host twice", "scenario x\ntopology\n    witness a 10.77.0.1\n    client a 10.77.0.2\n", `f:4:12: "a" is there twice;`},
		{"a host behind the usual ones", "scenario x\ntopology\n    service nginx\n    client a 10.77.0.2\n", `f:4:5: "client" stands too late; write the hosts first, and all of them`},
		{"no text", "scenario x\nsteps\n    begin n1\n" + end, `a scenario needs a name and a text`},
		{"an address twice", "scenario x\ntext y\ntopology\n    node n1 10.77.0.1 priority 9\n    node n2 10.77.0.1 priority 8\n    client c 10.77.0.9\nsteps\n    begin n1\n" + end, `n1 and n2 both have 10.77.0.1`},
		{"a block", "scenario x\nconfigure\n    instanze nopreempt\n", `f:3:5: "instanze" is not a block; did you mean "instance"?`},
		{"a setting without a value", "scenario x\nconfigure\n    instance # nothing\n", `f:3:13: "instance" ends where a line of configuration should stand`},
		{"a node to configure", "scenario x\nconfigure on w1\n    global x\n", `f:2:14: "w1" is not a node;`},
		{"a line of a file without a bar", "scenario x\nfile lease on n1\n    cluster x\n", `f:3:5: the lines of a file begin with a bar; begin each line with a bar: | cluster`},
		{"a bar without a file", "scenario x\n    | cluster\n", `f:2:5: a line with a bar stands in no file;`},
		{"a bell", "scenario x\ntext \a\n", `f:2:6: a character that is no text;`},
		{"what is not UTF-8", "scenario x\ntext \xff\n", `f:2:6: a character that is no text;`},
		{"columns are characters", "scenario x\nsteps\n    begin n1\n    edit n1 \"\u00e4\u00f6\" y z\n" + end, `f:4:20: "z" is too much;`},
		{"the first claim is not another one", begin + "expect lease\n    claim VI_1\n", `f:6:11: "VI_1" is the first claim;`},
		{"a ledger", begin + "expect lease\n    ledger n1\n", `f:6:12: "n1" is not what ledgers of fencings hold: write NODE:CAUSE with commas between, or "none"`},
		{"a ledger of another claim", two + "    ledger none\n", `what is expected of solovip lease: ledger and group are about the whole run: write them above`},
		{"a group of another claim", two + "    group together\n", `ledger and group are about the whole run: write them above`},
		{"keepalived has no ledger", begin + "expect keepalived\n    ledger none\n", `keepalived has no ledger of fencings`},
		{"two holders at least, and at most none", begin + "expect keepalived\n    two-holders at-least 1s\n", `what is expected of keepalived: two-holders at-least so much needs an at-most that is not less: without one it is 0`},
		{"never, but for a while", begin + "expect lease\n    two-holders never at-most 1s\n", `f:6:23: "at-most" contradicts never; write one of them`},
		{"bounds that cross", begin + "expect lease\n    nobody at-least 2s at-most 1s\n", `nobody at-least is more than at-most`},
		{"a share of nothing", begin + "    drop n1 300% of ip\n" + end, `f:5:13: "300%" is not a kind of traffic;`},
	}
	for _, tt := range tests {
		_, err := Parse("f", tt.text)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		var told []string
		for _, f := range err.(ParseErrors) { //nolint:errorlint,forcetypeassert // as its documentation says
			told = append(told, fmt.Sprintf("%s:%d:%d: %s; %s", f.File, f.Line, f.Col, f.Text, f.Remedy))
		}
		if all := strings.Join(told, "\n"); !strings.Contains(all, tt.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, all, tt.want)
		}
	}
}

// What is shown of a mistake has its line, and points at the word.
func TestMistakeShowsItsLine(t *testing.T) {
	_, err := Parse("x.scenario", "scenario x\nsteps\n    begin n1\n    powr-off n1\nexpect lease\n")
	want := `x.scenario:4:5: "powr-off" is not a step
      powr-off n1
      ^^^^^^^^
  remedy: did you mean "power-off"?`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// The documentation has every form, word for word, and the parser reads no other.
func TestEveryFormIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	forms := append(append(topologyForms(), expectForms()...), beginForm, claimForm)
	for _, f := range stepForms() {
		forms = append(forms, f)
	}
	for _, f := range forms {
		if !strings.Contains(string(doc), "`"+string(f)+"`") {
			t.Errorf("docs/scenarios.md does not say: `%s`", f)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("scenario x\nexpect lease\n  claim VI_2\n\t\"\n| x\nfile lease on n1\n|")
	for _, s := range Shipped() {
		f.Add(Print(s))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f", text)
		if err != nil {
			return
		}
		printed := Print(s)
		back, err := Parse("printed", printed)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if diff := cmp.Diff(s, back, sameScenario); diff != "" {
			t.Fatal(diff)
		}
	})
}
