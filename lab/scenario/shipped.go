package scenario

import (
	"net/netip"
	"slices"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// Bounds that several scenarios share. The nodes advertise once a second; n2 has
// priority 100, so that it waits 3.61 s from the last advert it heard before it acts
// (RFC 9568, section 6.1), and the fault comes at most 1 s after that advert. In lease
// mode a node that cannot know starts its guarded service only when the old holder's must
// be gone: after its stop_timeout, 2 s, and what a kill may take.
const (
	takeover = 3900 * time.Millisecond // first ARP answer of the other node
	service  = 4400 * time.Millisecond // its service, which has to be started first
	guarded  = 6900 * time.Millisecond // the same, after the time the old holder may need to stop its own
	orderly  = 500 * time.Millisecond  // solovip hands over and waits for no timer; idle: 30 to 100 ms
	blip     = 250 * time.Millisecond  // what a busy machine may add to a holder that stays
	settle   = 100 * time.Millisecond  // plain VRRP: until one of two holders has heard of the other
	handing  = 250 * time.Millisecond  // how long a handover may leave the VIP unanswered; idle: 30 to 50 ms
	window   = 8 * time.Second         // how long a fault lasts: more than two master-down intervals
	starting = 30 * time.Second        // for daemons to start and one to take the VIP
	reacting = 10 * time.Second        // for another node to take it
	settling = 20 * time.Second        // for the first node to get it back
)

// TwoNodes returns the hosts of the usual lab: two nodes, of which n1 is preferred, a
// witness and a client.
func TwoNodes() []Host {
	return []Host{
		{Name: "n1", Role: Node, Addr: netip.MustParseAddr("10.77.0.11"), Priority: 150},
		{Name: "n2", Role: Node, Addr: netip.MustParseAddr("10.77.0.12"), Priority: 100},
		{Name: "w1", Role: Witness, Addr: netip.MustParseAddr("10.77.0.13")},
		{Name: "c1", Role: Client, Addr: netip.MustParseAddr("10.77.0.50")},
	}
}

// usualClaims returns the one claim of the usual lab.
func usualClaims() []Claim {
	return []Claim{{Name: "VI_1", VIP: netip.MustParsePrefix("10.77.0.100/24")}}
}

// ThreeEtcds returns the same hosts with an etcd of three members as the witness.
func ThreeEtcds() []Host {
	hosts := slices.DeleteFunc(TwoNodes(), func(h Host) bool { return h.Role == Witness })
	addr := netip.MustParseAddr("10.77.0.21")
	for _, name := range []string{"w1", "w2", "w3"} {
		hosts = append(hosts, Host{Name: name, Role: Etcd, Addr: addr})
		addr = addr.Next()
	}
	return hosts
}

// Shipped returns the scenarios that come with solovip, in the order lists show them.
func Shipped() []Scenario {
	all := []Scenario{
		failover(), vrrpBlocked(Both), vrrpBlocked(In), peersCut(), masterIsolated(),
		powerOff(), powerOffFast(), stall(), freeze(), freezeByLifetime(), rulesFlushed(), pause(), killed(), workerKilled(), workerFrozen(), guardianKilled(), fullDisk(), forgedAdvert(),
		orderlyStop(), restart(), handover(), standby(),
		witnessStopped(), witnessAndPeerStopped(), stopWithoutWitness(), witnessWiped(), witnessReplaced(),
		etcdMemberLost(), etcdLeaderLost(), etcdLeaderMoves(),
		serviceKilled(), serviceHung(), serviceBroken(), addressByHand(), comesUpHolding(),
	}
	all = append(all, more()...)
	for i := range all {
		if all[i].Hosts == nil {
			all[i].Hosts = TwoNodes()
		}
		if e, ok := all[i].Expect[Lease]; ok && !needsWitness(all[i]) {
			all[i].Expect[Quorum] = e
		}
		if all[i].Claims == nil {
			all[i].Claims = usualClaims()
		}
	}
	return all
}

// needsWitness reports whether what happens in the scenario, or how fast, depends on the
// etcd of a witness.
func needsWitness(s Scenario) bool {
	return s.Sets(WitnessBlock, "") || len(s.Named(Etcd)) > 0 ||
		slices.ContainsFunc(s.Steps, func(step Step) bool { return step.Host == "w1" })
}

// Find returns the shipped scenario of that name.
func Find(name string) (Scenario, bool) {
	for _, s := range Shipped() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}

// story returns the steps of a scenario: daemons started and n1 holding, then the given
// ones, in whatever phase of what the daemons do periodically.
func story(steps ...Step) []Step {
	return append([]Step{
		{Do: Start},
		{Do: Await, Event: Serves, Host: "n1", For: 2 * time.Second, Within: starting},
		{Do: MarkReady},
		{Do: Phase, For: time.Second},
	}, steps...)
}

// back waits until n1 alone has the VIP again, and keeps it. It does not wait for the
// service to answer: when two have held, clients may keep the wrong one in their ARP
// caches for long, and the figures show that.
func back() Step {
	return Step{Do: Await, Event: Alone, Host: "n1", For: time.Second, Within: settling}
}

// stays is what a system is expected to show when nothing may happen to its holder.
func stays() verify.Expect {
	return verify.Expect{Stays: true, Nobody: blip, Unserved: 2 * blip, Holder: "n1"}
}

// splits is what a system is expected to show that cannot do better.
func splits(holder string) verify.Expect {
	return verify.Expect{TwoAtLeast: time.Second, TwoAtMost: time.Hour, Holder: holder}
}

func failover() Scenario {
	moves := verify.Expect{Takeover: takeover, Serving: service, Nobody: 2 * takeover, Unserved: 2 * service, Holder: "n1"}
	leased := moves
	leased.Serving, leased.Unserved = guarded, 2*guarded
	// In plain VRRP n1 takes the VIP back by an advert, and n2 lets go when it hears it.
	plain := moves
	plain.TwoAtMost = settle
	return Scenario{
		Name: "failover",
		Text: "n1's cable is pulled and n2 takes over; it is plugged in again and n1 gets the VIP back",
		Steps: story(
			Step{Do: Unplug, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
			Step{Do: Plug, Host: "n1"},
			back(),
		),
		Expect: map[System]verify.Expect{Lease: leased, Veto: moves, VRRP: plain, Keepalived: plain},
	}
}

func vrrpBlocked(way Way) Scenario {
	s := Scenario{
		Name: "vrrp-blocked",
		Text: "n2's firewall drops VRRP both ways; everything else works; nothing may change",
		Steps: story(
			Step{Do: Drop, Host: "n2", Traffic: VRRPAdverts, Way: way},
			Step{Do: Hold, For: window},
			Step{Do: Allow, Host: "n2"},
			back(),
		),
	}
	if way == In {
		s.Name = "vrrp-blocked-inbound"
		s.Text = "n2's firewall drops VRRP coming in, as a default firewall does; nothing may change"
	}
	s.Expect = map[System]verify.Expect{Lease: stays(), Veto: stays(), VRRP: splits("n1"), Keepalived: splits("n1")}
	return s
}

func peersCut() Scenario {
	return Scenario{
		Name: "peers-cut",
		Text: "n1 and n2 cannot reach each other; both reach the witness and the client",
		Steps: story(
			Step{Do: Cut, Host: "n1", Peer: "n2"},
			Step{Do: Hold, For: window},
			Step{Do: Join, Host: "n1", Peer: "n2"},
			back(),
		),
		Expect: map[System]verify.Expect{
			Lease: stays(),
			// Without a third member this is a total cut, and on_isolation decides: claim.
			Veto:       splits("n1"),
			VRRP:       splits("n1"),
			Keepalived: splits("n1"),
		},
	}
}

func masterIsolated() Scenario {
	return Scenario{
		Name: "master-isolated",
		Text: "n1's firewall drops all IP: it reaches nobody, yet its kernel answers ARP; n2 takes over",
		Steps: story(
			Step{Do: Drop, Host: "n1", Traffic: IPTraffic},
			Step{Do: Await, Event: Answers, Host: "n2", Within: reacting},
			Step{Do: Hold, For: 3 * time.Second},
			Step{Do: Allow, Host: "n1"},
			back(),
		),
		Expect: map[System]verify.Expect{
			Lease:      {Takeover: takeover, Serving: guarded, Holder: "n1"},
			Veto:       splits("n1"),
			VRRP:       splits("n1"),
			Keepalived: splits("n1"),
		},
	}
}
