package witness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/witness"
)

const ms = time.Millisecond

func TestTimingCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		timing witness.Timing
		want   string // part of the error; empty: it is safe
	}{
		{"fast", witness.Fast(), ""},
		{"wan", witness.WAN(), ""},
		{"exactly enough", witness.Timing{Renew: 150 * ms, Hold: 600 * ms, Wait: 714 * ms, Late: 100 * ms}, ""},
		{
			"a millisecond short",
			witness.Timing{Renew: 150 * ms, Hold: 600 * ms, Wait: 713 * ms, Late: 100 * ms},
			"wait 713ms must be at least (hold 600ms + late 100ms) x 1.02 = 714ms",
		},
		{
			"wait like hold",
			witness.Timing{Renew: 700 * ms, Hold: 3000 * ms, Wait: 3000 * ms, Late: 100 * ms},
			"(hold 3s + late 100ms) x 1.02 = 3.162s",
		},
		{"late forgotten", witness.Timing{Renew: 150 * ms, Hold: 600 * ms, Wait: 612 * ms}, ""},
		{
			"a kernel that is later than that",
			witness.Timing{Renew: 150 * ms, Hold: 600 * ms, Wait: 715 * ms, Late: 1500 * ms},
			"(hold 600ms + late 1.5s) x 1.02 = 2.142s",
		},
		{
			"renews too seldom",
			witness.Timing{Renew: 301 * ms, Hold: 600 * ms, Wait: 715 * ms, Late: 100 * ms},
			"hold 600ms must be at least twice renew 301ms",
		},
		{"renews just often enough", witness.Timing{Renew: 300 * ms, Hold: 600 * ms, Wait: 715 * ms, Late: 100 * ms}, ""},
		{"nothing", witness.Timing{}, "renew, hold and wait must be positive"},
		{"negative", witness.Timing{Renew: -1, Hold: 600 * ms, Wait: 715 * ms}, "renew, hold and wait must be positive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.timing.Check()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%v: %v", c.timing, err)
			case c.want != "" && err == nil:
				t.Errorf("%v passes, want an error with %q", c.timing, c.want)
			case c.want != "" && !strings.Contains(err.Error(), c.want):
				t.Errorf("%v: %v; want it to say %q", c.timing, err, c.want)
			}
		})
	}
}

func TestTimingAuto(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		adverts  int
		want     string
	}{
		{time.Second, 3, "710ms/2.84s/3s"},
		{2 * time.Second, 3, "1.44s/5.78s/6s"},
		{time.Second, 1, "220ms/880ms/1s"},
		{10 * time.Millisecond, 3, witness.Fast().String()},
		{238 * time.Millisecond, 3, witness.Fast().String()},
		{239 * time.Millisecond, 3, "150ms/600ms/717ms"},
		{40950 * time.Millisecond, 100, "16m43.65s/1h6m54.6s/1h8m15s"},
	} {
		got := witness.Auto(c.interval, c.adverts)
		if got.String() != c.want {
			t.Errorf("Auto(%v, %d) = %v, want %s", c.interval, c.adverts, got, c.want)
		}
	}
}

// TestTimingAutoIsAlwaysSafe tries every interval that VRRP can have.
func TestTimingAutoIsAlwaysSafe(t *testing.T) {
	step := 10 * time.Millisecond // of version 3, up to 40.95 s; version 2 has whole seconds
	for interval := step; interval <= 255*time.Second; interval += step {
		if interval == 41*time.Second {
			step = time.Second
		}
		for adverts := 1; adverts <= 100; adverts += 9 {
			got, down := witness.Auto(interval, adverts), interval*time.Duration(adverts)
			r := witness.NodeRecord{Node: "n", HoldMS: got.Hold.Milliseconds(), LateMS: got.Late.Milliseconds()}
			err := got.Check()
			if err == nil {
				err = new(witness.Observation).Add(witness.NodeKey("n"), witness.Encode(r), 1)
			}
			switch {
			case err != nil:
				t.Fatalf("Auto(%v, %d): %v", interval, adverts, err)
			case got.Wait < witness.Fast().Wait || got.Hold < witness.Fast().Hold:
				t.Fatalf("Auto(%v, %d) = %v is below fast", interval, adverts, got)
			case down > witness.Fast().Wait && got.Wait > down:
				t.Fatalf("Auto(%v, %d) = %v is slower than VRRP's %v", interval, adverts, got, down)
			}
		}
	}
}

func TestTimingByLifetime(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		want     string
	}{
		{time.Second, "550ms/2.2s/3.57s"},
		{100 * ms, "550ms/2.2s/3.57s"},
		{2 * time.Second, "1.14s/4.58s/6s"},
	} {
		got := witness.AutoByLifetime(c.interval, 3, 1300*ms)
		if got.String() != c.want || got.Late != 1300*ms || got.Check() != nil {
			t.Errorf("AutoByLifetime(%v) = %v, late %v, %v; want %s", c.interval, got, got.Late, got.Check(), c.want)
		}
	}
}

func TestWaitFor(t *testing.T) {
	for _, c := range []struct{ hold, late, want time.Duration }{
		{0, 0, 0}, {600 * ms, 100 * ms, 714 * ms}, {2840 * ms, 100 * ms, 2998800 * time.Microsecond}, {time.Hour, 0, 61*time.Minute + 12*time.Second},
	} {
		if got := witness.WaitFor(c.hold, c.late); got != c.want {
			t.Errorf("WaitFor(%v, %v) = %v, want %v", c.hold, c.late, got, c.want)
		}
	}
}

func TestNewLeasePanicsOnUnsafeTiming(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a lease with unsafe timing was made")
		}
	}()
	witness.NewLease(witness.Config{Node: "n1", Incarnation: 1, Timing: witness.Timing{Renew: 1, Hold: 4, Wait: 4, Late: 1}})
}
