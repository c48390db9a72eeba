package node

import (
	"reflect"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// meshNode is a started node in veto mode with the peers n2 and the mesh witness w1.
func meshNode(t *testing.T) *Node {
	t.Helper()
	cfg := defaultConfig()
	cfg.Mode, cfg.Peers, cfg.Witnesses = arbiter.ModeVeto, []string{"n2"}, []string{"w1"}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Step(testStart, Start{})
	return n
}

func reportOf(incarnation, seq uint64, holds bool) arbiter.Report {
	return arbiter.Report{
		Node: "n2", Incarnation: incarnation, Seq: seq, Mode: arbiter.ModeVeto,
		Claims: []arbiter.ClaimReport{{Claim: "VI_1", State: "BACKUP", Holds: holds, Guards: holds, Token: 3, Priority: 100}},
	}
}

// TestOldReportsChangeNothing: relays bring reports late and out of order.
func TestOldReportsChangeNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		late   arbiter.Report
		holder string
	}{
		{"the same once more", reportOf(5, 9, true), "n2"},
		{"an older one", reportOf(5, 8, false), "n2"},
		{"one of a former start", reportOf(4, 99, false), "n2"},
		{"a newer one", reportOf(5, 10, false), ""},
		{"one of a newer start", reportOf(6, 1, false), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := meshNode(t)
			n.Step(testStart, PeerReport{Report: reportOf(5, 9, true)})
			now := testStart.Add(300 * time.Millisecond)
			n.Step(now, PeerReport{Report: c.late, Path: arbiter.Path{Via: "w1"}})
			if got := n.Snapshot(now).Claims[0].Holder; got != c.holder {
				t.Errorf("holder %q, want %q", got, c.holder)
			}
		})
	}
}

// TestReportsAreNotChanged: the mesh keeps them too.
func TestReportsAreNotChanged(t *testing.T) {
	n, r := meshNode(t), reportOf(5, 9, true)
	n.Step(testStart, PeerReport{Report: r})
	n.Step(testStart, PeerAsked{Request: arbiter.Request{ID: 1, Kind: arbiter.RequestReleased, From: "n2", To: "n1", Claim: "VI_1"}})
	if !reflect.DeepEqual(r, reportOf(5, 9, true)) {
		t.Errorf("the report became %+v", r)
	}
	if got := n.Snapshot(testStart).Claims[0].Holder; got != "" {
		t.Errorf("after n2 said that it has let go the holder is %q", got)
	}
}

// TestStrangers have no say.
func TestStrangers(t *testing.T) {
	n := meshNode(t)
	stranger := reportOf(5, 9, true)
	stranger.Node = "n7"
	n.Step(testStart, PeerReport{Report: stranger})
	n.Step(testStart, PeerAlive{Name: "n7", Alive: true})
	n.Step(testStart, PeerAnswered{Answer: arbiter.Answer{From: "n7", Claim: "VI_1", Yes: true, Token: 99}})
	for _, a := range n.Step(testStart, PeerAsked{Request: arbiter.Request{ID: 1, Kind: arbiter.RequestHolds, From: "n7", Claim: "VI_1", Token: 99}}) {
		if _, is := a.(Reply); is {
			t.Errorf("a stranger is answered: %+v", a)
		}
	}
	if s := n.Snapshot(testStart); s.Claims[0].Holder != "" || s.Claims[0].Token != 0 {
		t.Errorf("a stranger is believed: %+v", s.Claims[0])
	}
}

// TestUnknownRequests of a newer version, or for a claim that is not here, are refused.
func TestUnknownRequests(t *testing.T) {
	for _, r := range []arbiter.Request{
		{ID: 1, Kind: 77, From: "n2", Claim: "VI_1"},
		{ID: 2, Kind: arbiter.RequestHolds, From: "n2", Claim: "VI_9"},
		{ID: 3, Kind: arbiter.RequestPromise, From: "n2", Claim: "VI_1"}, // this mode knows none
		{ID: 4, Kind: arbiter.RequestHandover, From: "w1", Claim: "VI_1", Priority: 255},
	} {
		answered := false
		for _, a := range meshNode(t).Step(testStart, PeerAsked{Request: r}) {
			if reply, is := a.(Reply); is {
				answered = true
				if reply.Answer.Yes || reply.Answer.Why == "" || reply.Answer.ID != r.ID || reply.Answer.To != r.From {
					t.Errorf("%+v is answered %+v", r, reply.Answer)
				}
			}
		}
		if !answered {
			t.Errorf("%+v is not answered", r)
		}
	}
}

// TestTokensHeardAtABadMoment: what a peer says of a token counts also while a reload has taken
// the claim away, and while the witness grants one as high.
func TestTokensHeardAtABadMoment(t *testing.T) {
	t.Run("no such claim now", func(t *testing.T) {
		n := meshNode(t)
		n.Step(testStart, Reconfigure{})
		n.Step(testStart, PeerAnswered{Answer: arbiter.Answer{From: "w1", Claim: "VI_1", Yes: true, Token: 7}})
		n.Step(testStart, Reconfigure{Claims: defaultConfig().Claims})
		if got := n.claims["VI_1"].highest(); got != 7 {
			t.Errorf("back again it knows of token %d, want 7", got)
		}
	})
	t.Run("a take is under way", func(t *testing.T) {
		cfg := defaultConfig()
		cfg.Mode, cfg.Peers = arbiter.ModeLease, []string{"n2"}
		w, err := newWorld(cfg)
		if err != nil {
			t.Fatal(err)
		}
		heard := false
		w.trace = func(text string) {
			if text == "ask the witness: take VI_1, token 1" {
				heard = true
				w.after(time.Millisecond/2, func() {
					w.step(PeerAnswered{Answer: arbiter.Answer{From: "n2", Claim: "VI_1", Token: 1}})
				})
			}
		}
		w.step(Start{})
		w.run(testStart.Add(5 * time.Second))
		if c := w.node.claims["VI_1"]; !heard || c.phase != Held || c.token != 2 {
			t.Errorf("%v with token %d, want it held with token 2", c.phase, c.token)
		}
	})
}
