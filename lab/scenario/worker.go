package scenario

import (
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// replaced is how long the VIP may be without an answer when the process that does the
// work is killed and its successor cleans up behind it; idle: 0.1 to 0.2 s.
const replaced = 300 * time.Millisecond

func workerKilled() Scenario {
	// n2 takes over, and n1 gets the VIP back. In plain VRRP n2 waits its skew time, 0.61 s.
	moves := verify.Expect{Gap: replaced, Moves: 2, Holder: "n1"}
	plain := verify.Expect{Gap: replaced + time.Second, TwoAtMost: settle, Holder: "n1"}
	return Scenario{
		Name: "worker-killed",
		Text: "the worker of n1's daemon is killed: a new one cleans up and releases, n2 takes over, and n1 gets the VIP back",
		Steps: story(
			Step{Do: KillWorker, Host: "n1"},
			Step{Do: Await, Event: Answers, Host: "n2", Within: reacting},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: moves, Veto: moves, VRRP: plain},
	}
}

func workerFrozen() Scenario {
	s := workerKilled()
	s.Name = "worker-frozen"
	s.Text = "the worker of n1's daemon stands still: it is noticed, killed and replaced before its permission ends"
	s.Steps = story(
		Step{Do: FreezeWorker, Host: "n1"},
		Step{Do: Await, Event: Answers, Host: "n2", Within: reacting},
		back(),
	)
	return s
}

func guardianKilled() Scenario {
	return Scenario{
		Name: "guardian-killed",
		Text: "the guardian of n1's daemon is killed: its worker stops in order, and n2 takes over",
		Steps: story(
			Step{Do: KillGuardian, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Hold, For: lingering},
		),
		Expect: map[System]verify.Expect{Lease: {Gap: replaced, Moves: 1, Holder: "n2"}},
	}
}

func fullDisk() Scenario {
	return Scenario{
		Name: "full-disk",
		Text: "the disk of n1 is full: it goes on holding; then its worker is killed, and the new one can release, but not take",
		Steps: story(
			Step{Do: Fill, Host: "n1"},
			Step{Do: Hold, For: 3 * time.Second},
			Step{Do: Await, Event: Serves, Host: "n1", For: time.Second, Within: time.Second + blip},
			Step{Do: KillWorker, Host: "n1"},
			Step{Do: Await, Event: Alone, Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Hold, For: window},
		),
		Expect: map[System]verify.Expect{Lease: {Gap: replaced, Moves: 1, Holder: "n2"}},
	}
}

func restart() Scenario {
	stays := verify.Expect{Stays: true, Nobody: replaced, Gap: replaced, Unserved: 2 * blip, Holder: "n1"}
	return Scenario{
		Name: "restart",
		Text: "n1's program is started anew, twice, as after an upgrade; it keeps the VIP and the service",
		Steps: story(
			Step{Do: TakeOver, Host: "n1"},
			Step{Do: Hold, For: 3 * time.Second}, // for whoever had begun to take over
			Step{Do: TakeOver, Host: "n1"},
			Step{Do: Hold, For: 4 * time.Second},
		),
		Expect: map[System]verify.Expect{Lease: stays, Veto: stays, VRRP: stays},
	}
}
