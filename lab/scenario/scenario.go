package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// System is a system under test: solovip in one of its modes, or keepalived.
type System string

// The systems that the lab can run.
const (
	Lease      System = "lease"      // solovip with a witness
	Quorum     System = "quorum"     // solovip with a witness that only votes
	Veto       System = "veto"       // solovip with a cluster of two and no third member
	VRRP       System = "vrrp"       // solovip on a plain keepalived.conf
	Keepalived System = "keepalived" // keepalived, of the distribution
)

// Systems returns all systems that the lab can run.
func Systems() []System { return []System{Lease, Quorum, Veto, VRRP, Keepalived} }

// Exclusive reports whether the system promises that two nodes never hold.
func (s System) Exclusive() bool { return s == Lease || s == Quorum }

// Solovip reports whether the system is solovip, in whatever mode.
func (s System) Solovip() bool { return s != Keepalived }

// String returns the name that reports use.
func (s System) String() string {
	if s.Solovip() {
		return "solovip " + string(s)
	}
	return string(s)
}

// Role is what a host is for.
type Role string

// The roles.
const (
	Node    Role = "node"    // runs the system under test
	Witness Role = "witness" // runs the witness, in systems that have one
	Etcd    Role = "etcd"    // a member of a plain etcd that serves as the witness, in systems that have one
	Client  Role = "client"  // asks for the VIP; runs no daemon
)

// Host is a machine of the lab: a network namespace with one interface on the switch.
type Host struct {
	Name     string     `json:"name"`
	Role     Role       `json:"role"`
	Addr     netip.Addr `json:"addr"`
	Priority uint8      `json:"priority,omitempty"` // nodes only: the VRRP priority
}

// Scenario is a story told to a system under test, and what is expected to come of it.
type Scenario struct {
	Name   string                   `json:"name"`
	Text   string                   `json:"text"` // one line, for lists
	Hosts  []Host                   `json:"hosts"`
	VIP    netip.Prefix             `json:"vip"`                 // in the hosts' own network
	Advert time.Duration            `json:"advert_ns,omitempty"` // advert_int; 0: one second
	Timing string                   `json:"timing,omitempty"`    // the witness block's; empty: what solovip chooses
	Gate   string                   `json:"gate,omitempty"`      // the fencing block's; empty: what solovip chooses
	Web    bool                     `json:"web,omitempty"`       // the guarded service is a real nginx, which answers HTTP alone
	Steps  []Step                   `json:"steps"`
	Expect map[System]verify.Expect `json:"expect"` // a system that is missing is not run
}

// On reports whether the scenario can be run on a system.
func (s Scenario) On(system System) bool {
	_, ok := s.Expect[system]
	return ok
}

// AdvertInterval returns the nodes' advert_int.
func (s Scenario) AdvertInterval() time.Duration { return cmp.Or(s.Advert, time.Second) }

// Lasting returns the scenario with every fault whose length is free made that long.
func (s Scenario) Lasting(window time.Duration) Scenario {
	s.Steps = slices.Clone(s.Steps)
	for i := range s.Steps {
		if s.Steps[i].Free {
			s.Steps[i].For = window
		}
	}
	return s
}

// Verb is what a step does.
type Verb string

// The verbs. Faults and their ends are carried out at once; an operator's command, which
// only solovip has, takes until it is done, and Await, Hold, Phase and Forge take time.
const (
	Start  Verb = "start"  // start the daemons of Host, or of all hosts
	Stop   Verb = "stop"   // ask Host's daemon to stop in order (SIGTERM)
	Kill   Verb = "kill"   // SIGKILL for every daemon process of Host; its kernel lives
	Freeze Verb = "freeze" // SIGSTOP for every daemon process of Host
	Thaw   Verb = "thaw"   // SIGCONT for them

	KillWorker   Verb = "kill the worker"   // SIGKILL for the one process of Host's daemon that does the work
	FreezeWorker Verb = "freeze the worker" // SIGSTOP for it
	KillGuardian Verb = "kill the guardian" // SIGKILL for the process that keeps the worker running
	EndService   Verb = "end the service"   // SIGKILL for Host's guarded service, and nothing else
	HangService  Verb = "hang the service"  // SIGSTOP for Host's guarded service, which then answers nobody
	FlushRules   Verb = "flush the rules"   // somebody removes all rules of Host's nftables
	BreakService Verb = "break the service" // the service of Host cannot be started again
	Assign       Verb = "assign"            // somebody puts the VIP on Host by hand
	Fill         Verb = "fill"              // nothing more can be stored where Host's daemon keeps what outlives a restart

	PowerOff  Verb = "power-off" // Host's link down and every process killed, at the same instant
	Unplug    Verb = "unplug"    // Host's port loses its carrier
	Plug      Verb = "plug"      // the carrier comes back
	Cut       Verb = "cut"       // the switch no longer carries anything between Host and Peer
	Join      Verb = "join"      // it does again
	Drop      Verb = "drop"      // Host's own firewall drops Traffic, in the direction Way
	Allow     Verb = "allow"     // every Drop on Host ends
	Wipe      Verb = "wipe"      // remove what Host's daemon, which has ended, keeps over restarts
	Forge     Verb = "forge"     // Host sends adverts of the highest priority, one each 100 ms, for the time For
	Lead      Verb = "lead"      // make Host the leader of the etcd
	Await     Verb = "await"     // wait until Event is seen, for an unbroken time For, at most Within
	MarkReady Verb = "ready"     // from here on, silence counts
	Hold      Verb = "hold"      // let the fault last For
	Phase     Verb = "phase"     // wait at most For, drawn from the run's seed: what follows meets daemons in any phase

	Handover   Verb = "handover"    // an operator on Host: give the claim to Peer, or to whom the node chooses
	StandbyOn  Verb = "standby on"  // an operator on Host: give away what it holds and take nothing
	StandbyOff Verb = "standby off" // end that
	TakeOver   Verb = "take-over"   // start the daemon's program anew, as after an upgrade, and keep what it holds
)

// Traffic is what a Drop step drops.
type Traffic string

// The kinds of traffic.
const (
	VRRPAdverts    Traffic = "vrrp"    // IP protocol 112
	MeshTraffic    Traffic = "mesh"    // the mesh port, UDP and TCP
	WitnessTraffic Traffic = "witness" // the witness's port
	IPTraffic      Traffic = "ip"      // every IP packet except on loopback
	ARPTraffic     Traffic = "arp"     // every ARP packet
	AllTraffic     Traffic = "all"     // IP and ARP
)

// Way is the direction that a Drop step drops.
type Way string

// The directions, seen from the host; the zero Way is both.
const (
	Both Way = ""
	In   Way = "in"
	Out  Way = "out"
)

// Event is something that the lab can see from outside.
type Event string

// The events, all about Host.
const (
	Answers Event = "answers" // it answers ARP for the VIP, whoever else does
	Alone   Event = "alone"   // it answers ARP for the VIP and nobody else does
	Serves  Event = "serves"  // it answers ARP alone and its service answers at the VIP
	Silent  Event = "silent"  // it does not answer ARP for the VIP
	Ended   Event = "ended"   // its daemon does not run
)

// Step is one thing to do or to wait for.
type Step struct {
	Do      Verb          `json:"do"`
	Host    string        `json:"host,omitempty"`
	Peer    string        `json:"peer,omitempty"`    // Cut, Join; Drop: only traffic from or to it; Handover: to it
	Traffic Traffic       `json:"traffic,omitempty"` // Drop
	Way     Way           `json:"way,omitempty"`     // Drop
	Event   Event         `json:"event,omitempty"`   // Await
	For     time.Duration `json:"for_ns,omitempty"`  // Await, Hold, Phase, Forge
	Within  time.Duration `json:"within_ns,omitempty"`
	Free    bool          `json:"free,omitempty"` // Hold: any other length would do as well, see Lasting
}

// String returns the step in words.
func (s Step) String() string {
	switch s.Do {
	case Start:
		if s.Host == "" {
			return "start all daemons"
		}
		return "start the daemons of " + s.Host
	case Stop:
		return "stop " + s.Host + " in order"
	case Kill, Freeze, Thaw:
		return fmt.Sprintf("%s every daemon process of %s", s.Do, s.Host)
	case EndService:
		return "kill the service of " + s.Host
	case HangService:
		return "hang the service of " + s.Host
	case FlushRules:
		return "flush all nftables rules of " + s.Host
	case BreakService:
		return "break the configuration of the service of " + s.Host
	case Assign:
		return "put the VIP on " + s.Host + " by hand"
	case KillWorker, FreezeWorker, KillGuardian:
		return fmt.Sprintf("%s of %s", s.Do, s.Host)
	case Fill:
		return "fill the disk of " + s.Host
	case PowerOff:
		return "power off " + s.Host
	case Unplug, Plug:
		return fmt.Sprintf("%s the cable of %s", s.Do, s.Host)
	case Cut, Join:
		return fmt.Sprintf("%s %s and %s at the switch", s.Do, s.Host, s.Peer)
	case Drop:
		return s.drop()
	case Allow:
		return s.Host + "'s firewall drops nothing any more"
	case Wipe:
		return "remove the data of " + s.Host
	case Forge:
		return fmt.Sprintf("%s forges adverts of priority 255 for %v", s.Host, s.For)
	case Lead:
		return "make " + s.Host + " the leader of the etcd"
	case Handover, StandbyOn, StandbyOff, TakeOver:
		return s.order()
	case Phase:
		return fmt.Sprintf("wait a random time of at most %v", s.For)
	case Await:
		return "await: " + s.event()
	case MarkReady:
		return "ready"
	case Hold:
		return "hold for " + s.For.String()
	}
	return string(s.Do)
}

func (s Step) order() string {
	if s.Do == TakeOver {
		return fmt.Sprintf("on %s: solovip node --%s", s.Host, s.Do)
	}
	text := fmt.Sprintf("on %s: solovip %s", s.Host, s.Do)
	if s.Peer != "" {
		text += " --to " + s.Peer
	}
	return text
}

func (s Step) drop() string {
	text := fmt.Sprintf("%s's firewall drops %s", s.Host, map[Traffic]string{
		VRRPAdverts: "VRRP", MeshTraffic: "the mesh", WitnessTraffic: "witness traffic",
		IPTraffic: "all IP", ARPTraffic: "ARP", AllTraffic: "everything",
	}[s.Traffic])
	switch s.Way {
	case In:
		text += " coming in"
	case Out:
		text += " going out"
	case Both:
	}
	if s.Peer != "" {
		text += ", from and to " + s.Peer
	}
	return text
}

func (s Step) event() string {
	text := map[Event]string{
		Answers: s.Host + " answers for the VIP",
		Alone:   s.Host + " alone answers for the VIP",
		Serves:  s.Host + " alone answers for the VIP, and its service does",
		Silent:  s.Host + " no longer answers for the VIP",
		Ended:   "the daemon on " + s.Host + " has ended",
	}[s.Event]
	if s.For > 0 {
		text += " for " + s.For.String()
	}
	return text
}

// Missed returns what to say when an Await step saw nothing within its deadline.
func (s Step) Missed() string {
	return fmt.Sprintf("waited %v in vain: %s", s.Within, s.event())
}

// Validate reports the first mistake in a scenario: a reference to no host, a wait
// without a deadline, a verb without what it needs.
func (s Scenario) Validate() error {
	if s.Name == "" || len(s.Hosts) == 0 || !s.VIP.IsValid() {
		return errors.New("scenario: name, hosts and VIP are needed")
	}
	for i, step := range s.Steps {
		if err := s.validateStep(step); err != nil {
			return fmt.Errorf("scenario %s: step %d (%s): %w", s.Name, i+1, step.Do, err)
		}
	}
	return nil
}

func (s Scenario) validateStep(step Step) error {
	if step.Host != "" && !s.has(step.Host) {
		return fmt.Errorf("there is no host %q", step.Host)
	}
	if step.Peer != "" && !s.has(step.Peer) {
		return fmt.Errorf("there is no host %q", step.Peer)
	}
	switch step.Do {
	case Start, MarkReady:
		return nil
	case Stop, Kill, Freeze, Thaw, KillWorker, FreezeWorker, KillGuardian, EndService, HangService, BreakService, FlushRules, Assign, Fill, PowerOff, Unplug, Plug, Allow, Wipe, Lead, Handover, StandbyOn, StandbyOff, TakeOver:
		return need(step.Host != "", "a host")
	case Forge:
		return need(step.Host != "" && step.For > 0, "a host and a length")
	case Cut, Join:
		return need(step.Host != "" && step.Peer != "", "a host and a peer")
	case Drop:
		known := []Traffic{VRRPAdverts, MeshTraffic, WitnessTraffic, IPTraffic, ARPTraffic, AllTraffic}
		return need(step.Host != "" && slices.Contains(known, step.Traffic), "a host and a known kind of traffic")
	case Await:
		known := []Event{Answers, Alone, Serves, Silent, Ended}
		return need(step.Host != "" && step.Within > 0 && slices.Contains(known, step.Event), "a host, a known event and a deadline")
	case Hold, Phase:
		return need(step.For > 0, "a length")
	}
	return errors.New("unknown verb")
}

func need(ok bool, what string) error {
	if ok {
		return nil
	}
	return errors.New("needs " + what)
}

func (s Scenario) has(host string) bool {
	return slices.ContainsFunc(s.Hosts, func(h Host) bool { return h.Name == host })
}

// Named returns the hosts with the given role, in the order they are declared.
func (s Scenario) Named(role Role) []Host {
	var hosts []Host
	for _, h := range s.Hosts {
		if h.Role == role {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
