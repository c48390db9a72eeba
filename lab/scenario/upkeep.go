package scenario

import (
	"time"

	"github.com/solovip/solovip/lab/verify"
)

func orderlyStop() Scenario {
	quick := verify.Expect{Takeover: orderly, Serving: time.Second, Nobody: orderly, Unserved: time.Second, Holder: "n2"}
	// The other modes wait for the skew time: (256-100)/256 of the advertisement interval.
	skew := verify.Expect{Takeover: time.Second, Serving: service, Nobody: time.Second, Holder: "n2"}
	return Scenario{
		Name: "orderly-stop",
		Text: "n1's daemon is told to stop; n2 takes over without waiting for a timer",
		Steps: story(
			Step{Do: Stop, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
		),
		Expect: map[System]verify.Expect{Lease: quick, Veto: skew, VRRP: skew, Keepalived: skew},
	}
}

func handover() Scenario {
	moves := verify.Expect{Takeover: orderly, Gap: handing, Unserved: 2 * time.Second, Moves: 2, Holder: "n1"}
	return Scenario{
		Name: "handover",
		Text: "n1 hands the VIP over to n2 at an operator's word, which later hands it back",
		Steps: story(
			Step{Do: Handover, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: 5 * time.Second, Within: reacting},
			Step{Do: Handover, Host: "n2", Peer: "n1"},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: moves, Veto: moves},
	}
}

func standby() Scenario {
	moves := verify.Expect{Takeover: orderly, Gap: handing, Unserved: 2 * time.Second, Moves: 2, Holder: "n1"}
	return Scenario{
		Name: "standby",
		Text: "n1 is put on standby, stopped and started, and taken off standby: n2 has the VIP from the first to the last",
		Steps: story(
			Step{Do: StandbyOn, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Stop, Host: "n1"},
			Step{Do: Await, Event: Ended, Host: "n1", Within: reacting},
			Step{Do: Start, Host: "n1"},
			Step{Do: Hold, For: 5 * time.Second}, // more than n1 would need to take it or to ask for it
			Step{Do: StandbyOff, Host: "n1"},
			back(),
		),
		Expect: map[System]verify.Expect{
			Lease: moves, Veto: moves,
		},
	}
}

// upkeep is how long a witness is away. It is short, as the nodes know nothing of it any
// more after 3 s; Lasting makes it longer.
const upkeep = 15 * time.Second

func witnessStopped() Scenario {
	return Scenario{
		Name: "witness-stopped",
		Text: "the witness is stopped for a while and started again; nothing may change",
		Steps: story(
			Step{Do: Stop, Host: "w1"},
			Step{Do: Hold, For: upkeep, Free: true},
			Step{Do: Start, Host: "w1"},
			Step{Do: Hold, For: window},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: stays()},
	}
}

func witnessAndPeerStopped() Scenario {
	return Scenario{
		Name: "witness-and-peer-stopped",
		Text: "while the witness is stopped, n2 is stopped in order and started again; nothing may change",
		Steps: story(
			Step{Do: Stop, Host: "w1"},
			Step{Do: Hold, For: 4 * time.Second}, // n1 lives by n2's promises by then
			Step{Do: Stop, Host: "n2"},
			Step{Do: Hold, For: upkeep, Free: true},
			Step{Do: Start, Host: "n2"},
			Step{Do: Hold, For: window},
			Step{Do: Start, Host: "w1"},
			Step{Do: Hold, For: window},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: stays()},
	}
}

func stopWithoutWitness() Scenario {
	s := orderlyStop()
	return Scenario{
		Name: "stop-without-witness",
		Text: "the witness loses power, and then n1's daemon is told to stop; n2 takes over without waiting for a timer",
		Steps: story(
			Step{Do: PowerOff, Host: "w1"},
			Step{Do: Hold, For: window, Free: true},
			Step{Do: Stop, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
		),
		Expect: map[System]verify.Expect{Lease: s.Expect[Lease]},
	}
}

func witnessWiped() Scenario {
	wipe := []Step{
		{Do: Await, Event: Ended, Host: "w1", Within: reacting},
		{Do: Wipe, Host: "w1"},
		{Do: Start, Host: "w1"},
		{Do: Hold, For: window},
	}
	steps := append([]Step{{Do: Stop, Host: "w1"}}, wipe...) // at once
	steps = append(steps, Step{Do: Stop, Host: "w1"}, Step{Do: Hold, For: 4 * time.Second})
	steps = append(append(steps, wipe...), back()) // while n1 lives by n2's promises
	return Scenario{
		Name:   "witness-wiped",
		Text:   "the witness loses its data, once in a short and once in a long outage; nothing may change",
		Steps:  story(steps...),
		Expect: map[System]verify.Expect{Lease: stays()},
	}
}

func witnessReplaced() Scenario {
	s := powerOff()
	return Scenario{
		Name: "witness-replaced",
		Text: "the witness loses its data, and then n1 loses power; n2 takes over",
		Steps: story(
			Step{Do: Stop, Host: "w1"},
			Step{Do: Await, Event: Ended, Host: "w1", Within: reacting},
			Step{Do: Wipe, Host: "w1"},
			Step{Do: Start, Host: "w1"},
			Step{Do: Hold, For: window},
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
		),
		Expect: map[System]verify.Expect{Lease: s.Expect[Lease]},
	}
}

func etcdMemberLost() Scenario {
	s := powerOff()
	return Scenario{
		Name:  "etcd-member-lost",
		Text:  "the witness is an etcd of three, one of which loses power: nothing changes; then n1 does, and n2 takes over",
		Hosts: ThreeEtcds(),
		Steps: story(
			Step{Do: Lead, Host: "w1"},
			Step{Do: PowerOff, Host: "w3"},
			Step{Do: Await, Event: Alone, Host: "n1", For: window, Within: window + time.Second},
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
		),
		Expect: map[System]verify.Expect{Lease: s.Expect[Lease]},
	}
}

func etcdLeaderLost() Scenario {
	return Scenario{
		Name:  "etcd-leader-lost",
		Text:  "the leader of an etcd of three loses power; nothing may change",
		Hosts: ThreeEtcds(),
		Steps: story(
			Step{Do: Lead, Host: "w1"},
			Step{Do: PowerOff, Host: "w1"},
			Step{Do: Hold, For: 2 * window},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: stays()},
	}
}

func etcdLeaderMoves() Scenario {
	return Scenario{
		Name:  "etcd-leader-moves",
		Text:  "an etcd of three gets another leader twice, and then its leader is killed; nothing may change",
		Hosts: ThreeEtcds(),
		Steps: story(
			Step{Do: Lead, Host: "w1"},
			Step{Do: Lead, Host: "w2"},
			Step{Do: Hold, For: 3 * time.Second},
			Step{Do: Lead, Host: "w3"},
			Step{Do: Hold, For: 3 * time.Second},
			Step{Do: Kill, Host: "w3"},
			Step{Do: Hold, For: window},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: stays()},
	}
}
