package witness_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/witness"
)

// TestConditionNamesWhatIsWrong: an operator who reads the status learns what the witness has, while
// it has it, and nothing when it is over.
func TestConditionNamesWhatIsWrong(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(b *bench)
		want string
	}{
		{"not yet there", func(b *bench) {
			b.leases["n1"] = witness.NewLease(witness.Config{Node: "n1", Incarnation: 2, Timing: b.timing})
			b.lose("n1", b.send("n1"))
		}, "it has not answered yet: no reply"},
		{"silent", func(b *bench) { b.lose("n1", b.send("n1")) }, "it has been silent for 150ms: no reply"},
		{"read-only", func(b *bench) {
			b.leases["n1"].Done(b.now, b.send("n1").ID, witness.Outcome{}, errors.New("permission denied"), true)
		}, "it has refused to write for 150ms: permission denied"},
		{"slow", func(b *bench) {
			op := b.send("n1")
			b.now = b.now.Add(b.timing.Renew / 2)
			b.reply("n1", op)
		}, "it is slow: the last answer took 75ms of the 150ms"},
		{"late", func(b *bench) {
			op := b.send("n1")
			b.reply("n1", op)
			b.leases["n1"].Done(b.now, op.ID, witness.Outcome{}, errors.New("no reply"), false)
		}, "answers came late, or twice"},
		{"emptied", func(b *bench) { b.replaceStore(newStore(7)); b.round("n1") }, "it was emptied, or put back to an older state"},
		{"another cluster", func(b *bench) { b.replaceStore(nil); b.round("n1") }, "another etcd cluster"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, "n1")
			b.take("n1", "web")
			b.pass(time.Minute, "n1")
			if why := b.leases["n1"].Condition(b.now); why != "" {
				t.Fatalf("all is well, and its condition is %q", why)
			}
			b.now = b.leases["n1"].Deadline(b.now)
			row.do(b)
			if why := b.leases["n1"].Condition(b.now); !strings.Contains(why, row.want) {
				t.Errorf("its condition is %q, want %q", why, row.want)
			}
			b.pass(2*b.timing.Wait, "n1")
			if why := b.leases["n1"].Condition(b.now); why != "" {
				t.Errorf("it is over, and its condition is %q", why)
			}
		})
	}
}
