package witness_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/witness"
)

func TestAdd(t *testing.T) {
	node := witness.NodeRecord{Node: "lb01", Incarnation: 7, Beat: 3, HoldMS: 2840, LateMS: 100, Taken: 1}
	claim := witness.ClaimRecord{Claim: "web", Holder: "lb01", Incarnation: 7, Token: 4, Released: true, To: "lb02"}
	for _, c := range []struct {
		name, key, value string
		want             string // part of the error; empty: none
		adds             bool
	}{
		{"node", "nodes/lb01", string(witness.Encode(node)), "", true},
		{"claim", "claims/web", string(witness.Encode(claim)), "", true},
		{"claim with a slash in its name", "claims/a/b", `{"claim":"a/b","holder":"lb01","token":1}`, "", true},
		{"fields of a newer solovip", "nodes/lb01", `{"node":"lb01","colour":"blue"}`, "", true},
		{"another kind of record", "fences/lb01", `{"node":"lb01"}`, "", false},
		{"another kind of record that does not parse", "version", `\x00`, "", false},
		{"prefix only in part", "node/lb01", `{"node":"lb01"}`, "", false},
		{"not JSON", "nodes/lb01", "lb01 was here", "record nodes/lb01 is not ours", false},
		{"empty value", "claims/web", "", "record claims/web is not ours", false},
		{"another type", "claims/web", `{"claim":"web","token":"four"}`, "record claims/web is not ours", false},
		{"another node's", "nodes/lb01", `{"node":"lb02"}`, `record nodes/lb01 speaks of "lb02"`, false},
		{"another claim's", "claims/web", `{"claim":"mail"}`, `record claims/web speaks of "mail"`, false},
		{"nobody's", "claims/web", `null`, `record claims/web speaks of ""`, false},
		{"serves for ever", "nodes/lb01", `{"node":"lb01","hold_ms":86400001}`, "hold_ms 86400001 and late_ms 0 must be between 0 and a day", false},
		{"late for ever", "nodes/lb01", `{"node":"lb01","hold_ms":1,"late_ms":86400001}`, "must be between 0 and a day", false},
		{"serves less than nothing", "nodes/lb01", `{"node":"lb01","hold_ms":-1}`, "hold_ms -1 and late_ms 0", false},
		{"late before time", "nodes/lb01", `{"node":"lb01","hold_ms":600,"late_ms":-100}`, "hold_ms 600 and late_ms -100", false},
		// 2^64 ns and a little: as a duration it would be half a millisecond.
		{"serves longer than a duration can say", "nodes/lb01", `{"node":"lb01","hold_ms":18446744073710}`, "must be between 0 and a day", false},
		{"a sum that overflows", "nodes/lb01", `{"node":"lb01","hold_ms":9223372036854775807,"late_ms":1}`, "must be between 0 and a day", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o witness.Observation
			err := o.Add(c.key, []byte(c.value), 9)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
			if added := len(o.Nodes)+len(o.Claims) > 0; added != c.adds {
				t.Errorf("added: %t, want %t: %+v", added, c.adds, o)
			}
		})
	}
}

// TestAddKeepsTheRest: one bad record does not hide the others.
func TestAddKeepsTheRest(t *testing.T) {
	node := witness.NodeRecord{Node: "lb01", Incarnation: 7}
	var o witness.Observation
	for key, value := range map[string]string{"nodes/lb01": string(witness.Encode(node)), "claims/web": "junk", "nodes/lb02": "junk"} {
		_ = o.Add(key, []byte(value), 5)
	}
	want := witness.Observation{Nodes: map[string]witness.Versioned[witness.NodeRecord]{"lb01": {Version: 5, Record: node}}}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v, want %+v", o, want)
	}
}

func TestRecordWait(t *testing.T) {
	for _, c := range []struct {
		name       string
		hold, late int64
		want       time.Duration
	}{
		{"its word is shorter than our wait", 600, 100, 3 * time.Second},
		{"its word is longer: it runs by other settings", 4000, 100, 4182 * ms},
		{"it says nothing", 0, 0, 3 * time.Second},
	} {
		r := witness.NodeRecord{HoldMS: c.hold, LateMS: c.late}
		if got := r.Wait(3 * time.Second); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestKeys(t *testing.T) {
	for got, want := range map[string]string{
		witness.Prefix("edge"): "/solovip/edge/", witness.NodeKey("lb01"): "nodes/lb01", witness.ClaimKey("web"): "claims/web",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzAdd: no value makes it panic, what it takes is within bounds, and encoding it
// gives the same record again.
func FuzzAdd(f *testing.F) {
	f.Add("nodes/lb01", string(witness.Encode(witness.NodeRecord{Node: "lb01", Incarnation: 1 << 60, Beat: 2, HoldMS: 600, LateMS: 100, Taken: 3})))
	f.Add("claims/web", string(witness.Encode(witness.ClaimRecord{Claim: "web", Holder: "lb01", Incarnation: 7, Token: 1 << 40, Released: true, To: "lb02"})))
	f.Add("nodes/a", `{"node":"a","hold_ms":18446744073710}`)
	f.Add("claims/<>", `{"claim":"<>","holder":"\ud800"}`)
	f.Add("claims/", `null`)
	f.Add("nodes/", `[]`)
	f.Fuzz(func(t *testing.T, key, value string) {
		var o witness.Observation
		if err := o.Add(key, []byte(value), 1); err != nil {
			if !strings.Contains(err.Error(), key) {
				t.Errorf("the error does not name the key %q: %v", key, err)
			}
			return
		}
		var again witness.Observation
		for name, v := range o.Nodes {
			if wait := v.Record.Wait(0); wait < 0 || wait > 49*time.Hour {
				t.Errorf("a record makes others wait for %v", wait)
			}
			if err := again.Add(witness.NodeKey(name), witness.Encode(v.Record), 1); err != nil {
				t.Error(err)
			}
		}
		for name, v := range o.Claims {
			if err := again.Add(witness.ClaimKey(name), witness.Encode(v.Record), 1); err != nil {
				t.Error(err)
			}
		}
		if !reflect.DeepEqual(o, again) {
			t.Errorf("%+v became %+v", o, again)
		}
	})
}
