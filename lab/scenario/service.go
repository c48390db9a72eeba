package scenario

import (
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// The guarded service of these is a real nginx, guarded by its pid file with restart 2.

// noticing is how long the lab needs to see that a service does not answer.
const noticing = 500 * time.Millisecond

func serviceKilled() Scenario {
	return Scenario{
		Name: "service-killed", Web: true,
		Text: "the nginx of n1 is killed, twice: it is started again where it was, and nothing else changes",
		Steps: story(
			Step{Do: EndService, Host: "n1"},
			Step{Do: Hold, For: noticing},
			Step{Do: Await, Event: Serves, Host: "n1", For: 2 * time.Second, Within: reacting},
			Step{Do: EndService, Host: "n1"},
			Step{Do: Hold, For: noticing},
			Step{Do: Await, Event: Serves, Host: "n1", For: 2 * time.Second, Within: reacting},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: onWeb(stays()), Veto: onWeb(stays()), VRRP: onWeb(stays())},
	}
}

func serviceHung() Scenario {
	s := serviceKilled()
	s.Name = "service-hung"
	s.Text = "the nginx of n1 stands still: its health check finds it, it is killed and started again where it was"
	s.Steps = story(
		Step{Do: HangService, Host: "n1"},
		Step{Do: Hold, For: noticing},
		Step{Do: Await, Event: Serves, Host: "n1", For: 2 * time.Second, Within: reacting},
		back(),
	)
	return s
}

func serviceBroken() Scenario {
	moves := verify.Expect{Takeover: reacting, Nobody: orderly, Moves: 1, Holder: "n2"}
	plain := moves
	plain.Nobody = time.Second // the skew time of n2, as after an orderly stop
	return Scenario{
		Name: "service-broken", Web: true,
		Text: "the nginx of n1 is killed and cannot be started again; the VIP moves to n2, whose nginx serves, and stays there",
		Steps: story(
			Step{Do: BreakService, Host: "n1"},
			Step{Do: EndService, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: 3 * time.Second, Within: 2 * reacting},
		),
		Expect: map[System]verify.Expect{Lease: moves, Veto: plain, VRRP: plain},
	}
}

// onWeb leaves out what is seen by datagrams: nginx answers none.
func onWeb(e verify.Expect) verify.Expect {
	e.Unserved = 0
	return e
}

func addressByHand() Scenario {
	brief := stays()
	brief.TwoAtMost = 250 * time.Millisecond // until n2's kernel has told; idle: 2 ms
	return Scenario{
		Name: "address-by-hand",
		Text: "somebody puts the VIP on n2, which does not hold it; n2 takes it off at once",
		Steps: story(
			Step{Do: Assign, Host: "n2"},
			Step{Do: Hold, For: 3 * time.Second},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: brief, Veto: brief, VRRP: brief},
	}
}

func comesUpHolding() Scenario {
	// While its daemon is off, nobody on n2 minds.
	until := verify.Expect{TwoAtLeast: time.Second, TwoAtMost: starting, Holder: "n1"}
	return Scenario{
		Name: "comes-up-holding",
		Text: "n2's daemon is stopped and the VIP put on n2 by hand; when the daemon starts it takes it off first",
		Steps: story(
			Step{Do: Stop, Host: "n2"},
			Step{Do: Await, Event: Ended, Host: "n2", Within: reacting},
			Step{Do: Assign, Host: "n2"},
			Step{Do: Hold, For: 2 * time.Second},
			Step{Do: Start, Host: "n2"},
			Step{Do: Await, Event: Alone, Host: "n1", For: 2 * time.Second, Within: reacting},
		),
		Expect: map[System]verify.Expect{Lease: until, Veto: until, VRRP: until},
	}
}
