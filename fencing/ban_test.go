package fencing

import (
	"strings"
	"testing"
	"time"
)

func TestBan(t *testing.T) {
	const after, patience = 30 * time.Second, 6 * time.Second
	quiet := Surroundings{Ready: "n2", Patience: patience}
	held := Surroundings{Holder: "n2", Ready: "n2", Patience: patience}
	alone := Surroundings{Patience: patience}
	there := Surroundings{Present: "the witness is silent", Patience: patience}
	type look struct {
		at   time.Duration
		s    Surroundings
		over string // a part of it; empty: the ban goes on
	}
	tests := []struct {
		name  string
		cause Cause
		after time.Duration
		looks []look
	}{
		{"its time", Outranked, after, []look{{0, held, ""}, {29 * time.Second, held, ""}, {30 * time.Second, held, "clear_after is over"}}},
		{"the cause outlasts its time", Permission, after, []look{{0, there, ""}, {time.Hour, there, ""}, {time.Hour + 1, held, "clear_after is over"}}},
		{"nobody else is there", Permission, after, []look{{0, there, ""}, {time.Second, alone, "no other node is there"}}},
		{"nobody takes it", Permission, after, []look{{0, there, ""}, {2 * time.Second, quiet, ""}, {7 * time.Second, quiet, ""}, {8 * time.Second, quiet, "nobody has taken the claim for 6s"}}},
		{"a holder that goes again", Permission, after, []look{{0, quiet, ""}, {5 * time.Second, held, ""}, {7 * time.Second, quiet, ""}, {12 * time.Second, quiet, ""}, {13 * time.Second, quiet, "nobody has taken"}}},
		{"manual", Permission, 0, []look{{0, alone, ""}, {time.Hour, alone, ""}}},
		{"an operator's word", Operator, after, []look{{0, alone, ""}, {time.Hour, alone, ""}}},
	}
	start := time.Unix(100, 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBan(start, tt.cause, tt.after)
			for _, l := range tt.looks {
				over := b.Look(start.Add(l.at), l.s)
				if (over == "") != (l.over == "") || !strings.Contains(over, l.over) {
					t.Fatalf("after %v: %q, want %q", l.at, over, l.over)
				}
				if over == "" && b.Waits() == "" {
					t.Errorf("after %v it waits for nothing in words", l.at)
				}
			}
		})
	}
}

// The ban wants to be looked at when it could end without anything happening.
func TestBanIsDue(t *testing.T) {
	start := time.Unix(100, 0)
	b := NewBan(start, Permission, 30*time.Second)
	if got := b.Due(6 * time.Second); !got.Equal(start.Add(30 * time.Second)) {
		t.Errorf("at first due at %v", got)
	}
	b.Look(start.Add(time.Second), Surroundings{Ready: "n2", Patience: 6 * time.Second})
	if got := b.Due(6 * time.Second); !got.Equal(start.Add(7 * time.Second)) {
		t.Errorf("without a holder due at %v", got)
	}
	if got := NewBan(start, Operator, time.Second).Due(time.Second); !got.IsZero() {
		t.Errorf("an operator's ban is due at %v", got)
	}
}
