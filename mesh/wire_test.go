package mesh

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/solovip/solovip/arbiter"
)

func sampleMessages() []message {
	return []message{
		{kind: kindReports, From: "lb01", Yours: &stamp{3, 1<<64 - 1}, Reports: []arbiter.Report{
			{Node: "lb01", Incarnation: 7, Seq: 9, Mode: arbiter.ModeVeto, Claims: []arbiter.ClaimReport{
				{Claim: "VI_1", State: "MASTER", Holds: true, Token: 1<<64 - 1, Priority: 150, Address: "10.0.0.11"},
			}},
			{Node: "w1", Incarnation: 1, Seq: 1, Witness: true, Leaving: true},
		}},
		{kind: kindRequest, From: "w1", Run: 1<<64 - 1, Request: &arbiter.Request{
			ID: 5, Kind: arbiter.RequestHolds, From: "lb01", To: "lb02", Claim: "Gruppe <1>", Token: 4, Priority: 100,
		}},
		{kind: kindAnswer, From: "lb02", Run: 8, Answer: &arbiter.Answer{
			ID: 5, From: "lb02", To: "lb01", Claim: "VI_1", Yes: true, Token: 4, Why: "holds it since 12:00",
		}},
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range sampleMessages() {
		got, err := parse(encode(m))
		if err != nil {
			t.Errorf("parse(encode(%+v)): %v", m, err)
		} else if diff := cmp.Diff(m, got, cmp.AllowUnexported(message{})); diff != "" {
			t.Errorf("parse(encode(m)) differs (-sent +got):\n%s", diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	manyClaims := `{"node":"a","claims":[` + strings.Repeat(`{"claim":"c"},`, maxClaims) + `{"claim":"c"}]}`
	for _, row := range []struct{ name, msg, want string }{
		{"nothing", "", "empty"},
		{"an older version", "\x01{}", "version 0"},
		{"a newer version", "\x21{}", "newer version"},
		{"an unknown kind", "\x1f{}", "unknown kind"},
		{"no JSON", "\x11hello", "decode"},
		{"a list", "\x11[1]", "decode"},
		{"trailing bytes", "\x11{\"from\":\"a\"}x", "decode"},
		{"no sender", "\x11{}", "sender without a name"},
		{"a long name", "\x11{\"from\":\"" + long + "\"}", "at most 64"},
		{"a report of nobody", "\x11{\"from\":\"a\",\"reports\":[{}]}", "member without a name"},
		{"too many reports", "\x11{\"from\":\"a\",\"reports\":[" + strings.Repeat(`{"node":"a"},`, maxMembers) + `{"node":"a"}]}`, "at most 32"},
		{"too many claims", "\x11{\"from\":\"a\",\"reports\":[" + manyClaims + "]}", "at most 1024"},
		{"a claim without a name", "\x11{\"from\":\"a\",\"reports\":[{\"node\":\"a\",\"claims\":[{}]}]}", "claim without a name"},
		{"a negative number", "\x11{\"from\":\"a\",\"reports\":[{\"node\":\"a\",\"seq\":-1}]}", "decode"},
		{"a request without one", "\x12{\"from\":\"a\"}", "without its request"},
		{"a request to nobody", "\x12{\"from\":\"a\",\"request\":{\"from\":\"a\",\"claim\":\"c\"}}", "asked member without a name"},
		{"an answer without one", "\x13{\"from\":\"a\"}", "without its answer"},
		{"a long reason", "\x13{\"from\":\"a\",\"answer\":{\"from\":\"a\",\"to\":\"b\",\"claim\":\"c\",\"why\":\"" +
			strings.Repeat("x", maxWhy+1) + "\"}}", "at most 512"},
		{"too much", "\x11{" + strings.Repeat(" ", maxMessage) + "}", "longer than"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := parse([]byte(row.msg))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got error %v, want one with %q", err, row.want)
			}
		})
	}
}

func TestParseSkipsWhatItDoesNotKnow(t *testing.T) {
	m, err := parse([]byte("\x11" + `{"from":"a","mood":{"x":[1]},"reports":[{"node":"a","seq":4,"colour":"red"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Reports) != 1 || m.Reports[0].Seq != 4 {
		t.Errorf("got %+v, want the report with what is known of it", m)
	}
}

// reportOf returns a report with n claims.
func reportOf(node string, n int) arbiter.Report {
	r := arbiter.Report{Node: node, Incarnation: 1, Seq: 1}
	for i := range n {
		r.Claims = append(r.Claims, arbiter.ClaimReport{Claim: fmt.Sprintf("VI_%04d", i), State: "BACKUP", Address: "10.0.0.11"})
	}
	return r
}

func TestPackReportsKeepsPacketsSmall(t *testing.T) {
	for _, row := range []struct {
		name                 string
		claims               []int // of each report
		wantPacks, wantStrms int
	}{
		{"nothing", nil, 0, 0},
		{"a few", []int{1, 1, 1}, 1, 0},
		{"more than fit into one", []int{9, 9, 9}, 3, 0},
		{"one too long for a packet", []int{2, 100, 2}, 1, 1},
		{"the longest", []int{maxClaims}, 0, 1},
		{"many of the longest", []int{maxClaims, maxClaims, maxClaims, maxClaims, maxClaims, maxClaims, maxClaims, maxClaims}, 0, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			var reports []arbiter.Report
			for i, n := range row.claims {
				reports = append(reports, reportOf(fmt.Sprintf("lb%02d", i), n))
			}
			packets, streams := packReports("lb00", &stamp{1, 2}, encodeReports(reports))
			if len(packets) != row.wantPacks || len(streams) != row.wantStrms {
				t.Errorf("got %d packets and %d streams, want %d and %d", len(packets), len(streams), row.wantPacks, row.wantStrms)
			}
			got := map[string]arbiter.Report{}
			for _, b := range packets {
				if len(b) > maxPacket {
					t.Errorf("packet of %d bytes, at most %d", len(b), maxPacket)
				}
			}
			for _, b := range append(packets, streams...) {
				m, err := parse(b)
				if err != nil {
					t.Fatal(err)
				}
				if m.Yours == nil {
					t.Error("a message without the receiver's own stamp")
				}
				for _, r := range m.Reports {
					got[r.Node] = r
				}
			}
			for _, r := range reports {
				if diff := cmp.Diff(r, got[r.Node]); diff != "" {
					t.Errorf("report of %s differs (-sent +got):\n%s", r.Node, diff)
				}
			}
		})
	}
}

// A packet boundary that is off by one shows only at the one size that hits it.
func TestPackReportsAtEverySize(t *testing.T) {
	for size := 1; size <= maxText; size++ {
		r := reportOf("lb01", 12)
		for i := range r.Claims {
			r.Claims[i].Address = strings.Repeat("a", size/2)
			r.Claims[i].State = strings.Repeat("s", size-size/2)
		}
		packets, streams := packReports("lb01", nil, encodeReports([]arbiter.Report{r, reportOf("lb02", 1)}))
		for _, b := range packets {
			if len(b) > maxPacket {
				t.Fatalf("size %d: packet of %d bytes", size, len(b))
			}
		}
		if n := len(packets) + len(streams); n < 1 || n > 2 {
			t.Fatalf("size %d: %d messages for two reports", size, n)
		}
	}
}

func TestCutTextKeepsCharactersWhole(t *testing.T) {
	text := "no: h\u00e4lt"
	for limit := range len(text) + 2 {
		if got := cutText(text, limit); len(got) > limit || !strings.HasPrefix(text, got) || strings.ContainsRune(got, '\ufffd') {
			t.Errorf("cutText(%q, %d) = %q", text, limit, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(encode(m))
	}
	f.Add([]byte("\x11" + `{"from":"a","reports":[{"node":"a","claims":[]}]}`))
	f.Add([]byte("\x12" + `{"FROM":"a","from":"b","request":null}`))
	f.Add([]byte{0x21, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		again, err := parse(encode(m))
		if err != nil {
			t.Fatalf("parse of its own encoding: %v", err)
		}
		if diff := cmp.Diff(m, again, cmp.AllowUnexported(message{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("parse, encode, parse differs (-first +second):\n%s", diff)
		}
		if m.kind == kindReports && !bytes.Equal(encode(m), encode(again)) {
			t.Error("encode is not stable")
		}
	})
}
