package scenario

import (
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// onIsolation returns the configuration of what two nodes do that cannot reach each other.
func onIsolation(what string) []Setting {
	return []Setting{{Block: FencingBlock, Line: "on_isolation " + what}}
}

func isolationHold() Scenario {
	s := peersCut()
	s.Name, s.Settings = "isolation-hold", onIsolation("hold")
	s.Text = "n1 and n2 cannot reach each other, have no witness and may claim nothing then; nothing may change"
	s.Expect = everywhere(stays(), Veto)
	return s
}

func isolationHoldPowerOff() Scenario {
	return Scenario{
		Name: "isolation-hold-power-off", Settings: onIsolation("hold"),
		Text: "the same, but n1 loses power: that looks just like a cut, so nobody takes over, and the VIP is gone",
		Steps: story(
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Hold, For: window},
		),
		Expect: everywhere(verify.Expect{NobodyAtLeast: window - time.Second, Holder: "nobody"}, Veto),
	}
}

func isolationFence() Scenario {
	s := peersCut()
	s.Name, s.Settings = "isolation-fence", onIsolation("fence")
	s.Text = "n1 and n2 cannot reach each other: n2 has its fence agent switch n1 off, believes that when the agent's status says so, and takes over"
	s.Steps = story(
		Step{Do: Cut, Host: "n1", Peer: "n2"},
		Step{Do: Await, Event: Serves, Host: "n2", For: 3 * time.Second, Within: 2 * reacting},
	)
	s.Expect = everywhere(shot(), Veto)
	return s
}

func isolationFencePowerOff() Scenario {
	return Scenario{
		Name: "isolation-fence-power-off", Settings: onIsolation("fence"),
		Text: "n1 loses power; n2 has its fence agent switch n1 off, believes that only when the agent's status says so, and takes over",
		Steps: story(
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: 2 * reacting},
		),
		Expect: everywhere(shot(), Veto),
	}
}

// shot is what is expected when n2 may take the VIP only from a node that is shown to be off.
// The head start of the preferred node, 2 s and up to one more, comes on top of plain VRRP's wait.
func shot() verify.Expect {
	return verify.Expect{Takeover: takeover + 4*time.Second, Moves: 1, Holder: "n2"}
}

func linkDown() Scenario {
	s := failover()
	s.Name = "link-down"
	s.Text = "n1's interface is set down on n1 itself and n2 takes over; it is set up again and n1 gets the VIP back"
	s.Steps = story(
		Step{Do: LinkDown, Host: "n1"},
		Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
		Step{Do: LinkUp, Host: "n1"},
		back(),
	)
	return s
}

func flapping() Scenario {
	leased := verify.Expect{Holder: "n1"}
	plain := leased
	plain.TwoAtMost = window
	s := Scenario{
		Name: "flapping",
		Text: "n1's cable is loose: its carrier goes and comes at random for 8 s; whoever holds, holds alone",
		Steps: story(
			Step{Do: Flap, Host: "n1", For: window},
			back(),
		),
		Expect: everywhere(leased, Lease),
	}
	s.Expect[Veto], s.Expect[VRRP], s.Expect[Keepalived] = plain, plain, plain
	return s
}

func loss(name string, percent int) Scenario {
	// In plain VRRP three adverts lost in a row are a second holder.
	plain := verify.Expect{TwoAtMost: 2 * window, Holder: "n1"}
	quiet := verify.Expect{Stays: percent < 10, Holder: "n1"}
	s := Scenario{
		Name: name,
		Text: "of all IP packets that n1 sends or gets a share is lost; whoever holds, holds alone",
		Steps: story(
			Step{Do: Drop, Host: "n1", Traffic: IPTraffic, Percent: percent},
			Step{Do: Hold, For: 2 * window, Free: true},
			Step{Do: Allow, Host: "n1"},
			back(),
		),
		Expect: everywhere(plain, Veto, VRRP, Keepalived),
	}
	s.Expect[Lease] = quiet
	return s
}

func defaultFirewall() Scenario {
	s := vrrpBlocked(In)
	s.Name = "default-firewall"
	s.Text = "n2's firewall starts with the default rules of firewalld, which reject what comes in unasked; nothing may change"
	s.Steps = story(
		Step{Do: Drop, Host: "n2", Traffic: UnaskedTraffic, Way: In},
		Step{Do: Hold, For: window},
		Step{Do: Allow, Host: "n2"},
		back(),
	)
	return s
}

func defaultFirewallBoth() Scenario {
	s := defaultFirewall()
	s.Name = "default-firewall-both"
	s.Text = "the firewalls of both nodes start with default rules; nothing may change"
	s.Steps = story(
		Step{Do: Drop, Host: "n1", Traffic: UnaskedTraffic, Way: In},
		Step{Do: Drop, Host: "n2", Traffic: UnaskedTraffic, Way: In},
		Step{Do: Hold, For: window},
		Step{Do: Allow, Host: "n1"},
		Step{Do: Allow, Host: "n2"},
		back(),
	)
	return s
}

func defaultFirewallWitness() Scenario {
	return Scenario{
		Name: "default-firewall-witness",
		Text: "the firewall of the witness starts with default rules; nothing may change",
		Steps: story(
			Step{Do: Drop, Host: "w1", Traffic: UnaskedTraffic, Way: In},
			Step{Do: Hold, For: 2 * window, Free: true},
			Step{Do: Allow, Host: "w1"},
			Step{Do: Hold, For: 3 * time.Second},
			back(),
		),
		Expect: everywhere(stays(), Lease),
	}
}

func noPreempt() Scenario {
	s := failover()
	s.Name, s.Settings = "nopreempt", []Setting{{Block: InstanceBlock, Line: "nopreempt"}}
	s.Text = "n1's cable is pulled and n2 takes over; it is plugged in again, and n2 keeps the VIP, as nopreempt says"
	s.Steps = story(
		Step{Do: Unplug, Host: "n1"},
		Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: reacting},
		Step{Do: Plug, Host: "n1"},
		Step{Do: Hold, For: window},
	)
	s.Expect = everywhere(verify.Expect{Takeover: takeover, Moves: 1, Holder: "n2"}, Lease, Veto, VRRP, Keepalived)
	return s
}

func handoverUnderLoad() Scenario {
	s := handover()
	s.Name = "handover-under-load"
	s.Text = "the same while the client asks the service as often as it can"
	s.Steps = story(
		Step{Do: Load, Host: "c1", For: 12 * time.Second},
		Step{Do: Hold, For: 2 * time.Second},
		Step{Do: Handover, Host: "n1"},
		Step{Do: Await, Event: Serves, Host: "n2", For: 3 * time.Second, Within: reacting},
		Step{Do: Handover, Host: "n2", Peer: "n1"},
		back(),
	)
	return s
}

func fenceNow() Scenario {
	moves := verify.Expect{Takeover: time.Second, Nobody: time.Second + takeover, Moves: 2, Holder: "n1"}
	return Scenario{
		Name: "fence-now",
		Text: "an operator has n1 let go by force and n2 takes over; n1 stays out until the operator clears that; then n2 loses power, and n1 takes over",
		Steps: story(
			Step{Do: FenceNow, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: 4 * time.Second, Within: reacting},
			Step{Do: FenceClear, Host: "n1"},
			Step{Do: Hold, For: 3 * time.Second},
			Step{Do: PowerOff, Host: "n2"},
			Step{Do: Await, Event: Serves, Host: "n1", For: time.Second, Within: reacting},
		),
		Expect: everywhere(moves, Lease, Veto),
	}
}

func reloadGood() Scenario {
	s := Scenario{
		Name: "reload",
		Text: "n1's configuration gets another priority, another interval of gratuitous ARP and one address more, and is reloaded each time; it keeps the VIP",
		Steps: story(
			Step{Do: Edit, Host: "n1", Old: "priority 150", New: "priority 160"},
			Step{Do: Reload, Host: "n1"},
			Step{Do: Hold, For: 4 * time.Second},
			Step{Do: Edit, Host: "n1", Old: "    virtual_ipaddress {", New: "    garp_master_refresh 5\n    virtual_ipaddress {"},
			Step{Do: Reload, Host: "n1"},
			Step{Do: Hold, For: 4 * time.Second},
			back(),
		),
		Expect: everywhere(stays(), Lease, Veto, VRRP, Keepalived),
	}
	return s
}

func reloadBad() Scenario {
	lost := verify.Expect{NobodyAtLeast: 2 * time.Second}
	s := Scenario{
		Name: "reload-bad",
		Text: "somebody mistypes virtual_ipaddress in n1's configuration and reloads it; then mends it and reloads again; nothing may change",
		Steps: story(
			Step{Do: Edit, Host: "n1", Old: "virtual_ipaddress", New: "virtual_ipadress"},
			Step{Do: Reload, Host: "n1"},
			Step{Do: Hold, For: 6 * time.Second},
			Step{Do: Edit, Host: "n1", Old: "virtual_ipadress", New: "virtual_ipaddress"},
			Step{Do: Reload, Host: "n1"},
			back(),
		),
		Expect: everywhere(stays(), Lease, Veto, VRRP),
	}
	s.Expect[Keepalived] = lost
	return s
}

func rollingUpgrade() Scenario {
	// replace has a node run another system.
	replace := func(host string, system System) []Step {
		return []Step{
			{Do: Stop, Host: host},
			{Do: Await, Event: Ended, Host: host, Within: reacting},
			{Do: Install, Host: host, System: system},
			{Do: Start, Host: host},
		}
	}
	settled := Step{Do: Await, Event: Alone, Host: "n1", For: 3 * time.Second, Within: settling}
	var steps []Step
	for _, system := range []System{VRRP, ""} {
		for _, host := range []string{"n2", "n1"} {
			steps = append(append(steps, replace(host, system)...), Step{Do: Hold, For: 3 * time.Second}, settled)
		}
	}
	return Scenario{
		Name: "rolling-upgrade", Begin: Keepalived,
		Text:  "both nodes run keepalived; first n2, then n1 get solovip with the same file, and then both a cluster and a witness",
		Steps: story(steps...),
		// As long as one of the two knows plain VRRP only, n1 takes its VIP back by an advert.
		Expect: everywhere(verify.Expect{TwoAtMost: 2 * settle, Gap: time.Second, Nobody: 2 * time.Second, Moves: 4, Holder: "n1"}, Lease),
	}
}

func witnessSlowDisk() Scenario {
	return Scenario{
		Name: "witness-slow-disk",
		Text: "each write to the disk of the witness takes 0.3 s longer, and then 3 s; nothing may change",
		Steps: story(
			Step{Do: SlowDisk, Host: "w1", For: 300 * time.Millisecond},
			Step{Do: Hold, For: window},
			Step{Do: SlowDisk, Host: "w1", For: 3 * time.Second},
			Step{Do: Hold, For: window, Free: true},
			Step{Do: MendDisk, Host: "w1"},
			Step{Do: Hold, For: 5 * time.Second},
			back(),
		),
		Expect: everywhere(stays(), Lease),
	}
}

func witnessSlowDiskPowerOff() Scenario {
	return Scenario{
		Name: "witness-slow-disk-power-off",
		Text: "each write to the disk of the witness takes 0.3 s longer, and n1 loses power; n2 takes over",
		Steps: story(
			Step{Do: SlowDisk, Host: "w1", For: 300 * time.Millisecond},
			Step{Do: Hold, For: 5 * time.Second},
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: 2 * reacting},
		),
		Expect: everywhere(verify.Expect{Takeover: takeover + time.Second, Moves: 1, Holder: "n2"}, Lease),
	}
}

func etcdLeaderKilledMeanwhile() Scenario {
	return Scenario{
		Name: "etcd-leader-killed-meanwhile", Hosts: ThreeEtcds(),
		Text: "n1 loses power, and a second later the leader of the etcd of three is killed, while n2 is about to take over",
		Steps: story(
			Step{Do: Lead, Host: "w1"},
			Step{Do: PowerOff, Host: "n1"},
			Step{Do: Hold, For: time.Second},
			Step{Do: Kill, Host: "w1"},
			Step{Do: Await, Event: Serves, Host: "n2", For: time.Second, Within: 2 * reacting},
		),
		Expect: everywhere(verify.Expect{Moves: 1, Nobody: takeover + 3*time.Second, Holder: "n2"}, Lease),
	}
}

func vmac() Scenario {
	s := failover()
	s.Name, s.Settings = "vmac", []Setting{{Block: InstanceBlock, Line: "use_vmac"}}
	s.Text = "with use_vmac: " + s.Text
	s.Expect = map[System]verify.Expect{Keepalived: s.Expect[Keepalived]}
	return s
}

func vmacMany() Scenario {
	s := vmac()
	s.Name = "vmac-many"
	s.Claims = usualClaims()
	s.Claims[0].Extra = 300
	s.Text = "with use_vmac and 300 addresses more: n1's cable is pulled and n2 takes over; it is plugged in again and n1 gets them back"
	return s
}
