package mesh

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/boottime"
)

// pass lets time pass where that is the point, not a way to wait for something.
func pass(d time.Duration) { <-time.After(d) }

// ask asks, waits until an answer has come by each of the paths, and returns how the question
// came there, and how answers came until then.
func ask(t *testing.T, from, to *labHost, id uint64, paths ...string) (there string, back []string) {
	t.Helper()
	markTo, markFrom := to.mark(), from.mark()
	from.do(t, order{Ask: &arbiter.Request{ID: id, Kind: arbiter.RequestHolds, To: to.name, Claim: "VI_1"}})
	there = to.awaitEvent(t, markTo, "the question", func(e Event) bool {
		a, ok := e.(Asked)
		return ok && a.Request.ID == id
	}).Event.(Asked).Path.Via
	isAnswer := func(e Event) bool {
		a, ok := e.(Answered)
		return ok && a.Answer.ID == id && a.Answer.Yes
	}
	for _, via := range paths {
		from.awaitEvent(t, markFrom, fmt.Sprintf("the answer via %q", via), func(e Event) bool {
			return isAnswer(e) && e.(Answered).Path.Via == via
		})
	}
	for _, n := range from.since(markFrom) {
		if n.Event != nil && isAnswer(n.Event) {
			back = append(back, n.Event.(Answered).Path.Via)
		}
	}
	slices.Sort(back)
	return there, back
}

// The reason for a mesh-only witness: when the link between two nodes is cut, each
// goes on seeing what the other says, through the third, and can ask it.
func TestCutLinkIsSeenThrough(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.boot(t, "lb01", "lb02", "w1")
		lb01, lb02 := l.hosts["lb01"], l.hosts["lb02"]
		lb01.cut(t, lb02, true)
		lb02.cut(t, lb01, true)
		mark1, mark2 := lb01.mark(), lb02.mark()

		for id := range uint64(5) {
			if there, back := ask(t, lb01, lb02, id, "w1"); there != "w1" || !slices.Equal(back, []string{"w1"}) {
				t.Errorf("asked via %q, answered via %q; want w1 both ways", there, back)
			}
		}
		pass(4 * time.Second) // longer than a death would take to be noticed
		for h, other := range map[*labHost]*labHost{lb01: lb02, lb02: lb01} {
			mark := mark1
			if h == lb02 {
				mark = mark2
			}
			gap, n := longestGap(h.since(mark), other.name, "w1")
			t.Logf("%s sees %s through w1: %d reports, at most %v apart", h.name, other.name, n, gap)
			if n < 10 || gap > 2*time.Second {
				t.Errorf("%s is blind on %s", h.name, other.name)
			}
			for i, e := range h.since(mark) {
				if e.Event != nil && report(other.name, "")(e.Event) {
					t.Errorf("%s has %+v while the link is cut", h.name, e.Event)
				}
				if e.Event == (MemberChanged{other.name, false}) {
					// w1 probes for us; but a machine that stalls for half a second looks dead.
					t.Logf("%s had %s for dead", h.name, other.name)
					h.awaitEvent(t, mark+i, other.name+" alive again through w1", alive(other.name, true))
				}
			}
		}

		mark1 = lb01.mark()
		lb01.heal(t)
		healed := lb02.heal(t)
		direct := lb01.awaitEvent(t, mark1, "lb02 directly again", report("lb02", ""))
		t.Logf("heal to the first direct report: %v", direct.At.Sub(healed.At))
		ask(t, lb01, lb02, 100, "", "w1")

		// One way only: lb02 is deaf to lb01, which would never know by itself.
		lb02.cut(t, lb01, false)
		if there, back := ask(t, lb01, lb02, 101, "", "w1"); there != "w1" || !slices.Equal(back, []string{"", "w1"}) {
			t.Errorf("deaf lb02 was asked via %q and answered via %q; want w1, and both ways", there, back)
		}
	})
}

func TestMembersMayHaveIPv6Addresses(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.ipv6 = true
		l.boot(t, "lb01", "lb02", "w1")
		ask(t, l.hosts["lb01"], l.hosts["lb02"], 1, "", "w1")
	})
}

// longestGap returns the longest time between two reports of a member by a path.
func longestGap(notes []note, name, via string) (gap time.Duration, n int) {
	var last time.Time
	for _, e := range notes {
		if e.Event == nil || !report(name, via)(e.Event) {
			continue
		}
		if n++; n > 1 {
			gap = max(gap, e.At.Sub(last))
		}
		last = e.At
	}
	return gap, n
}

// Both sides of a partition have buried each other, and nobody helps them up.
func TestPartitionHealsByItself(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.boot(t, "lb01", "lb02", "w1")
		lb01, lb02, w1 := l.hosts["lb01"], l.hosts["lb02"], l.hosts["w1"]
		for range 3 {
			marks := map[*labHost]int{lb01: lb01.mark(), lb02: lb02.mark(), w1: w1.mark()}
			cut := lb01.isolate(t)
			dead := func(h *labHost, name string) time.Duration {
				return h.awaitEvent(t, marks[h], h.name+" has "+name+" dead", alive(name, false)).At.Sub(cut.At)
			}
			t.Logf("partition of lb01 to its death: lb02 %v, w1 %v; on its own side: lb02 %v, w1 %v",
				dead(lb02, "lb01"), dead(w1, "lb01"), dead(lb01, "lb02"), dead(lb01, "w1"))

			for h := range marks {
				marks[h] = h.mark()
			}
			healed := lb01.heal(t)
			heard := func(h *labHost, name string) time.Duration {
				return h.awaitEvent(t, marks[h], h.name+" hears "+name, report(name, "")).At.Sub(healed.At)
			}
			up := func(h *labHost, name string) time.Duration {
				return h.awaitEvent(t, marks[h], h.name+" has "+name+" alive", alive(name, true)).At.Sub(healed.At)
			}
			t.Logf("heal to lb01 heard: lb02 %v, w1 %v; alive: lb02 %v, w1 %v; its side: lb02 %v, w1 %v",
				heard(lb02, "lb01"), heard(w1, "lb01"), up(lb02, "lb01"), up(w1, "lb01"), up(lb01, "lb02"), up(lb01, "w1"))
		}
	})
}

func TestTwoHalvesFindTogether(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.boot(t, "lb01", "lb02", "lb03", "lb04")
		// The switch itself comes apart: the ports of one half are moved to another.
		if err := shell("ip link add br1 type bridge; ip link set br1 up"); err != nil {
			t.Fatal(err)
		}
		left := []*labHost{l.hosts["lb01"], l.hosts["lb02"]}
		right := []*labHost{l.hosts["lb03"], l.hosts["lb04"]}
		marks := map[*labHost]int{}
		note := func() {
			for _, h := range l.hosts {
				marks[h] = h.mark()
			}
		}
		awaitBoth := func(what string, is bool) {
			for _, a := range left {
				for _, b := range right {
					a.awaitEvent(t, marks[a], a.name+what+b.name, alive(b.name, is))
					b.awaitEvent(t, marks[b], b.name+what+a.name, alive(a.name, is))
				}
			}
		}
		note()
		for _, h := range right {
			h.plug(t, "br1")
		}
		awaitBoth(" buries ", false)
		note()
		for _, h := range right {
			h.plug(t, "br0")
		}
		healed := boottime.Now()
		awaitBoth(" is joined with ", true)
		t.Logf("heal to the last of eight alive again: %v", boottime.Now().Sub(healed))
	})
}

func TestKilledMemberIsFoundDeadAndComesBack(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.boot(t, "lb01", "lb02", "w1")
		lb02, w1 := l.hosts["lb02"], l.hosts["w1"]
		for incarnation := range uint64(3) {
			lb01 := l.hosts["lb01"]
			marks := map[*labHost]int{lb02: lb02.mark(), w1: w1.mark()}
			killed := boottime.Now()
			lb01.kill()
			dead := func(h *labHost) time.Duration {
				return h.awaitEvent(t, marks[h], h.name+" has lb01 dead", alive("lb01", false)).At.Sub(killed)
			}
			t.Logf("kill of lb01 and its host to its death: lb02 %v, w1 %v", dead(lb02), dead(w1))
			for h := range marks {
				marks[h] = h.mark()
			}
			lb01 = l.connect(t, 0)
			lb01.addAddress(t)
			started := boottime.Now()
			lb01.startMesh(t)
			lb01.publish(t, 2+incarnation)
			for h := range marks {
				h.awaitEvent(t, marks[h], h.name+" hears lb01 again", report("lb01", ""))
				up := h.awaitEvent(t, marks[h], h.name+" has lb01 alive again", alive("lb01", true))
				t.Logf("start to alive at %s: %v", h.name, up.At.Sub(started))
			}
		}
	})
}

// A process that was stopped finds in its sockets what was true when it was stopped.
// The death of a holder that it slept through must not come to it as a sign of life.
func TestFrozenMemberWakesToNoOldNews(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.boot(t, "lb01", "lb02", "w1")
		lb01, lb02, w1 := l.hosts["lb01"], l.hosts["lb02"], l.hosts["w1"]
		mark := w1.mark()
		lb01.signal(t, syscall.SIGSTOP)
		pass(time.Second) // lb02 goes on reporting to the frozen one
		lb02.kill()
		w1.awaitEvent(t, mark, "w1 has lb02 dead", alive("lb02", false))
		pass(staleAfter)

		mark = lb01.mark()
		lb01.signal(t, syscall.SIGCONT)
		first := lb01.awaitEvent(t, mark, "w1 after waking", report("w1", "")).Event.(ReportSeen)
		lb01.awaitEvent(t, mark, "w1 later on, when all that lay in the sockets is through", func(e Event) bool {
			return report("w1", "")(e) && e.(ReportSeen).Report.Seq >= first.Report.Seq+3
		})
		lb01.awaitEvent(t, mark, "lb02 dead after waking", alive("lb02", false))
		before := newestSeq(lb01.since(0)[:mark], "lb02")
		after := newestSeq(lb01.since(mark), "lb02")
		if after > before+1 { // the next one may have been read already when it was stopped
			t.Errorf("after waking came report %d of lb02, which was dead; the last before was %d", after, before)
		}
		if c := lb01.do(t, order{Counts: true}).Counts; c.Stale == 0 {
			t.Errorf("nothing old was dropped: %+v", c)
		}
	})
}

// newestSeq returns the highest number of a member's reports.
func newestSeq(notes []note, name string) (seq uint64) {
	for _, n := range notes {
		if s, ok := n.Event.(ReportSeen); ok && s.Report.Node == name {
			seq = max(seq, s.Report.Seq)
		}
	}
	return seq
}

// A machine that runs tests may stall for seconds, so each measure has three tries;
// what is wrong in the mesh goes wrong in all of them.
func TestReportsComeThroughLoss(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.boot(t, "lb01", "lb02", "w1")
		for _, percent := range []int{5, 20, 30} {
			for try := 1; ; try++ {
				gap, deaths := l.measureLoss(t, percent, 4*time.Second)
				t.Logf("%d %% loss: every member is heard at least every %v by some path; wrongly dead %d times",
					percent, gap, deaths)
				if gap < 2*time.Second && (deaths == 0 || percent > 5) {
					break
				}
				if try == 3 {
					t.Errorf("%d %% loss: too much for the mesh", percent)
					break
				}
			}
		}
	})
}

// measureLoss has each host lose some of what it gets, for d, and returns the longest
// silence of any member at any other, and how many were wrongly held for dead.
func (l *lab) measureLoss(t *testing.T, percent int, d time.Duration) (gap time.Duration, deaths int) {
	t.Helper()
	marks := map[*labHost]int{}
	for _, h := range l.hosts {
		h.lose(t, percent)
		marks[h] = h.mark()
	}
	pass(d)
	for h, mark := range marks {
		notes := h.since(mark)
		h.heal(t)
		for _, p := range l.peers {
			if p.Name != h.name {
				gap = max(gap, longestSilence(notes, p.Name))
			}
		}
		for _, n := range notes {
			if c, ok := n.Event.(MemberChanged); ok && !c.Alive {
				deaths++
			}
		}
	}
	return gap, deaths
}

// longestSilence is the longest time without a report of a member by any path.
func longestSilence(notes []note, name string) (gap time.Duration) {
	var last time.Time
	for _, n := range notes {
		if s, ok := n.Event.(ReportSeen); ok && s.Report.Node == name {
			if !last.IsZero() {
				gap = max(gap, n.At.Sub(last))
			}
			last = n.At
		}
	}
	return gap
}

// At boot the interface may come up after the daemon, and it may go and come later.
func TestAddressMayComeLate(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.boot(t, "lb01", "w1")
		l.peers = append(l.peers, Peer{"lb02", l.peers[1].Addr.Next()})
		// lb01 and w1 do not know lb02 by configuration; only its own coming up is at stake.
		lb02 := l.connect(t, 2)
		lb02.startMesh(t)
		pass(bindEvery / 2)
		lb02.addAddress(t)
		w1, mark := l.hosts["w1"], l.hosts["w1"].mark()
		awaitStranger := func() {
			for tries := 0; w1.do(t, order{Counts: true}).Counts.NotMember == 0; tries++ {
				if pass(50 * time.Millisecond); tries > 200 {
					t.Fatal("lb02 does not come up")
				}
			}
		}
		awaitStranger()

		lb01 := l.hosts["lb01"]
		lb01.do(t, order{Shell: "ip link set eth0 down"})
		w1.awaitEvent(t, mark, "lb01 dead, its link is down", alive("lb01", false))
		mark = w1.mark()
		lb01.do(t, order{Shell: "ip link set eth0 up"})
		w1.awaitEvent(t, mark, "lb01 alive, its link is up", alive("lb01", true))
		w1.awaitEvent(t, mark, "lb01's report", report("lb01", ""))
	})
}
