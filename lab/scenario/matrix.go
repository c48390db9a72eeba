package scenario

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// MatrixTraffic returns the kinds of traffic of the matrix.
func MatrixTraffic() []Traffic {
	return []Traffic{VRRPAdverts, MeshTraffic, WitnessTraffic, ARPTraffic, AllTraffic}
}

// MatrixPeers returns whom n1, which holds, is parted from in the matrix: the other node,
// the witness, the client.
func MatrixPeers() []string { return []string{"n2", "w1", "c1"} }

// Meaningless says why a traffic is not blocked between n1 and a peer in the matrix: there
// is none of it. Empty: it is.
func Meaningless(traffic Traffic, peer string) string {
	switch {
	case peer == "c1" && traffic != ARPTraffic && traffic != AllTraffic:
		return "a client has no part in it"
	case peer == "w1" && traffic == VRRPAdverts:
		return "a witness says nothing in VRRP"
	case peer == "n2" && traffic == WitnessTraffic:
		return "nodes ask the witness, not each other"
	}
	return ""
}

// matrix returns each kind of traffic, blocked in each direction between n1, which holds,
// and each kind of peer, as far as there is any.
func matrix() []Scenario {
	var all []Scenario
	for _, peer := range MatrixPeers() {
		for _, traffic := range MatrixTraffic() {
			if Meaningless(traffic, peer) != "" {
				continue
			}
			for _, way := range []Way{Both, Out, In} {
				all = append(all, blocked(traffic, way, peer))
			}
		}
	}
	return all
}

func blocked(traffic Traffic, way Way, peer string) Scenario {
	between := map[Way]string{Both: "n1-" + peer, Out: "n1-to-" + peer, In: peer + "-to-n1"}[way]
	block := Step{Do: Block, Host: "n1", Peer: peer, Traffic: traffic, Way: way}
	const lasts = 8 * time.Second // more than two master-down intervals
	return Scenario{
		Name:  fmt.Sprintf("block-%s-%s", traffic, between),
		Text:  block.String() + " for 8 s; nothing may change",
		Hosts: TwoNodes(), Claims: usualClaims(),
		Steps: append(begin("n1"),
			block,
			Step{Do: Hold, For: lasts},
			Step{Do: Unblock, Host: "n1", Peer: peer},
			Step{Do: Await, Event: Alone, Host: "n1", For: time.Second, Within: 20 * time.Second},
		),
		Expect: blockedExpect(traffic, way, peer),
	}
}

// blockedExpect returns what the systems show: the holder stays. Where the client cannot
// ask, it gets no answer, and nobody can help that. Without permission two hold when the
// other node hears nothing of the holder.
func blockedExpect(traffic Traffic, way Way, peer string) map[System]verify.Expect {
	const blip = 250 * time.Millisecond // what a busy machine may add
	stays := verify.Expect{Stays: true, Nobody: blip, Unserved: 2 * blip, Holder: "n1"}
	splits := verify.Expect{TwoAtLeast: time.Second, TwoAtMost: time.Hour, Holder: "n1"}
	permitted := stays
	permitted.Ledger = "none"
	expect := map[System]verify.Expect{Lease: permitted, Quorum: permitted}
	switch {
	case peer == "c1":
		unheard := verify.Expect{Stays: true, NobodyAtLeast: 7 * time.Second, Holder: "n1"}
		expect[Keepalived] = unheard
		unheard.Ledger = "none"
		expect[Lease], expect[Quorum] = unheard, unheard
	case peer == "w1" && traffic == WitnessTraffic:
		delete(expect, Quorum) // its witness only votes
	case peer == "n2":
		expect[Veto] = stays
		if traffic == MeshTraffic {
			break // plain VRRP has none
		}
		expect[VRRP], expect[Keepalived] = stays, stays
		if way != In && traffic != ARPTraffic { // n2 hears no advert
			expect[VRRP], expect[Keepalived] = splits, splits
		}
		switch {
		case traffic == AllTraffic && way == Both:
			expect[Veto] = splits // on_isolation claim
		case traffic == AllTraffic && way == Out: // n2 takes, and n1 gives way when it hears that
			expect[Veto] = verify.Expect{TwoAtMost: blip, Moves: 2, Holder: "n1"}
		}
	}
	return expect
}
