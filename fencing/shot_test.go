package fencing

import (
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
)

func TestShot(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	var s Shot
	never := at(-10)
	look := func(when float64, heard time.Time, want arbiter.Tri) {
		t.Helper()
		if got := s.Look(at(when), heard); got != want {
			t.Fatalf("after %v s: %v, want %v (%v)", when, got, want, &s)
		}
	}
	look(0, never, arbiter.Unknown)
	if s.Fire(at(0)) {
		t.Fatal("fired without a beginning")
	}
	s.Begin(at(0), 5*time.Second)
	if s.Fire(at(4.9)) || !s.Due().Equal(at(5)) {
		t.Fatal("fired during the head start")
	}
	look(4.9, at(3), arbiter.Unknown) // it was heard during the wait
	if s.Fire(at(6)) {
		t.Fatal("fired although the node was heard during the wait")
	}
	if !s.Begin(at(6), 5*time.Second) || s.Begin(at(7), 0) {
		t.Fatal("a wait begins once")
	}
	if !s.Fire(at(11)) || s.Fire(at(11)) {
		t.Fatal("fires once")
	}
	look(12, at(11.5), arbiter.Unknown) // it is on its way off
	s.Answer(at(13), "the device does not answer")
	s.Answer(at(14), "") // nothing runs: of an older run
	look(14, at(11.5), arbiter.No)
	look(44, at(11.5), arbiter.Unknown)
	s.Begin(at(44), 0)
	s.Fire(at(44))
	s.Answer(at(46), "")
	look(47, at(11.5), arbiter.Yes)
	look(48, at(47.5), arbiter.Unknown) // it lives again
	s.Begin(at(50), 0)
	s.Fire(at(50))
	s.Answer(at(51), "")
	look(110, at(47.5), arbiter.Yes)
	look(112, at(47.5), arbiter.Unknown) // too long ago
}
