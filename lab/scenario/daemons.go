package scenario

import (
	"time"

	"github.com/solovip/solovip/lab/verify"
)

func powerOff() Scenario {
	moves := verify.Expect{Takeover: takeover, Serving: service, Nobody: takeover, Unserved: service, Holder: "n2"}
	leased := moves
	leased.Serving, leased.Unserved = guarded, guarded
	return Scenario{
		Name: "power-off",
		Text: "n1 loses power while it holds the VIP; n2 takes over",
		Steps: story(
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
		),
		Expect: map[System]verify.Expect{Lease: leased, Veto: moves, VRRP: moves, Keepalived: moves},
	}
}

// powerOffFast is powerOff with the fastest timing that solovip has.
func powerOffFast() Scenario {
	s := powerOff()
	s.Name = "power-off-fast"
	s.Text = "the same with advert_int 0.1 and timing fast"
	s.Settings = []Setting{{Block: InstanceBlock, Line: "advert_int 0.1"}, {Block: WitnessBlock, Line: "timing fast"}}
	// The witness lets n2 take 0.72 s after it saw the last renewal. The service follows
	// as in powerOff.
	const quick = 750 * time.Millisecond
	moves := verify.Expect{Takeover: quick, Serving: quick + service - takeover, Nobody: quick, Holder: "n2"}
	leased := moves
	moves.TwoAtMost = settle // two that start together
	leased.Serving = quick + guarded - takeover
	s.Expect = map[System]verify.Expect{Lease: leased, Keepalived: moves}
	return s
}

func stall() Scenario {
	return Scenario{
		Name: "stall",
		Text: "every daemon process of n1 stands still for 2 s; nothing may change",
		Steps: story(
			Step{Do: Freeze, Host: "n1"},
			Step{Do: Hold, For: 2 * time.Second},
			Step{Do: Thaw, Host: "n1"},
			Step{Do: Hold, For: 4 * time.Second}, // for whoever had begun to take over
			back(),
		),
		Expect: map[System]verify.Expect{Lease: stays(), Veto: stays(), VRRP: stays(), Keepalived: stays()},
	}
}

// silenced is what a daemon that cannot act shows in lease mode: its kernel silences the
// VIP in time and takes the address off later. Nobody is left to stop the guarded
// service, which goes on where no client reaches it.
func silenced(moves int, holder string) verify.Expect {
	return verify.Expect{
		SilentAddress: 2 * time.Second, TwoServices: true,
		Takeover: takeover, Serving: guarded, Moves: moves, Holder: holder,
	}
}

// lingering is how long an address may stay on a node that cannot act any more: it goes
// by its lifetime, which is some seconds.
const lingering = 5 * time.Second

// lingers is what such a daemon shows in the modes that promise less: nothing silences
// the VIP before its lifetime ends.
func lingers(holder string) verify.Expect {
	return verify.Expect{TwoAtMost: lingering, Takeover: lingering + takeover, Holder: holder}
}

func freeze() Scenario {
	return Scenario{
		Name: "freeze",
		Text: "every daemon process of n1 stands still for good, its kernel lives; n2 takes over, yet n1's service goes on unheard",
		Steps: story(
			Step{Do: Freeze, Host: "n1"},
			Step{Do: Await, Event: Answers, Host: "n2", Within: reacting},
			Step{Do: Hold, For: lingering},
		),
		Expect: map[System]verify.Expect{
			Lease: silenced(1, "n2"), Veto: lingers("n2"), VRRP: lingers("n2"), Keepalived: splits("n1 and n2"),
		},
	}
}

// rulesFlushed is freeze after somebody has removed the gate.
func rulesFlushed() Scenario {
	s := freeze()
	s.Name = "rules-flushed"
	s.Text = "somebody flushes all nftables rules on n1; a moment later every daemon process of n1 stands still for good"
	s.Steps = story(
		Step{Do: FlushRules, Host: "n1"},
		Step{Do: Hold, For: 500 * time.Millisecond}, // the rules are back after a tenth of a second
		Step{Do: Freeze, Host: "n1"},
		Step{Do: Await, Event: Answers, Host: "n2", Within: reacting},
		Step{Do: Hold, For: lingering},
	)
	s.Expect = map[System]verify.Expect{Lease: s.Expect[Lease]}
	return s
}

// freezeByLifetime is freeze on kernels without nftables.
func freezeByLifetime() Scenario {
	s := freeze()
	s.Name = "freeze-by-lifetime"
	s.Text = "the same with gate lifetime: n1's address ends by its lifetime alone, and n2 waits for that"
	s.Settings = []Setting{{Block: FencingBlock, Line: "gate lifetime"}}
	// n2 waits for 3.57 s from the last renewal that it saw.
	late := silenced(1, "n2")
	late.SilentAddress, late.Takeover, late.Serving = 0, 4200*time.Millisecond, guarded+time.Second
	s.Expect = map[System]verify.Expect{Lease: late}
	return s
}

func pause() Scenario {
	return Scenario{
		Name: "pause",
		Text: "the same, but after 8 s they go on: n1 must find that it holds nothing, and gets the VIP back",
		Steps: story(
			Step{Do: Freeze, Host: "n1"},
			Step{Do: Hold, For: window},
			Step{Do: Thaw, Host: "n1"},
			back(),
		),
		Expect: map[System]verify.Expect{
			Lease: silenced(2, "n1"), Veto: lingers("n1"), VRRP: lingers("n1"), Keepalived: splits("n1"),
		},
	}
}

func killed() Scenario {
	s := freeze()
	s.Name = "killed"
	s.Text = "every daemon process of n1 is killed, its kernel lives; n2 takes over, yet n1's service goes on unheard"
	s.Steps = story(
		Step{Do: Kill, Host: "n1"},
		Step{Do: Await, Event: Answers, Host: "n2", Within: reacting},
		Step{Do: Hold, For: lingering},
	)
	return s
}

func forgedAdvert() Scenario {
	// A VRRP router obeys: it gives way to the priority, and waits in vain for the sender.
	lost := verify.Expect{NobodyAtLeast: window - time.Second, Holder: "n1"}
	return Scenario{
		Name: "forged-advert",
		Text: "a stranger sends correct adverts of priority 255; nothing may change",
		Steps: story(
			Step{Do: Forge, Host: "c1", For: window},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: stays(), VRRP: lost, Keepalived: lost},
	}
}
