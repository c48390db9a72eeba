package witness_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/witness"
)

// This file has the stories in which the records themselves are in trouble: deleted by
// hand, written by a former start, on a store that was replaced or is hard to reach.

func TestClaimRecordDeletedByHand(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(time.Second, "n1", "n2")
	b.store.removeClaim("web")
	b.observe("n2")
	b.standing("n2", "web", witness.Waiting, b.timing.Wait)
	b.pass(b.timing.Renew, "n1")
	b.holdsNot("n1", "web") // it has learnt from its renewal that nothing says so any more
	b.leases["n1"].Take("web", 1)
	b.pass(b.timing.Wait, "n1", "n2")
	b.holds("n1", "web")
	b.record("web", "n1 2")
}

func TestNodeRecordDeletedByHand(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(time.Second, "n1", "n2")
	b.store.removeNode("n1")
	b.observe("n2")
	b.leases["n2"].Take("web", 0)
	b.standing("n2", "web", witness.Waiting, b.timing.Wait)
	b.pass(2*b.timing.Wait, "n1", "n2")
	b.holds("n1", "web") // it wrote its record anew and never stopped
	b.record("web", "n1 1")
}

func TestNodeRecordDeletedAndHolderGone(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(time.Second, "n1", "n2")
	b.store.removeNode("n1")
	b.observe("n2")
	b.leases["n2"].Take("web", 0)
	b.pass(b.timing.Wait-1, "n2")
	b.holdsNot("n2", "web")
	b.pass(1, "n2")
	b.holds("n2", "web")
}

// TestRestartedHolder: a start cleans up first, so the claims of the one before it are
// given back as soon as they are seen.
func TestRestartedHolder(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(time.Second, "n1", "n2")
	b.start("n1", 2)
	b.record("web", "n1 1 released")
	b.observe("n2")
	b.standing("n2", "web", witness.Free, 0)
	b.standing("n1", "web", witness.Waiting, b.timing.Wait) // it may have promised it before
	if got := b.store.node("n1"); got.Incarnation != 2 || got.Beat <= 1 {
		t.Errorf("record %+v: want the new incarnation, and beats that go on", got)
	}
}

// TestRestartedHolderThatDoesNotRelease is waited for from its restart on: its beats are
// those of a process that never held the claim.
func TestRestartedHolderThatDoesNotRelease(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(time.Second, "n1", "n2")
	me := b.store.Nodes["n1"]
	restarted := me.Record
	restarted.Incarnation, restarted.Beat = 2, restarted.Beat+1
	for range 8 { // it renews all the time
		v := b.store.Nodes["n1"].Version
		b.store.do(witness.Swap{IfNodes: map[string]int64{"n1": v}, Nodes: []witness.NodeRecord{restarted}})
		b.observe("n2")
		restarted.Beat++
		b.pass(b.timing.Wait/8, "n2")
	}
	b.standing("n2", "web", witness.Free, 0)
}

// TestHolderWithOtherSettings says in its record how long it serves: that counts.
func TestHolderWithOtherSettings(t *testing.T) {
	b := newBench(t, "n1")
	b.take("n1", "web")
	b.timing = witness.WAN()
	b.start("n2", 1)
	b.timing = witness.Fast()
	b.start("n3", 1)
	b.pass(5*time.Second, "n2", "n3")
	b.leases["n2"].Take("web", 0)
	b.pass(time.Second, "n2", "n3")
	b.holds("n2", "web")
	b.observe("n3")
	b.standing("n3", "web", witness.Waiting, whenever)
	if wait := b.leases["n3"].Standing(b.now, "web").At.Sub(b.now); wait < 2*time.Second {
		t.Errorf("n3 waits %v for a holder that serves %v after each renewal", wait, witness.WAN().Hold)
	}
}

// replaceStore puts an empty store, or the given backup, in place of the one there was.
func (b *bench) replaceStore(next *store) {
	if next == nil {
		next = newStore(0)
	}
	if next.ClusterID == 0 {
		next.ClusterID = b.store.ClusterID + 1
	}
	b.store = next
}

// emptyStore sets the same etcd up again on an empty disk, which is at the given term then.
func (b *bench) emptyStore(term uint64) {
	b.store = newStore(b.store.ClusterID)
	b.store.Term = term
}

// TestReplacedStoreKeepsItsHolder: the holder asserts at the new store what it holds by
// the old one, before anybody else may think it free.
func TestReplacedStoreKeepsItsHolder(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(time.Second, "n1", "n2")
	b.replaceStore(nil)
	b.leases["n2"].Take("web", 1)
	b.pass(2*b.timing.Wait, "n1", "n2")
	b.holds("n1", "web")
	b.record("web", "n1 1")
}

// TestStrangerIsNoWitness: the endpoints lead to another etcd cluster, and may lead another node
// to the former one still. Nothing there counts, and nothing is written there, before
// somebody vouches for it; the former one counts again when it is back.
func TestStrangerIsNoWitness(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.wary = true
	b.take("n1", "web")
	b.pass(b.timing.Renew, "n1", "n2")
	former, stranger := b.store, newStore(8)
	b.store = stranger
	b.leases["n2"].Take("web", 1)
	b.pass(3*b.timing.Wait, "n2")
	b.holdsNot("n2", "web")
	b.standing("n2", "web", witness.Unknown, 0)
	if got := b.leases["n2"].Stranger(); got != 8 {
		t.Errorf("the stranger is %d, want 8", got)
	}
	if why := b.leases["n2"].Condition(b.now); !strings.Contains(why, "trust-witness") {
		t.Errorf("its condition is %q: it should name the remedy", why)
	}
	if stranger.Revision != 1 {
		t.Error("something was written at a stranger")
	}

	b.store = former
	b.pass(b.timing.Renew, "n1", "n2")
	if got := b.leases["n2"].Stranger(); got != 0 {
		t.Errorf("the former one is back, and %d is still a stranger", got)
	}
	if why := b.leases["n2"].Condition(b.now); why != "" {
		t.Errorf("its condition is %q, want none", why)
	}

	b.store = stranger
	b.pass(b.timing.Renew, "n2")
	b.leases["n2"].Trust(b.now)
	b.leases["n2"].Take("web", 1)
	b.pass(b.timing.Wait-b.timing.Renew, "n2")
	b.holdsNot("n2", "web")
	if why := b.leases["n2"].Condition(b.now); !strings.Contains(why, "another etcd cluster") {
		t.Errorf("its condition is %q: it should say why nothing is free", why)
	}
	b.pass(2*b.timing.Renew, "n2")
	b.holds("n2", "web")
}

// TestStrangerAfterARestart: the daemon remembers which cluster was the witness.
func TestStrangerAfterARestart(t *testing.T) {
	b := newBench(t)
	b.wary = true
	b.leases["n1"] = witness.NewLease(witness.Config{Node: "n1", Incarnation: 2, Timing: b.timing, Trusted: 6})
	b.leases["n1"].Take("web", 1)
	b.pass(2*b.timing.Wait, "n1")
	b.holdsNot("n1", "web")
	if got := b.leases["n1"].Stranger(); got != 7 {
		t.Errorf("the stranger is %d, want 7", got)
	}
}

func TestReplacedStoreIsWaitedForInFull(t *testing.T) {
	for _, c := range []struct {
		name   string
		backup bool
	}{{"empty", false}, {"an older backup that calls the claim released", true}} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, "n1", "n2", "n3")
			b.take("n3", "web")
			b.leases["n3"].Release("web", "")
			b.round("n3")
			var next *store
			if c.backup {
				next = b.store.backup(0)
			}
			b.take("n1", "web")
			b.pass(b.timing.Renew, "n1", "n2", "n3")
			b.replaceStore(next)
			b.start("n4", 1) // knows nothing of the old one
			for _, n := range []string{"n2", "n3", "n4"} {
				b.leases[n].Take("web", 1)
			}
			b.pass(b.timing.Wait-1, "n2", "n3", "n4") // n1 cannot reach the new one
			for _, n := range []string{"n2", "n3", "n4"} {
				b.holdsNot(n, "web")
			}
			b.pass(b.timing.Wait, "n2", "n3", "n4")
			if got := b.store.claim("web"); got.Released || got.Holder == "n1" || got.Holder == "" {
				t.Errorf("record %+v: want one of the others to have it by now", got)
			}
		})
	}
}

// TestReplacedStoreSeenByItsRevision has the same cluster id: a data directory was put back.
func TestReplacedStoreSeenByItsRevision(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.leases["n1"].Release("web", "")
	b.round("n1")
	backup := b.store.backup(b.store.ClusterID)
	b.take("n1", "web")
	b.pass(b.timing.Renew, "n1", "n2")
	b.replaceStore(backup)
	b.leases["n2"].Take("web", 1)
	b.pass(b.timing.Renew, "n2")
	b.standing("n2", "web", witness.Waiting, whenever)
	b.holdsNot("n2", "web")
}

// TestReplacedStoreUnseen: nothing shows that an older backup was put in place while
// nobody answered for long. So what is said after a long silence is waited for in full.
func TestReplacedStoreUnseen(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.leases["n1"].Release("web", "")
	b.round("n1")
	b.pass(b.timing.Wait, "n1", "n2")
	backup := b.store.backup(b.store.ClusterID)
	for range 3 { // n2 hears nothing of this
		b.leases["n1"].Take("web", 0)
		b.pass(b.timing.Renew, "n1")
	}
	b.pass(b.timing.Wait, "n1")
	b.holds("n1", "web")
	b.replaceStore(backup)
	b.leases["n2"].Take("web", 1)
	b.pass(b.timing.Hold, "n2")
	b.holdsNot("n2", "web")
	b.pass(b.timing.Wait, "n2")
	b.holds("n2", "web")
}

// TestReplacedStoreNamesOneThatHoldsNothing: by the backup n1 has the claim. It does not
// and does not want it; others must not wait for ever.
func TestReplacedStoreNamesOneThatHoldsNothing(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	backup := b.store.backup(0)
	b.leases["n1"].Release("web", "")
	b.pass(b.timing.Renew, "n1", "n2")
	b.replaceStore(backup)
	b.pass(b.timing.Renew, "n1", "n2")
	b.record("web", "n1 1") // not yet: there may be a holder that only the lost records knew
	b.leases["n2"].Take("web", 1)
	b.pass(3*b.timing.Wait, "n1", "n2")
	b.holds("n2", "web")
}

// TestRestartedStoreIsWatchedAnew: the witness is put back to a state that lacks n1's last
// renewal, which n2 had not seen. To n2 nothing in the records shows that; it does show that
// the witness was started anew, so a take that was under way counts for nothing, and nothing
// is free before n1's permission has ended.
func TestRestartedStoreIsWatchedAnew(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(b.timing.Renew, "n1", "n2")
	backup := b.store.backup(b.store.ClusterID)
	backup.Term++
	for seen := b.now; b.now.Sub(seen) < b.timing.Renew; {
		b.pass(b.timing.Renew/2, "n1") // n2 does not see this one
	}
	_, until, _ := b.leases["n1"].Permission("web")
	b.leases["n2"].Take("web", 1)
	b.now = b.now.Add(b.timing.Wait - b.timing.Renew - 1) // n1 is frozen
	b.store = backup
	b.pass(until.Sub(b.now)+1, "n2")
	b.holdsNot("n2", "web")
	b.pass(2*b.timing.Wait, "n2")
	b.holds("n2", "web")
}

// TestEmptiedStoreSeenByWatching: an etcd that is emptied and started as before keeps its id, and
// others have written there when n1 sees it first. Its claim's record is not there, and that it
// is as old as the store's first revisions must not look like a record deleted by hand.
func TestEmptiedStoreSeenByWatching(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(10*b.timing.Renew, "n1", "n2")
	b.emptyStore(b.store.Term + 1)
	for b.store.Revision < 20 {
		b.pass(b.timing.Renew/10, "n2")
		b.store.Revision += 5
	}
	b.observe("n1")
	b.holds("n1", "web")
	b.pass(b.timing.Renew, "n1", "n2")
	b.holds("n1", "web")
	b.record("web", "n1 1")
}

// TestStoreEmptiedTwice: the second time it has been written to as often as before, by another
// node, when the holder sees it: only its own record is missing. It holds on.
func TestStoreEmptiedTwice(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.emptyStore(b.store.Term + 1)
	b.pass(b.timing.Renew, "n1")
	written := b.store.Revision
	b.emptyStore(b.store.Term + 1)
	b.pass(b.timing.Renew, "n2")
	b.store.Revision = max(b.store.Revision, written)
	b.pass(2*b.timing.Wait, "n1", "n2")
	b.holds("n1", "web")
	b.record("web", "n1 1")
}

// TestEmptiedStoreLooksAsBefore: an etcd that is set up again on an empty disk has the id and the
// term that it had, and n1's claim was taken at a revision that it has reached again. What
// was known to be there at that revision is missing, so it is another store: n1 holds on.
func TestEmptiedStoreLooksAsBefore(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(10*b.timing.Renew, "n1", "n2")
	taken := b.store.Claims["web"].Version
	b.emptyStore(b.store.Term)
	for b.store.Revision < taken {
		b.pass(b.timing.Renew/10, "n2")
		b.store.Revision++
	}
	b.observe("n1")
	b.holds("n1", "web")
	b.pass(2*b.timing.Wait, "n1", "n2")
	b.holds("n1", "web")
	b.record("web", "n1 1")
}

// TestUsedClaimIsNoOrphan: somebody deletes the claim's record while its holder cannot
// let go, and then a take that was late puts it back. As long as something of the claim
// may be on the node, that is not given to others.
func TestUsedClaimIsNoOrphan(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.leases["n1"].Use("web")
	b.store.removeClaim("web")
	b.pass(b.timing.Renew, "n1")
	b.holdsNot("n1", "web")
	b.store.Revision++
	b.store.write(witness.ClaimKey("web"), witness.ClaimRecord{Claim: "web", Holder: "n1", Incarnation: 1, Token: 1})
	b.pass(b.timing.Wait, "n1")
	b.record("web", "n1 1")
	b.leases["n1"].Release("web", "")
	b.pass(b.timing.Renew, "n1")
	b.record("web", "n1 1 released")
}

// TestSwapMeantForAnotherStore: a take that was built on the old records and is carried
// out by the new store, because by chance they agree there, permits nothing.
func TestSwapMeantForAnotherStore(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.pass(b.timing.Wait, "n1", "n2")
	backup := b.store.backup(0)
	b.leases["n2"].Take("web", 0)
	op := b.send("n2")
	b.replaceStore(backup)
	if !b.reply("n2", op).Done {
		t.Fatal("the story needs the new store to carry it out")
	}
	b.holdsNot("n2", "web")
	b.round("n2")
	b.standing("n2", "web", witness.Waiting, b.timing.Wait)
	b.pass(2*b.timing.Wait, "n1", "n2")
	b.holdsNot("n1", "web")
}

// TestLastWordOfTheOldStore comes when the new one is known already.
func TestLastWordOfTheOldStore(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.pass(b.timing.Wait, "n1", "n2")
	b.leases["n2"].Take("web", 0)
	op, old := b.send("n2"), b.store
	b.replaceStore(nil)
	b.observe("n2")
	b.now = b.now.Add(b.timing.Renew / 2)
	b.leases["n2"].Done(b.now, op.ID, old.do(op.Swap), nil, false)
	b.holdsNot("n2", "web")
	b.standing("n2", "web", witness.Waiting, b.timing.Wait-b.timing.Renew/2)
}

// TestSilenceIsNoPermission: after a long silence nothing is known, whatever was before.
func TestSilenceIsNoPermission(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.pass(b.timing.Wait, "n1", "n2")
	b.standing("n2", "web", witness.Free, 0)
	b.now = b.now.Add(b.timing.Wait + 1)
	b.standing("n2", "web", witness.Unknown, 0)
	b.leases["n2"].Take("web", 0)
	op := b.send("n2")
	if len(op.Swap.Claims) > 0 {
		t.Error("it takes by what it knew before the silence")
	}
	b.reply("n2", op)
	b.standing("n2", "web", witness.Waiting, b.timing.Wait)
}

// TestOldNews: what arrives late shows older versions, and changes nothing.
func TestOldNews(t *testing.T) {
	b := newBench(t, "n1", "n2")
	before := b.store.observe()
	b.take("n1", "web")
	old := b.store.observe()
	b.leases["n1"].Release("web", "")
	b.round("n1")
	b.observe("n2")
	b.pass(b.timing.Wait, "n2")
	b.standing("n2", "web", witness.Free, 0)
	for _, o := range []witness.Observation{before, old} {
		b.leases["n2"].Observe(b.now, o)
		b.standing("n2", "web", witness.Free, 0)
	}
	b.store.removeClaim("web")
	b.observe("n2")
	b.standing("n2", "web", witness.Waiting, b.timing.Wait)
}

// TestFragments: a watch shows what changed. Before the first complete reading that says
// nothing; afterwards a record that it does not show is still there.
func TestFragments(t *testing.T) {
	b := newBench(t, "n1")
	fresh := witness.NewLease(witness.Config{Node: "n2", Incarnation: 1, Timing: b.timing})
	fresh.Observe(b.now, b.store.since(1))
	if s := fresh.Standing(b.now, "web"); s.State != witness.Unknown {
		t.Errorf("a fragment makes the claim %v", s.State)
	}
	b.start("n2", 1)
	b.take("n1", "web")
	b.pass(b.timing.Renew, "n1", "n2")
	seen := b.store.Revision
	b.pass(b.timing.Renew, "n1")
	b.leases["n2"].Observe(b.now, b.store.since(seen))
	if s := b.leases["n2"].Standing(b.now, "web"); s.Holder != "n1" || s.Token != 1 {
		t.Errorf("after a renewal was shown the claim is %+v", s)
	}
	if at, ok := b.leases["n2"].Beat("n1"); !ok || !at.Equal(b.now) {
		t.Errorf("the last beat of n1 was at %v, %t; want now", at, ok)
	}
	b.store.removeClaim("web")
	b.leases["n2"].Observe(b.now, b.store.since(b.store.Revision-1))
	if s := b.leases["n2"].Standing(b.now, "web"); s.Holder != "" {
		t.Errorf("after its removal was shown the claim is %+v", s)
	}
}

func TestAlive(t *testing.T) {
	b := newBench(t, "n1", "n2")
	n2 := b.leases["n2"]
	b.observe("n2")
	b.pass(b.timing.Renew, "n2")
	if n2.Alive("n1") || n2.Alive("n3") {
		t.Error("a node whose record never changed, or is not there, counts as alive")
	}
	// A renewal of n1 succeeds, but n1 does not hear of it: what it does next it decides
	// without the witness.
	b.now = b.now.Add(b.timing.Renew)
	op := b.send("n1")
	b.store.do(op.Swap)
	b.lose("n1", op)
	b.observe("n2")
	if n2.Alive("n1") {
		t.Error("a node whose only renewal had no reply counts as alive")
	}
	for range 3 {
		b.pass(b.timing.Renew, "n1", "n2")
		b.observe("n2")
	}
	if !n2.Alive("n1") {
		t.Error("a node that renews does not count as alive")
	}
}

// TestUnreachable: tries go on at a bounded rate, and nothing spins.
func TestUnreachable(t *testing.T) {
	b := newBench(t, "n1")
	b.take("n1", "web")
	tries := 0
	for end := b.now.Add(10 * time.Second); b.now.Before(end); tries++ {
		at := b.leases["n1"].Deadline(b.now)
		if at.Before(b.now) {
			at = b.now
		}
		b.now = at
		op := b.send("n1")
		b.leases["n1"].Done(b.now, op.ID, witness.Outcome{}, errors.New("connection refused"), true)
	}
	if most := int(10*time.Second/(b.timing.Renew/4)) + 1; tries > most {
		t.Errorf("%d tries in 10 s, want %d at the most", tries, most)
	}
	if _, err := b.leases["n1"].Answered(); err == nil {
		t.Error("no error to show")
	}
	b.holdsNot("n1", "web")
	b.pass(2*b.timing.Renew, "n1")
	b.holds("n1", "web") // nobody has taken it meanwhile
}

// TestClashes: conditions that fail again and again do not make it spin either.
func TestClashes(t *testing.T) {
	b := newBench(t, "n1")
	tries, begin := 0, b.now
	for tries < 100 {
		at := b.leases["n1"].Deadline(b.now)
		if at.After(b.now) {
			b.now = at
		}
		op := b.send("n1")
		b.store.Revision++
		rec := b.store.node("n1")
		rec.Taken++
		b.store.write(witness.NodeKey("n1"), rec) // somebody takes a claim from it each time
		b.reply("n1", op)
		tries++
	}
	if took := b.now.Sub(begin); took < 3*time.Second {
		t.Errorf("100 swaps that clash in %v", took)
	}
	b.round("n1")
}

// TestRepliesOutOfPlace: of nothing that was asked, or twice.
func TestRepliesOutOfPlace(t *testing.T) {
	b := newBench(t, "n1")
	b.pass(b.timing.Wait, "n1")
	b.leases["n1"].Take("web", 0)
	op := b.send("n1")
	out := b.store.do(op.Swap)
	b.leases["n1"].Done(b.now, op.ID+1, out, nil, false)
	b.leases["n1"].Done(b.now, op.ID-1, out, nil, false)
	b.holdsNot("n1", "web")
	if at := b.leases["n1"].Deadline(b.now); !at.IsZero() {
		t.Errorf("with a swap in flight it wants to be called in %v", at.Sub(b.now))
	}
	if _, due := b.leases["n1"].Poll(b.now.Add(time.Hour)); due {
		t.Error("a second swap while one is in flight")
	}
	b.leases["n1"].Done(b.now, op.ID, out, nil, false)
	b.leases["n1"].Done(b.now, op.ID, witness.Outcome{}, errors.New("again"), false)
	b.holds("n1", "web")
}

// TestDoubtsAreBounded: a hundred takes whose replies are lost are settled by one answer.
func TestDoubtsAreBounded(t *testing.T) {
	b := newBench(t)
	b.timing.Renew = 20 * ms
	b.start("n1", 1)
	b.pass(b.timing.Wait, "n1")
	n1 := b.leases["n1"]
	for i := range 100 {
		claim := []string{"web", "mail"}[i%2]
		n1.Take(claim, 0)
		b.now = later(b.now, n1.Deadline(b.now))
		op := b.send("n1")
		b.lose("n1", op)
		if len(op.Swap.Claims) > 0 && !n1.Unsettled(claim) {
			t.Fatalf("take %d is not in doubt", i)
		}
	}
	b.pass(2*b.timing.Wait, "n1")
	if n1.Unsettled("web") || n1.Unsettled("mail") {
		t.Error("still in doubt after an answer")
	}
	b.holds("n1", "web")
	b.holds("n1", "mail")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestStateNames(t *testing.T) {
	for s, want := range map[witness.State]string{
		witness.Unknown: "unknown", witness.Waiting: "waiting", witness.Free: "free", witness.Mine: "mine", 9: "State(9)",
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
