package fencing

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func sample() Record {
	began := time.Unix(5000, 0).UTC()
	r := Record{
		ID: "17-3", Time: time.Date(2026, 11, 21, 3, 4, 5, 0, time.UTC), Boot: "8a3e", BootMS: 5_000_000,
		Node: "lb01", Mode: "lease", Claim: "VI_1", Cause: Permission, Why: "the permission has ended", Token: 17,
		Evidence: []Evidence{{Source: "mesh", Who: "lb02", Path: "via w1", AgeMS: 120, Says: `does not hold it, "token" 16`}},
		Result:   UnderWay, Began: began,
	}
	r.Step(began.Add(time.Millisecond), "gate shut", nil)
	return r
}

var sameBut = cmpopts.IgnoreFields(Record{}, "Began")

func TestLineIsReadBack(t *testing.T) {
	r := sample()
	r.Step(r.Began.Add(2*time.Millisecond), "addresses off", errors.New("no buffer space"))
	r.Clear(r.Began.Add(time.Minute), "operator", "an operator cleared it")
	line := r.Line()
	if bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Fatalf("not one line: %q", line)
	}
	var plain map[string]any
	if err := json.Unmarshal(line, &plain); err != nil {
		t.Fatalf("a line is not JSON for other tools: %v\n%s", err, line)
	}
	got, err := ParseLine(line)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got, sameBut); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// Each single byte that is changed or missing is noticed, wherever it stands.
func TestDamageIsNoticed(t *testing.T) {
	r := sample()
	line := r.Line()
	for i := range len(line) - 1 {
		torn := bytes.Clone(line[:i])
		if _, err := ParseLine(torn); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: error %v", i, err)
		}
		turned := bytes.Clone(line)
		turned[i] ^= 0x10
		if _, err := ParseLine(turned); err == nil {
			t.Fatalf("byte %d turned to %q is believed", i, turned[i])
		}
	}
}

func TestSalvage(t *testing.T) {
	a, b, c := sample(), sample(), sample()
	a.ID, b.ID, c.ID = "1-1", "1-2", "1-3"
	line := func(r Record) string { return strings.TrimSuffix(string(r.Line()), "\n") }
	tests := []struct {
		name, line string
		want       []string
	}{
		{"behind a torn one", line(a)[:40] + line(b), []string{"1-2"}},
		{"before a torn one", line(a) + line(b)[:40], []string{"1-1"}},
		{"around a torn one", line(a) + line(b)[:90] + line(c), []string{"1-1", "1-3"}},
		{"behind zeros", strings.Repeat("\x00", 512) + line(b), []string{"1-2"}},
		{"before zeros", line(b) + strings.Repeat("\x00", 512), []string{"1-2"}},
		{"nothing", "no fencing at all", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, r := range Salvage([]byte(tt.line)) {
				got = append(got, r.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever is in a record, its line stays below the bound.
func TestLineIsBounded(t *testing.T) {
	worst := strings.Repeat("\x01", 5000)
	r := Record{ID: "1-1", Node: worst, Claim: worst, Target: worst, Why: worst, To: worst}
	for range 100 {
		r.Evidence = append(r.Evidence, Evidence{worst, worst, worst, -1, worst})
		r.Actions = append(r.Actions, Step{What: worst, Error: worst})
	}
	r.Clear(time.Time{}, "rule", worst)
	if n := len(r.Line()); n > MaxLine {
		t.Errorf("%d bytes, the bound is %d", n, MaxLine)
	}
}

func TestSteps(t *testing.T) {
	r := sample()
	at := func(ms int) time.Time { return r.Began.Add(time.Duration(ms) * time.Millisecond) }
	r.Step(at(5), "guards stopped", errors.New("it hangs"))
	if r.Result != Failed {
		t.Errorf("after a failed step the result is %q", r.Result)
	}
	r.Step(at(1005), "guards stopped", nil)
	if r.Result != UnderWay {
		t.Errorf("after the step has worked the result is %q", r.Result)
	}
	r.Finish(at(1006))
	want := []Step{{What: "gate shut", AtMS: 1}, {What: "guards stopped", AtMS: 1005, Tries: 2}}
	if diff := cmp.Diff(want, r.Actions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Result != Done || r.DoneMS != 1006 {
		t.Errorf("finished: %q after %d ms", r.Result, r.DoneMS)
	}
}

// Lines come from a disk that may hold anything; the fuzzer cannot guess checksums, so
// each input is also read with the right one.
func FuzzParseLine(f *testing.F) {
	r := sample()
	f.Add(r.Line())
	f.Add(append(r.Line()[:50], r.Line()...))
	f.Add([]byte(`{"id":"","cleared":{"at_ms":-1}}`))
	f.Add([]byte(`{"id":"1","time":"9999-12-31T23:59:59+23:59"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		Salvage(line)
		for _, input := range [][]byte{line, seal(line)} {
			r, err := ParseLine(input)
			if err != nil {
				continue
			}
			again, err := ParseLine(r.Line())
			if err != nil {
				t.Fatalf("%+v is not read back: %v", r, err)
			}
			r.trim()
			if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-first +again):\n%s", diff)
			}
		}
	})
}
