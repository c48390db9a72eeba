package scenario

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

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

	KillWorker   Verb = "kill-worker"   // SIGKILL for the one process of Host's daemon that does the work
	FreezeWorker Verb = "freeze-worker" // SIGSTOP for it
	KillGuardian Verb = "kill-guardian" // SIGKILL for the process that keeps the worker running
	EndService   Verb = "kill-service"  // SIGKILL for Host's guarded service, and nothing else
	HangService  Verb = "hang-service"  // SIGSTOP for Host's guarded service, which then answers nobody
	FlushRules   Verb = "flush-rules"   // somebody removes all rules of Host's nftables
	BreakService Verb = "break-service" // the service of Host cannot be started again
	Assign       Verb = "assign"        // somebody puts the VIP on Host by hand
	Fill         Verb = "fill-disk"     // nothing more can be stored where Host's daemon keeps what outlives a restart

	PowerOff  Verb = "power-off" // Host's link down and every process killed, at the same instant
	Unplug    Verb = "unplug"    // Host's port loses its carrier
	Plug      Verb = "plug"      // the carrier comes back
	Cut       Verb = "cut"       // the switch no longer carries anything between Host and Peer
	Join      Verb = "join"      // it does again
	Block     Verb = "block"     // the switch no longer carries Traffic between Host and Peer, seen from Host in the direction Way
	Unblock   Verb = "unblock"   // it does again: every Block between the two ends
	Drop      Verb = "drop"      // Host's own firewall drops Traffic, in the direction Way
	Allow     Verb = "allow"     // every Drop on Host ends
	LinkDown  Verb = "link-down" // Host's own end of its cable is set down, as by ip link set down
	LinkUp    Verb = "link-up"   // it is set up again
	Flap      Verb = "flap"      // Host's port loses its carrier and gets it back, again and again for the time For
	SlowDisk  Verb = "slow-disk" // what Host's daemon writes takes so much longer to be on disk as For says
	MendDisk  Verb = "mend-disk" // no longer
	Load      Verb = "load"      // Host asks the service at the VIP on new connections, as often as it can, for the time For; what follows goes on beside it
	Wipe      Verb = "wipe"      // remove what Host's daemon, which has ended, keeps over restarts
	Forge     Verb = "forge"     // Host sends adverts of the highest priority, one each 100 ms, for the time For
	Lead      Verb = "lead"      // make Host the leader of the etcd
	Await     Verb = "await"     // wait until Event is seen, for an unbroken time For, at most Within
	Clock     Verb = "clock"     // the wall clock of all hosts, which share one, jumps by For
	MarkReady Verb = "ready"     // from here on, silence counts
	Hold      Verb = "hold"      // let the fault last For
	Phase     Verb = "phase"     // wait at most For, drawn from the run's seed: what follows meets daemons in any phase

	Handover   Verb = "handover"    // an operator on Host: give the claim to Peer, or to whom the node chooses
	StandbyOn  Verb = "standby-on"  // an operator on Host: give away what it holds and take nothing
	StandbyOff Verb = "standby-off" // end that
	FenceNow   Verb = "fence-now"   // an operator on Host: let go of the claim by force
	FenceClear Verb = "fence-clear" // let Host take part again
	Edit       Verb = "edit"        // an operator replaces Old by New in Host's configuration
	Reload     Verb = "reload"      // Host's daemon reads its configuration again (SIGHUP)
	Install    Verb = "install"     // Host gets the program and the configuration of System, for its next start
	TakeOver   Verb = "take-over"   // start the daemon's program anew, as after an upgrade, and keep what it holds
)

// Traffic is what a Drop or Block step stops.
type Traffic string

// The kinds of traffic.
const (
	VRRPAdverts    Traffic = "vrrp"    // IP protocol 112
	MeshTraffic    Traffic = "mesh"    // the mesh port, UDP and TCP
	WitnessTraffic Traffic = "witness" // the witness's port
	IPTraffic      Traffic = "ip"      // every IP packet except on loopback
	ARPTraffic     Traffic = "arp"     // every ARP packet
	AllTraffic     Traffic = "all"     // IP and ARP
	// UnaskedTraffic is IP that comes in and was not asked for, as firewalld rejects it in its
	// default zone: all but answers, ping, SSH and, as one would have opened that, the guarded
	// service. Drop only, and coming in.
	UnaskedTraffic Traffic = "unasked"
)

// Way is a direction.
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
	Peer    string        `json:"peer,omitempty"`    // Cut, Join, Block, Unblock; Drop: only traffic from or to it; Handover: to it
	Traffic Traffic       `json:"traffic,omitempty"` // Drop, Block
	Way     Way           `json:"way,omitempty"`     // Drop, Block
	Event   Event         `json:"event,omitempty"`   // Await
	For     time.Duration `json:"for_ns,omitempty"`  // Await, Hold, Phase, Forge; Clock: back, when negative
	Within  time.Duration `json:"within_ns,omitempty"`
	Free    bool          `json:"free,omitempty"`    // Hold: any longer time would do as well, see Lasting
	Percent int           `json:"percent,omitempty"` // Drop: how much of it, at random; 0: all
	Link    string        `json:"link,omitempty"`    // Unplug, Plug, LinkDown, LinkUp, Flap: one of Host's interfaces; empty: all
	Claim   string        `json:"claim,omitempty"`   // Await, Handover, FenceNow: about which; empty: the first
	Old     string        `json:"old,omitempty"`     // Edit
	New     string        `json:"new,omitempty"`     // Edit
	System  System        `json:"system,omitempty"`  // Install; empty: the system under test
}

// begin returns how scenarios begin: daemons started and the host holding, and then any
// phase of what the daemons do periodically.
func begin(host string) []Step {
	return []Step{
		{Do: Start},
		{Do: Await, Event: Serves, Host: host, For: 2 * time.Second, Within: 30 * time.Second},
		{Do: MarkReady},
		{Do: Phase, For: time.Second},
	}
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
	case KillWorker:
		return "kill the worker of " + s.Host
	case FreezeWorker:
		return "freeze the worker of " + s.Host
	case KillGuardian:
		return "kill the guardian of " + s.Host
	case Fill:
		return "fill the disk of " + s.Host
	case PowerOff:
		return "power off " + s.Host
	case Unplug, Plug, LinkDown, LinkUp, Flap:
		return s.cable()
	case SlowDisk, MendDisk, Load, Edit, Reload, Install:
		return s.upkeep()
	case Cut, Join:
		return fmt.Sprintf("%s %s and %s at the switch", s.Do, s.Host, s.Peer)
	case Block, Unblock:
		return s.block()
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
	case Handover, StandbyOn, StandbyOff, TakeOver, FenceNow, FenceClear:
		return s.order()
	case Clock:
		if s.For < 0 {
			return "the wall clock of all hosts jumps back by " + duration(-s.For)
		}
		return "the wall clock of all hosts jumps forward by " + duration(s.For)
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
	text := map[Verb]string{
		Handover: "handover", StandbyOn: "standby on", StandbyOff: "standby off", TakeOver: "node --take-over",
		FenceNow: "fence now", FenceClear: "fence clear",
	}[s.Do]
	text = fmt.Sprintf("on %s: solovip %s", s.Host, text)
	if s.Claim != "" {
		text += " " + s.Claim
	}
	if s.Peer != "" {
		text += " --to " + s.Peer
	}
	return text
}

func (t Traffic) words() string {
	return map[Traffic]string{
		VRRPAdverts: "VRRP", MeshTraffic: "the mesh", WitnessTraffic: "witness traffic",
		IPTraffic: "all IP", ARPTraffic: "ARP", AllTraffic: "everything", UnaskedTraffic: "what comes in unasked",
	}[t]
}

func (s Step) drop() string {
	if s.Traffic == UnaskedTraffic {
		return s.Host + "'s firewall starts with default rules: it rejects what comes in unasked"
	}
	share := ""
	if s.Percent > 0 {
		share = fmt.Sprintf("%d %% of ", s.Percent)
	}
	text := fmt.Sprintf("%s's firewall drops %s%s", s.Host, share, s.Traffic.words())
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

func (s Step) block() string {
	if s.Do == Unblock {
		return fmt.Sprintf("the switch carries everything between %s and %s again", s.Host, s.Peer)
	}
	text := "the switch drops " + s.Traffic.words()
	switch s.Way {
	case In:
		return fmt.Sprintf("%s from %s to %s", text, s.Peer, s.Host)
	case Out:
		return fmt.Sprintf("%s from %s to %s", text, s.Host, s.Peer)
	case Both:
	}
	return fmt.Sprintf("%s between %s and %s", text, s.Host, s.Peer)
}

// cable returns what happens to a cable in words.
func (s Step) cable() string {
	host := s.Host
	if s.Link != "" {
		host += " (" + s.Link + ")"
	}
	if s.Do == Flap {
		return fmt.Sprintf("the cable of %s is loose for %v", host, s.For)
	}
	return fmt.Sprintf(map[Verb]string{
		Unplug: "unplug the cable of %s", Plug: "plug the cable of %s",
		LinkDown: "set the interface of %s down", LinkUp: "set the interface of %s up",
	}[s.Do], host)
}

// upkeep returns what is done to a daemon's configuration, or to what it runs on, in words.
func (s Step) upkeep() string {
	return map[Verb]string{
		SlowDisk: fmt.Sprintf("the disk of %s takes %v longer for each write", s.Host, s.For),
		MendDisk: "the disk of " + s.Host + " is as fast as before",
		Load:     fmt.Sprintf("%s asks the service as often as it can for %v", s.Host, s.For),
		Edit:     fmt.Sprintf("on %s: %q in the configuration becomes %q", s.Host, s.Old, s.New),
		Reload:   "on " + s.Host + ": reload the configuration",
		Install:  fmt.Sprintf("install %s on %s", cmp.Or(string(s.System), "the system under test"), s.Host),
	}[s.Do]
}

func (s Step) event() string {
	text := map[Event]string{
		Answers: s.Host + " answers for the VIP",
		Alone:   s.Host + " alone answers for the VIP",
		Serves:  s.Host + " alone answers for the VIP, and its service does",
		Silent:  s.Host + " no longer answers for the VIP",
		Ended:   "the daemon on " + s.Host + " has ended",
	}[s.Event]
	if s.Claim != "" {
		text = strings.Replace(text, "the VIP", "the VIP of "+s.Claim, 1)
	}
	if s.For > 0 {
		text += " for " + s.For.String()
	}
	return text
}

// Missed returns what to say when an Await step saw nothing within its deadline.
func (s Step) Missed() string {
	return fmt.Sprintf("waited %v in vain: %s", s.Within, s.event())
}
