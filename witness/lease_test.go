package witness_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// bench is a store, nodes with one clock for all, and what is on the way between them.
type bench struct {
	t      *testing.T
	now    time.Time
	store  *store
	timing witness.Timing
	leases map[string]*witness.Lease
	wary   bool // another cluster is not trusted at once
}

func newBench(t *testing.T, nodes ...string) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1000, 0).UTC(), store: newStore(7), timing: witness.Fast(), leases: map[string]*witness.Lease{}}
	for _, n := range nodes {
		b.start(n, 1)
	}
	return b
}

// start makes a new lease for a node and lets it read and write for the first time.
func (b *bench) start(node string, incarnation uint64) {
	b.t.Helper()
	b.leases[node] = witness.NewLease(witness.Config{Node: node, Incarnation: incarnation, Timing: b.timing})
	b.round(node)
}

// send polls a node that must have something to send.
func (b *bench) send(node string) witness.Operation {
	b.t.Helper()
	op, due := b.leases[node].Poll(b.now)
	if !due {
		b.t.Fatalf("%s has nothing to send", node)
	}
	return op
}

// reply carries out what was sent and brings the answer back.
func (b *bench) reply(node string, op witness.Operation) witness.Outcome {
	out := b.store.do(op.Swap)
	b.leases[node].Done(b.now, op.ID, out, nil, false)
	b.vouch(node)
	return out
}

// vouch trusts another cluster at once, unless the test is about that.
func (b *bench) vouch(node string) {
	if !b.wary {
		b.leases[node].Trust(b.now)
	}
}

// lose says to the sender that no reply came.
func (b *bench) lose(node string, op witness.Operation) {
	b.leases[node].Done(b.now, op.ID, witness.Outcome{}, errors.New("no reply"), false)
}

// round lets a node send all that is due now, with replies in no time.
func (b *bench) round(node string) {
	b.t.Helper()
	for range 8 {
		op, due := b.leases[node].Poll(b.now)
		if !due {
			return
		}
		b.reply(node, op)
	}
	b.t.Fatalf("%s never rests", node)
}

// pass lets time pass while the given nodes do what is due, each when it says so.
func (b *bench) pass(d time.Duration, nodes ...string) {
	b.t.Helper()
	for end := b.now.Add(d); ; {
		next := end
		for _, n := range nodes {
			if at := b.leases[n].Deadline(b.now); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if next.After(b.now) {
			b.now = next
		}
		for _, n := range nodes {
			b.round(n)
		}
		if !b.now.Before(end) {
			return
		}
	}
}

// take lets a node take a claim, which must succeed within a wait.
func (b *bench) take(node, claim string) {
	b.t.Helper()
	b.leases[node].Take(claim, 0)
	b.pass(b.timing.Wait, node)
	b.holds(node, claim)
}

// holds fails unless the node may hold the claim now.
func (b *bench) holds(node, claim string) arbiter.Token {
	b.t.Helper()
	token, until, ok := b.leases[node].Permission(claim)
	if !ok || !until.After(b.now) {
		b.t.Fatalf("%s may not hold %s: granted %t, until %v; record %+v", node, claim, ok, until.Sub(b.now), b.store.claim(claim))
	}
	return token
}

// holdsNot fails if the node may hold the claim now.
func (b *bench) holdsNot(node, claim string) {
	b.t.Helper()
	if token, until, ok := b.leases[node].Permission(claim); ok && until.After(b.now) {
		b.t.Fatalf("%s may hold %s with token %d for another %v", node, claim, token, until.Sub(b.now))
	}
}

const whenever = -1 // however long

// standing fails unless the claim stands so for the node, free that long from now on.
func (b *bench) standing(node, claim string, state witness.State, at time.Duration) {
	b.t.Helper()
	s := b.leases[node].Standing(b.now, claim)
	if s.State != state || state == witness.Waiting && at != whenever && !s.At.Equal(b.now.Add(at)) {
		b.t.Fatalf("for %s %s is %v (at %v), want %v (at %v)", node, claim, s.State, s.At.Sub(b.now), state, at)
	}
}

// record fails unless the claim's record is so.
func (b *bench) record(claim, want string) {
	b.t.Helper()
	r := b.store.claim(claim)
	got := fmt.Sprintf("%s %d", r.Holder, r.Token)
	if r.Released {
		got += " released"
		if r.To != "" {
			got += " to " + r.To
		}
	}
	if got != want {
		b.t.Fatalf("the record of %s is %q, want %q", claim, got, want)
	}
}

// observe lets a node's watch bring everything.
func (b *bench) observe(node string) {
	b.leases[node].Observe(b.now, b.store.observe())
	b.vouch(node)
	b.leases[node].Observe(b.now, b.store.observe())
}

func TestFirstTakeWaits(t *testing.T) {
	b := newBench(t, "n1")
	b.leases["n1"].Take("web", 40)
	b.standing("n1", "web", witness.Waiting, b.timing.Wait)
	b.pass(b.timing.Wait-1, "n1")
	b.holdsNot("n1", "web")
	b.pass(1, "n1")
	if token := b.holds("n1", "web"); token != 41 {
		t.Errorf("token %d, want one above 40", token)
	}
	b.standing("n1", "web", witness.Mine, 0)
}

func TestPermissionCountsFromTheSending(t *testing.T) {
	b := newBench(t, "n1")
	b.take("n1", "web")
	b.pass(time.Second, "n1")
	b.now = b.leases["n1"].Deadline(b.now)
	sent, op := b.now, b.send("n1")
	b.now = b.now.Add(120 * ms)
	b.reply("n1", op)
	if _, until, _ := b.leases["n1"].Permission("web"); !until.Equal(sent.Add(b.timing.Hold)) {
		t.Errorf("until %v after the sending, want %v", until.Sub(sent), b.timing.Hold)
	}
	b.now = sent.Add(b.timing.Hold)
	b.holdsNot("n1", "web")
}

func TestReplyLostThatHadHappened(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.pass(b.timing.Wait, "n1", "n2")
	n1 := b.leases["n1"]
	n1.Take("web", 0)
	b.pass(b.timing.Renew, "n2")
	op := b.send("n1")
	b.store.do(op.Swap)
	b.now = b.now.Add(op.Timeout)
	b.lose("n1", op)
	b.record("web", "n1 1")
	b.holdsNot("n1", "web")
	if !n1.Unsettled("web") || n1.Unsettled("mail") {
		t.Error("a take whose reply was lost is settled, or another claim is not")
	}
	b.pass(b.timing.Renew, "n1")
	from, unreleased := n1.TakenFrom("web")
	if token := b.holds("n1", "web"); token != 2 || n1.Unsettled("web") || from != "" || !unreleased {
		t.Errorf("token %d, unsettled %t, taken from %q (unreleased %t): want it taken anew, from nobody known", token, n1.Unsettled("web"), from, unreleased)
	}
}

func TestReplyLostThatHadNotHappened(t *testing.T) {
	b := newBench(t, "n1")
	b.pass(b.timing.Wait, "n1")
	n1 := b.leases["n1"]
	n1.Take("web", 0)
	late := b.send("n1")
	b.now = b.now.Add(late.Timeout)
	b.lose("n1", late)
	b.pass(b.timing.Renew, "n1")
	if token := b.holds("n1", "web"); token != 1 || n1.Unsettled("web") {
		t.Errorf("token %d, unsettled %t", token, n1.Unsettled("web"))
	}
	if b.store.do(late.Swap).Done {
		t.Error("the swap that was given up took effect behind a newer one")
	}
}

// TestRefusedIsSettled: who says that nothing has happened leaves no doubt.
func TestRefusedIsSettled(t *testing.T) {
	b := newBench(t, "n1")
	b.pass(b.timing.Wait, "n1")
	b.leases["n1"].Take("web", 0)
	op := b.send("n1")
	b.leases["n1"].Done(b.now, op.ID, witness.Outcome{}, errors.New("connection refused"), true)
	if b.leases["n1"].Unsettled("web") {
		t.Error("a take that was refused is in doubt")
	}
	if at, err := b.leases["n1"].Answered(); err == nil || at.After(b.now) {
		t.Errorf("answered %v, error %v: want the error", at, err)
	}
}

// TestLateTakeAfterRelease: a take on its way for long must not undo a release.
func TestLateTakeAfterRelease(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.pass(b.timing.Wait, "n1", "n2")
	n1 := b.leases["n1"]
	n1.Take("web", 0)
	late := b.send("n1")
	b.now = b.now.Add(late.Timeout)
	b.lose("n1", late)
	b.pass(b.timing.Renew, "n1", "n2") // takes it
	n1.Release("web", "")
	b.round("n1")
	b.record("web", "n1 1 released")
	if b.store.do(late.Swap).Done {
		t.Error("the late take took effect")
	}
	b.record("web", "n1 1 released")
}

// TestTakeWithdrawnOnTheWay: a claim that a reload removes while its take is under way
// must not stay with a node that does not want it.
func TestTakeWithdrawnOnTheWay(t *testing.T) {
	b := newBench(t, "n1")
	b.pass(b.timing.Wait, "n1")
	n1 := b.leases["n1"]
	n1.Take("web", 0)
	op := b.send("n1")
	n1.Drop("web") // too late: it may have happened
	n1.Release("web", "")
	b.reply("n1", op)
	b.holdsNot("n1", "web")
	b.record("web", "n1 1")
	b.round("n1")
	b.record("web", "n1 1 released")
}

func TestDropBeforeSending(t *testing.T) {
	b := newBench(t, "n1")
	b.leases["n1"].Take("web", 0)
	b.leases["n1"].Drop("web")
	b.pass(2*b.timing.Wait, "n1")
	b.record("web", " 0")
}

func TestReleaseToOneAndToAnyone(t *testing.T) {
	for _, c := range []struct {
		to, record string
		n2, n3     witness.State
	}{
		{"", "n1 1 released", witness.Free, witness.Free},
		{"n2", "n1 1 released to n2", witness.Free, witness.Waiting},
		{"n9", "n1 1 released to n9", witness.Waiting, witness.Waiting},
	} {
		t.Run("to "+c.to, func(t *testing.T) {
			b := newBench(t, "n1", "n2", "n3")
			b.take("n1", "web")
			b.pass(time.Second, "n1", "n2", "n3")
			b.leases["n1"].Release("web", c.to)
			if !b.leases["n1"].Releasing("web") {
				t.Error("nothing to confirm")
			}
			b.holdsNot("n1", "web")
			b.round("n1")
			if b.leases["n1"].Releasing("web") {
				t.Error("confirmed, and still releasing")
			}
			b.record("web", c.record)
			b.observe("n2")
			b.observe("n3")
			b.standing("n2", "web", c.n2, b.timing.Wait)
			b.standing("n3", "web", c.n3, b.timing.Wait)
			b.pass(b.timing.Wait, "n1", "n2", "n3")
			b.standing("n3", "web", witness.Free, 0)
		})
	}
}

// TestPromisedClaimTakesNoTurn: a claim that was released in favour of one node, and that another
// holds by promises by now, waits for nobody's turn: the promises may not last that long.
func TestPromisedClaimTakesNoTurn(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.take("n1", "web")
	b.leases["n1"].Release("web", "n2")
	b.round("n1")
	b.observe("n3")
	b.standing("n3", "web", witness.Waiting, b.timing.Wait)
	b.leases["n3"].Use("web")
	b.standing("n3", "web", witness.Free, 0)
	b.leases["n3"].Take("web", 1)
	b.round("n3")
	b.holds("n3", "web")
}

// TestReleaseSaidTwice: the second word must not take back the first.
func TestReleaseSaidTwice(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.leases["n1"].Release("web", "n2")
	b.leases["n1"].Release("web", "")
	b.round("n1")
	b.record("web", "n1 1 released to n2")
}

// TestReleaseLost: the release is sent again until it is there.
func TestReleaseLost(t *testing.T) {
	b := newBench(t, "n1")
	b.take("n1", "web")
	b.leases["n1"].Release("web", "")
	b.lose("n1", b.send("n1"))
	if !b.leases["n1"].Releasing("web") {
		t.Error("a release without a reply is forgotten")
	}
	b.pass(b.timing.Renew, "n1")
	b.record("web", "n1 1 released")
}

// TestReleaseOfWhatAnotherHasNow: while n1 could not be heard n2 took the claim; the release that
// n1 still wants to send must not touch it.
func TestReleaseOfWhatAnotherHasNow(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(time.Second, "n1", "n2")
	b.leases["n2"].Take("web", 0)
	b.pass(2*b.timing.Wait, "n2") // n1 is cut off
	b.holds("n2", "web")
	b.leases["n1"].Release("web", "")
	b.pass(time.Second, "n1", "n2")
	b.record("web", "n2 2")
	b.holds("n2", "web")
	if b.leases["n1"].Releasing("web") {
		t.Error("n1 still wants to release what n2 holds")
	}
}

// TestEviction: a holder that was too late learns it from the very transaction with
// which it renews, also when it holds other claims.
func TestEviction(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.take("n1", "mail")
	b.pass(b.timing.Renew, "n1", "n2")
	b.leases["n2"].Take("web", 0)
	b.standing("n2", "web", witness.Waiting, b.timing.Wait)
	b.pass(b.timing.Wait, "n2")
	b.holds("n2", "web")
	if from, unreleased := b.leases["n2"].TakenFrom("web"); from != "n1" || !unreleased {
		t.Errorf("taken from %q, want n1", from)
	}
	if taken := b.store.node("n1").Taken; taken != 1 {
		t.Errorf("the victim's record says taken %d, want 1", taken)
	}
	// n1 is back: its renewal, built on what it knew, must fail, and it must know.
	op := b.send("n1")
	if len(op.Swap.Nodes) > 0 && b.store.backup(1).do(op.Swap).Done {
		t.Error("the victim's renewal would have succeeded")
	}
	b.reply("n1", op)
	b.holdsNot("n1", "web")
	b.pass(b.timing.Renew, "n1", "n2")
	b.holds("n1", "mail")
	b.holdsNot("n1", "web")
}

// TestEvictionLearntByRenewal has a holder whose renewal is on its way while it is evicted.
func TestEvictionLearntByRenewal(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.pass(b.timing.Renew, "n1", "n2")
	b.now = b.leases["n1"].Deadline(b.now)
	held := b.send("n1") // held up on its way
	b.leases["n2"].Take("web", 0)
	b.pass(b.timing.Wait, "n2")
	b.holds("n2", "web")
	if out := b.reply("n1", held); out.Done {
		t.Error("the renewal took effect after the eviction")
	}
	b.holdsNot("n1", "web")
	b.standing("n1", "web", witness.Waiting, b.timing.Wait)
}

func TestTwoTakersRace(t *testing.T) {
	b := newBench(t, "n1", "n2", "n3")
	b.pass(b.timing.Wait, "n1", "n2", "n3")
	for _, n := range []string{"n2", "n3"} {
		b.leases[n].Take("web", 0)
	}
	second, third := b.send("n2"), b.send("n3")
	if !b.reply("n3", third).Done || b.reply("n2", second).Done {
		t.Error("want the first to arrive to have it, and only that")
	}
	b.holds("n3", "web")
	b.holdsNot("n2", "web")
	b.pass(time.Second, "n2", "n3")
	b.holds("n3", "web")
	b.standing("n2", "web", witness.Waiting, whenever)
}

func TestRenewalCostsOneRecord(t *testing.T) {
	b := newBench(t, "n1", "n2")
	for i := range 50 {
		b.leases["n1"].Take(fmt.Sprintf("claim%d", i), 0)
	}
	b.pass(b.timing.Wait, "n1")
	for i := range 50 {
		b.holds("n1", fmt.Sprintf("claim%d", i))
	}
	b.now = b.leases["n1"].Deadline(b.now)
	op := b.send("n1")
	if s := op.Swap; len(s.Nodes) != 1 || len(s.Claims) != 0 || len(s.IfNodes) != 1 || len(s.IfClaims) != 0 {
		t.Errorf("a renewal of 50 claims writes %d node records and %d claims on %d conditions", len(s.Nodes), len(s.Claims), len(s.IfNodes)+len(s.IfClaims))
	}
	if op.Timeout > b.timing.Renew {
		t.Errorf("a lost reply is waited for %v, longer than a renewal period", op.Timeout)
	}
}

// TestTwoClaimsOfOneVictim are taken in one swap that writes the victim's record once.
func TestTwoClaimsOfOneVictim(t *testing.T) {
	b := newBench(t, "n1", "n2")
	b.take("n1", "web")
	b.take("n1", "mail")
	b.pass(b.timing.Renew, "n1", "n2")
	b.leases["n2"].Take("web", 0)
	b.leases["n2"].Take("mail", 0)
	b.pass(b.timing.Wait, "n2")
	b.holds("n2", "web")
	b.holds("n2", "mail")
	if taken := b.store.node("n1").Taken; taken != 1 {
		t.Errorf("taken %d, want 1: one swap", taken)
	}
}

// TestUnsettledRelease: who took the claim from a holder that had not released it, and lets go before
// that one's guarded services can be shown to be gone, says so, also when it has been started anew.
func TestUnsettledRelease(t *testing.T) {
	for _, settled := range []bool{false, true} {
		for _, anew := range []bool{false, true} {
			b := newBench(t, "n1", "n2", "n3")
			b.take("n1", "web")
			b.pass(b.timing.Renew, "n1", "n2", "n3")
			b.leases["n2"].Take("web", 0)
			b.pass(2*b.timing.Wait, "n2", "n3") // n1 is cut off
			b.holds("n2", "web")
			if anew {
				b.leases["n2"] = witness.NewLease(witness.Config{Node: "n2", Incarnation: 9, Timing: b.timing, Settled: map[string]bool{"web": settled}})
			} else {
				if settled {
					b.leases["n2"].Settle("web")
				}
				b.leases["n2"].Release("web", "")
			}
			b.pass(2*b.timing.Wait, "n2", "n3")
			b.leases["n3"].Take("web", 0)
			b.pass(2*b.timing.Renew, "n2", "n3")
			b.holds("n3", "web")
			if _, unreleased := b.leases["n3"].TakenFrom("web"); unreleased == settled {
				t.Errorf("settled %t, started anew %t: n3 is told that it was released: %t", settled, anew, !unreleased)
			}
		}
	}
}
