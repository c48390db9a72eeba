package vrrp

import (
	"testing"
	"time"
)

// TestTimers: RFC 3768 and RFC 9568 section 6.1. Where a row has a measured value, it is
// keepalived 2.2.7's, from start or last advert to its own first advert.
func TestTimers(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name     string
		version  Version
		priority uint8
		interval time.Duration
		adverts  int
		skew     time.Duration
		down     time.Duration
	}{
		{"version 2, measured 3.61 s", V2, 100, time.Second, 3, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{"version 2, skew does not grow with the interval, measured 6.61 s", V2, 100, 2 * time.Second, 3, 609375 * time.Microsecond, 6609375 * time.Microsecond},
		{"version 2, five adverts, measured 5.60 s", V2, 100, time.Second, 5, 609375 * time.Microsecond, 5609375 * time.Microsecond},
		{"version 2, owner, measured 3.00 s", V2, 255, time.Second, 3, 3906250, 3*time.Second + 3906250},
		{"version 2, lowest", V2, 1, time.Second, 3, 996093750, 3*time.Second + 996093750},
		{"version 3, measured 3.61 s", V3, 100, time.Second, 3, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{"version 3, measured 1.87 s", V3, 100, 500 * ms, 3, 304687500, 1500*ms + 304687500},
		{"version 3, master's interval 2 s, measured 7.22 s", V3, 100, 2 * time.Second, 3, 1218750 * time.Microsecond, 7218750 * time.Microsecond},
		{"version 3, shortest", V3, 254, 10 * ms, 3, 78125, 30*ms + 78125},
		{"version 3, longest", V3, 1, 40950 * ms, 100, 40790039062, 4095*time.Second + 40790039062},
	}
	for _, tt := range tests {
		if got := skewTime(tt.version, tt.priority, tt.interval); got != tt.skew {
			t.Errorf("%s: skew time %v, want %v", tt.name, got, tt.skew)
		}
		if got := MasterDownInterval(tt.version, tt.priority, tt.interval, tt.adverts); got != tt.down {
			t.Errorf("%s: master-down interval %v, want %v", tt.name, got, tt.down)
		}
	}
}

// TestOverdueBeforeDown: the composer is told to ask around before the take-over, for
// every configuration.
func TestOverdueBeforeDown(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Millisecond, time.Second, 40950 * time.Millisecond} {
		for adverts := 2; adverts <= maxDownAdverts; adverts++ {
			if over, down := overdueAfter(interval), MasterDownInterval(V3, 255, interval, adverts); over >= down {
				t.Errorf("interval %v, %d adverts: overdue after %v, down after %v", interval, adverts, over, down)
			}
		}
	}
}

func TestNextPeriod(t *testing.T) {
	at := func(s float64) time.Time { return scriptStart.Add(time.Duration(s * float64(time.Second))) }
	tests := []struct{ due, now, want float64 }{
		{1, 1, 2},
		{1, 1.3, 2},       // late, and back on the grid
		{1, 1.999, 2},     // nearly missed
		{1, 2, 3},         // missed one: from now
		{1, 17.25, 18.25}, // missed many: no burst
	}
	for _, tt := range tests {
		if got := nextPeriod(at(tt.due), at(tt.now), time.Second); !got.Equal(at(tt.want)) {
			t.Errorf("due %v, now %v: %v, want %v", tt.due, tt.now, got.Sub(scriptStart), at(tt.want).Sub(scriptStart))
		}
	}
}
