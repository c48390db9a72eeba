package selftest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets this binary play the parts that a test starts it for.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "" {
		os.Exit(m.Run())
	}
	switch err := Run(context.Background(), Options{Rounds: 1, Out: os.Stdout}); {
	case errors.Is(err, ErrFailed):
		os.Exit(1)
	case err != nil:
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(2)
	}
	os.Exit(0)
}

// The gate of this kernel passes its own test.
func TestSelftest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := Run(ctx, Options{Rounds: 1, Out: &out})
	switch {
	case err == nil && strings.Contains(out.String(), "passed: silent between"):
		t.Log(out.String())
	case err != nil && err.Error() == errBusy.Error():
		t.Logf("%v\n%s", err, out.String())
	case errors.Is(err, ErrFailed), os.Getenv("CI") == "true":
		t.Errorf("%v\n%s", err, out.String())
	default:
		t.Skipf("%v\n%s", err, out.String())
	}
}

func TestARPFrames(t *testing.T) {
	for _, seq := range []uint32{0, 1, 1 << 31} {
		f := arpRequest(seq)
		if _, ok := parseReply(f); ok {
			t.Error("a question is taken for an answer")
		}
		// What the kernel makes of it: sender and target change places.
		f[arpOp+1] = 2
		copy(f[arpTargetHW:], senderMAC(seq))
		copy(f[arpSenderIP:], vipAddr.Addr().AsSlice())
		if got, ok := parseReply(f); !ok || got != seq {
			t.Errorf("question %d: %d, %t", seq, got, ok)
		}
		if _, ok := parseReply(f[:30]); ok {
			t.Error("half a frame is taken for an answer")
		}
	}
}

// Where the eye did not ask, silence says nothing.
func TestBlind(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	e := &eye{sent: []time.Time{at(0), at(1), at(2), at(40), at(41)}}
	for _, tt := range []struct{ from, to, want int }{{0, 2, 1}, {0, 41, 38}, {39, 41, 1}, {41, 141, 100}} {
		if got := e.blind(at(tt.from), at(tt.to)); got != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("from %d to %d: %v", tt.from, tt.to, got)
		}
	}
}
