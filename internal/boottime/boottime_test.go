package boottime_test

import (
	"testing"
	"time"

	"github.com/solovip/solovip/internal/boottime"
)

func TestNowAdvancesWithoutWallClock(t *testing.T) {
	a := boottime.Now()
	b := boottime.Now()
	if b.Before(a) {
		t.Fatalf("the boot clock went back: %v, then %v", a, b)
	}
	if a.Year() != 1970 && a.Year() > 2000 {
		t.Fatalf("%v looks like wall time, not time since boot", a)
	}
}

func TestWallIsCloseToWallClock(t *testing.T) {
	if d := time.Until(boottime.Wall(boottime.Now())).Abs(); d > time.Second {
		t.Fatalf("now as wall time is off by %v", d)
	}
}

func TestTheBootHasOneName(t *testing.T) {
	one, err := boottime.ID()
	if err != nil {
		t.Fatal(err)
	}
	two, err := boottime.ID()
	if err != nil || one != two || len(one) != len("00000000-0000-0000-0000-000000000000") {
		t.Errorf("this boot is %q, and then %q (%v)", one, two, err)
	}
}

func TestTimerGoesOffAtItsInstant(t *testing.T) {
	timer, err := boottime.NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer timer.Close()
	at := boottime.Now().Add(20 * time.Millisecond)
	if err := timer.Set(at); err != nil {
		t.Fatal(err)
	}
	select {
	case <-timer.C:
		if boottime.Now().Before(at) {
			t.Fatal("went off before its instant")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("did not go off")
	}
}

func TestTimerInThePastGoesOffAtOnce(t *testing.T) {
	timer, err := boottime.NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer timer.Close()
	if err := timer.Set(boottime.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-timer.C:
	case <-time.After(5 * time.Second):
		t.Fatal("did not go off")
	}
}

func TestTimerStopped(t *testing.T) {
	timer, err := boottime.NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer timer.Close()
	if err := timer.Set(boottime.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := timer.Set(time.Time{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-timer.C:
		t.Fatal("a stopped timer went off")
	default:
	}
}
