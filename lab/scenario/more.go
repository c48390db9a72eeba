package scenario

import (
	"net/netip"
	"slices"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// more are the scenarios of more than two nodes, one VIP and one network, and of what
// operators and firewalls do.
func more() []Scenario {
	return []Scenario{
		threeNodesStandby(),
		dualMaster(), dualMasterBlocked(), twoNetworks(), syncGroup(), syncGroupHandover(),
		isolationHold(), isolationHoldPowerOff(), isolationFence(), isolationFencePowerOff(),
		linkDown(), flapping(), loss("loss-5", 5), loss("loss-15", 15), loss("loss-30", 30),
		defaultFirewall(), defaultFirewallBoth(), defaultFirewallWitness(),
		noPreempt(), handoverUnderLoad(), fenceNow(), reloadBad(), rollingUpgrade(),
		witnessSlowDisk(), witnessSlowDiskPowerOff(), etcdLeaderKilledMeanwhile(),
		vmac(), vmacMany(),
	}
}

// everywhere expects the same of all systems that are named.
func everywhere(e verify.Expect, systems ...System) map[System]verify.Expect {
	expect := make(map[System]verify.Expect)
	for _, s := range systems {
		expect[s] = e
	}
	return expect
}

// ThreeNodes returns the usual hosts and a third node, of the lowest priority.
func ThreeNodes() []Host {
	hosts := TwoNodes()
	third := Host{Name: "n3", Role: Node, Addr: netip.MustParseAddr("10.77.0.14"), Priority: 50}
	return slices.Insert(hosts, 2, third)
}

func threeNodes() Scenario {
	moves := verify.Expect{Takeover: takeover, Serving: service, Nobody: takeover, Moves: 1, Holder: "n2"}
	leased := moves
	leased.Serving = guarded
	s := Scenario{
		Name: "three-nodes", Hosts: ThreeNodes(),
		Text: "of three nodes n1 loses power; n2 takes over, and n3 does not",
		Steps: story(
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: 3 * time.Second, Within: reacting},
		),
		Expect: everywhere(moves, VRRP, Keepalived),
	}
	s.Expect[Lease] = leased
	return s
}

func threeNodesLast() Scenario {
	moves := verify.Expect{Takeover: takeover, Nobody: 2 * takeover, Moves: 2, Holder: "n3"}
	return Scenario{
		Name: "three-nodes-last", Hosts: ThreeNodes(),
		Text: "of three nodes n1 loses power, and then n2 does; the last one takes over",
		Steps: story(
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
			Step{Do: PowerOff, Host: "n2"},
			Step{Do: Await, Event: Serves, Host: "n3", For: time.Second, Within: reacting},
		),
		// In mode quorum the last of three may not: it cannot know that it is the last.
		Expect: everywhere(moves, Lease, VRRP, Keepalived),
	}
}

func threeNodesStandby() Scenario {
	return Scenario{
		Name: "three-nodes-standby", Hosts: ThreeNodes(),
		Text: "of three nodes n2 is on standby; n1 loses power, and n3 takes over; n2 gets the VIP when its standby is over",
		Steps: story(
			Step{Do: StandbyOn, Host: "n2"},
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n3", For: 3 * time.Second, Within: reacting},
			Step{Do: StandbyOff, Host: "n2"},
			Step{Do: Await, Event: Alone, Host: "n2", For: time.Second, Within: settling},
		),
		Expect: everywhere(verify.Expect{Takeover: takeover + time.Second, Moves: 2, Holder: "n2"}, Lease),
	}
}

// crosswise returns two claims on one network, the second of which prefers n2.
func crosswise() []Claim {
	return append(usualClaims(), Claim{Name: "VI_2", VIP: netip.MustParsePrefix("10.77.0.101/24"), Prefers: "n2"})
}

func dualMaster() Scenario {
	moves := verify.Expect{
		Takeover: takeover, Nobody: 2 * takeover, Holder: "n1",
		Others: []verify.Expect{{Stays: true, Nobody: blip, Holder: "n2"}},
	}
	plain := moves
	plain.TwoAtMost = settle
	s := Scenario{
		Name: "dual-master", Claims: crosswise(),
		Text: "two VIPs crosswise, one for each node; n1's cable is pulled and n2 has both; it is plugged in and n1 gets its own back",
		Steps: story(
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n2", Within: reacting},
			Step{Do: Unplug, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Plug, Host: "n1"},
			back(),
		),
		Expect: everywhere(moves, Lease, Veto),
	}
	s.Expect[VRRP], s.Expect[Keepalived] = plain, plain
	return s
}

func dualMasterBlocked() Scenario {
	stay, split := stays(), splits("n1")
	stay.Others = []verify.Expect{{Stays: true, Nobody: blip, Holder: "n2"}}
	split.Others = []verify.Expect{splits("n2")}
	s := Scenario{
		Name: "dual-master-blocked", Claims: crosswise(),
		Text: "two VIPs crosswise; n2's firewall drops VRRP both ways; neither may have two holders, nor move",
		Steps: story(
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n2", Within: reacting},
			Step{Do: Drop, Host: "n2", Traffic: VRRPAdverts},
			Step{Do: Hold, For: window},
			Step{Do: Allow, Host: "n2"},
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n2", For: time.Second, Within: settling},
			back(),
		),
		Expect: everywhere(stay, Lease, Veto),
	}
	s.Expect[VRRP], s.Expect[Keepalived] = split, split
	return s
}

// twoLinks returns the usual hosts with nodes and client on a second network too.
func twoLinks() []Host {
	hosts := TwoNodes()
	for i, h := range hosts {
		if h.Role != Witness {
			addr := h.Addr.As4()
			addr[1] = 79
			hosts[i].Second = netip.AddrFrom4(addr)
		}
	}
	return hosts
}

// far returns a claim on each network.
func far() []Claim {
	return append(usualClaims(), Claim{Name: "VI_2", VIP: netip.MustParsePrefix("10.79.0.100/24")})
}

func twoNetworks() Scenario {
	stay := stays()
	stay.Others = []verify.Expect{{Nobody: 2 * takeover, Holder: "n1"}}
	plain := stay
	plain.Others = []verify.Expect{{Nobody: 2 * takeover, Holder: "n1", TwoAtMost: settle}}
	s := Scenario{
		Name: "two-networks", Hosts: twoLinks(), Claims: far(),
		Text: "a VIP on each of two networks; n1's cable to the second is pulled and plugged in again: that VIP moves, the other one does not",
		Steps: story(
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n1", Within: reacting},
			Step{Do: Unplug, Host: "n1", Link: SecondLink},
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Plug, Host: "n1", Link: SecondLink},
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n1", For: time.Second, Within: settling},
			back(),
		),
		Expect: everywhere(stay, Lease, Veto),
	}
	s.Expect[VRRP], s.Expect[Keepalived] = plain, plain
	return s
}

func syncGroup() Scenario {
	moves := verify.Expect{
		Takeover: takeover, Nobody: 2 * takeover, Holder: "n1", Whole: true,
		Others: []verify.Expect{{Nobody: 3 * takeover, Holder: "n1"}},
	}
	plain := moves
	plain.TwoAtMost = settle
	plain.Others = []verify.Expect{{Nobody: 3 * takeover, Holder: "n1", TwoAtMost: settle}}
	s := Scenario{
		Name: "sync-group", Hosts: twoLinks(), Claims: far(), Group: "lab",
		Text: "a sync group with a VIP on each of two networks; n1's cable to the second is pulled and plugged in again: both VIPs move, together",
		Steps: story(
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n1", Within: reacting},
			Step{Do: Unplug, Host: "n1", Link: SecondLink},
			Step{Do: Await, Event: Alone, Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Plug, Host: "n1", Link: SecondLink},
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n1", For: time.Second, Within: settling},
			back(),
		),
		Expect: everywhere(moves, Lease, Veto),
	}
	s.Expect[VRRP], s.Expect[Keepalived] = plain, plain
	return s
}

func syncGroupHandover() Scenario {
	moves := verify.Expect{
		Takeover: orderly, Gap: handing, Moves: 2, Holder: "n1", Whole: true,
		Others: []verify.Expect{{Gap: handing, Moves: 2, Holder: "n1"}},
	}
	return Scenario{
		Name: "sync-group-handover", Hosts: twoLinks(), Claims: far(), Group: "lab",
		Text: "n1 hands a sync group over to n2 at an operator's word, which later hands it back: both VIPs move, together",
		Steps: story(
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n1", Within: reacting},
			Step{Do: Handover, Host: "n1"},
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n2", For: 3 * time.Second, Within: reacting},
			Step{Do: Handover, Host: "n2", Peer: "n1"},
			Step{Do: Await, Event: Alone, Claim: "VI_2", Host: "n1", For: time.Second, Within: settling},
			back(),
		),
		Expect: everywhere(moves, Lease, Veto),
	}
}
