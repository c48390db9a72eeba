package daemon

import (
	"testing"
	"time"
)

func TestSlept(t *testing.T) {
	a := asleep{before: 3 * time.Second} // it was suspended before the daemon began
	for _, row := range []struct {
		name        string
		total, want time.Duration
	}{
		{"nothing", 3 * time.Second, 0},
		{"two clocks read one after the other", 3*time.Second + 5*time.Millisecond, 0},
		{"and the other way round", 3*time.Second - 5*time.Millisecond, 0},
		{"a suspension", 10 * time.Second, 7 * time.Second},
		{"told once", 10 * time.Second, 0},
		{"the next one", 10*time.Second + noticed, noticed},
	} {
		if got := a.slept(row.total); got != row.want {
			t.Errorf("%s: slept(%v) = %v, want %v", row.name, row.total, got, row.want)
		}
	}
}
