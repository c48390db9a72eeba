package arbiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func stationNumber(i int) Station {
	return Station{MAC: fmt.Sprintf("02:00:00:00:00:%02x", i), Address: netip.MustParseAddr("10.0.0.100")}
}

// TestLinkStands goes through what an answer is worth, and for how long.
func TestLinkStands(t *testing.T) {
	at := func(ms int) time.Time { return tableNow.Add(time.Duration(ms) * time.Millisecond) }
	one := []Station{stationNumber(1)}
	type step func(*Link)
	ask := func(ms int) step {
		return func(l *Link) {
			if !l.Ask(at(ms)) {
				t.Errorf("may not ask at %d ms", ms)
			}
		}
	}
	answer := func(ms int, who []Station) step { return func(l *Link) { l.Answer(at(ms), who) } }
	holds := func(ms int, holds Tri) step { return func(l *Link) { l.Heard(at(ms), at(ms), "n2", holds) } }
	for _, c := range []struct {
		name  string
		steps []step
		ms    int
		want  Tri
	}{
		{"never asked", nil, 0, Unknown},
		{"under way", []step{ask(0)}, 499, Unknown},
		{"no answer in time", []step{ask(0)}, 500, No},
		{"nobody", []step{ask(0), answer(400, nil)}, 400, No},
		{"nobody, for as long as nobody asks again", []step{ask(0), answer(400, nil)}, 60_000, No},
		{"somebody", []step{ask(0), answer(400, one)}, 400, Yes},
		{"somebody, two seconds later", []step{ask(0), answer(400, one)}, 2400, Yes},
		{"somebody, long ago", []step{ask(0), answer(400, one)}, 2401, Unknown},
		{"asked again in time: still somebody", []step{ask(0), answer(400, one), ask(2300)}, 2700, Yes},
		{"asked again in time, and no answer", []step{ask(0), answer(400, one), ask(2300)}, 2800, No},
		{"asked again too late", []step{ask(0), answer(400, one), ask(3000)}, 3100, Unknown},
		{"gone", []step{ask(0), answer(400, one), ask(1400), answer(1800, nil)}, 1800, No},
		{"a peer holds: it may be that", []step{ask(0), answer(400, one), holds(500, Yes)}, 600, Unknown},
		{"asked since the holder's last word", []step{holds(0, Yes), ask(100), answer(500, one)}, 600, Yes},
		{"silence of the holder is no word", []step{holds(0, Yes), ask(100), answer(500, one), holds(600, Unknown)}, 700, Yes},
		{"the holder has let go since", []step{holds(0, Yes), ask(100), answer(500, one), holds(600, No)}, 700, Unknown},
		{"the word of one that never held is none", []step{ask(0), answer(400, one), holds(500, No)}, 600, Yes},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l Link
			for _, s := range c.steps {
				s(&l)
			}
			got, who := l.Stands(at(c.ms))
			if got != c.want || (got == Yes) != (who != "") {
				t.Errorf("stands at %d ms: %v %q, want %v", c.ms, got, who, c.want)
			}
		})
	}
	var l Link
	if !l.Ask(at(0)) || l.Ask(at(999)) || !l.Ask(at(1000)) {
		t.Error("the link may be asked once a second, no more and no less")
	}
}

// A station that is seen each second for five minutes is told once a minute, and opposed
// three times; one that comes after the claim was taken anew has to last again.
func TestLinkConflict(t *testing.T) {
	var l Link
	told, opposed := 0, 0
	var last *Conflict
	for s := range 300 {
		now := tableNow.Add(time.Duration(s) * time.Second)
		last = l.See(now, stationNumber(1))
		told += len(l.Confirmed(now, tableNow))
		if against := l.Oppose(now, tableNow); len(against) > 0 {
			opposed++
			if l.Oppose(now.Add(9*time.Second), tableNow) != nil {
				t.Fatal("opposed twice in 10 s")
			}
		}
	}
	if told != 5 || opposed != maxOpposed+1 || !last.Stubborn() || last.Count != 300 {
		t.Errorf("told %d times and opposed %d times, stubborn %t, count %d", told, opposed, last.Stubborn(), last.Count)
	}
	taken := tableNow.Add(300 * time.Second)
	other := stationNumber(2)
	l.See(taken.Add(-time.Millisecond), other)
	if l.Due(taken, taken) != (time.Time{}) || l.Oppose(taken.Add(time.Minute), taken) != nil {
		t.Error("a sighting from before the holding counts")
	}
	l.See(taken, other)
	if due := l.Due(taken, taken); due != taken.Add(time.Second) || l.Oppose(due.Add(-1), taken) != nil || len(l.Oppose(due, taken)) != 1 {
		t.Errorf("a conflict of the holding is due at %v, want a second after it began", due.Sub(taken))
	}
}

// However many stations speak, only so many are kept, and none for good.
func TestLinkForgets(t *testing.T) {
	var l Link
	for i := range 100 {
		if kept := l.See(tableNow, stationNumber(i)) != nil; kept != (i < maxStations) {
			t.Fatalf("station %d kept: %t", i, kept)
		}
	}
	if n := len(l.Conflicts(tableNow)); n != maxStations {
		t.Errorf("%d stations are shown, want %d", n, maxStations)
	}
	after := tableNow.Add(forgetAfter + 1)
	if n := len(l.Conflicts(after)); n != 0 {
		t.Errorf("%d stations are still shown after %v", n, forgetAfter)
	}
	if l.See(after, stationNumber(99)) == nil {
		t.Error("there is no room for a new station")
	}
}
