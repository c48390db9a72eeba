package scenario

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// System is a system under test: solovip in one of its modes, or keepalived.
type System string

// The systems that the lab can run.
const (
	Lease      System = "lease"      // solovip with a witness
	Quorum     System = "quorum"     // solovip with a third voter, which is a witness without an etcd
	Veto       System = "veto"       // solovip with a cluster of two and no third member
	VRRP       System = "vrrp"       // solovip on a plain keepalived.conf
	Keepalived System = "keepalived" // keepalived, of the distribution
)

// Systems returns all systems that the lab can run.
func Systems() []System { return []System{Lease, Quorum, Veto, VRRP, Keepalived} }

// Solovip reports whether the system is solovip, in whatever mode.
func (s System) Solovip() bool { return s != Keepalived }

// Clustered reports whether the system has a cluster block, and so a mesh.
func (s System) Clustered() bool { return s == Lease || s == Quorum || s == Veto }

// Permits reports whether the system holds only by permission, and so never twice.
func (s System) Permits() bool { return s == Lease || s == Quorum }

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
	Server  Role = "server"  // a real server: answers at its own address as the guarded service does
	Client  Role = "client"  // asks for the VIP; runs no daemon
)

// Host is a machine of the lab: a network namespace with an interface on the switch.
type Host struct {
	Name     string     `json:"name"`
	Role     Role       `json:"role"`
	Addr     netip.Addr `json:"addr"`
	Priority uint8      `json:"priority,omitempty"` // nodes only: the VRRP priority
	Second   netip.Addr `json:"second,omitzero"`    // on the second network; zero: it has no interface there
}

// Claim is what the nodes compete for: an instance with one virtual address.
type Claim struct {
	Name    string       `json:"name"`
	VIP     netip.Prefix `json:"vip"`               // in the hosts' first network or in the second
	Prefers string       `json:"prefers,omitempty"` // the node that changes priorities with the highest; empty: none
	Extra   int          `json:"extra,omitempty"`   // how many addresses more it has
}

// Setting is one line of configuration that differs from what the lab writes by itself:
// in its block it takes the place of the line with the same keyword, or is added.
type Setting struct {
	Systems []System `json:"systems,omitempty"` // empty: all that have the block
	Nodes   []string `json:"nodes,omitempty"`   // empty: all
	Block   string   `json:"block"`             // one of Blocks, or a claim's name
	Line    string   `json:"line"`
}

// The blocks of settings. InstanceBlock is the block of each claim, LastBlock no block:
// its lines stand at the end of the file.
const (
	GlobalBlock   = "global"
	InstanceBlock = "instance"
	ClusterBlock  = "cluster"
	WitnessBlock  = "witness"
	FencingBlock  = "fencing"
	GuardBlock    = "guard"
	LastBlock     = "line"
)

// Blocks returns the names of the blocks that settings may be of.
func Blocks() []string {
	return []string{GlobalBlock, InstanceBlock, ClusterBlock, WitnessBlock, FencingBlock, GuardBlock, LastBlock}
}

// On reports whether the setting is meant for a node that runs a system.
func (s Setting) On(system System, node string) bool {
	return (len(s.Systems) == 0 || slices.Contains(s.Systems, system)) &&
		(len(s.Nodes) == 0 || slices.Contains(s.Nodes, node))
}

// Keyword returns the first word of the setting's line.
func (s Setting) Keyword() string {
	for keyword := range strings.FieldsSeq(s.Line) {
		return keyword
	}
	return ""
}

// File is the whole configuration of one node that runs one system.
type File struct {
	System System `json:"system"`
	Node   string `json:"node"`
	Text   string `json:"text"` // with %NAME%s, which the lab replaces
}

// Scenario is a story told to a system under test, and what is expected to come of it.
type Scenario struct {
	Name     string    `json:"name"`
	Text     string    `json:"text"` // one line, for lists
	Hosts    []Host    `json:"hosts"`
	Claims   []Claim   `json:"claims"`          // the guarded service belongs to the first one
	Group    string    `json:"group,omitempty"` // the sync group of all claims; empty: none
	Web      bool      `json:"web,omitempty"`   // the guarded service is a real nginx, which answers HTTP alone
	Begin    System    `json:"begin,omitempty"` // what the nodes run until a step installs another; empty: the system under test
	Settings []Setting `json:"settings,omitempty"`
	Files    []File    `json:"files,omitempty"`
	Steps    []Step    `json:"steps"`
	// Expect says what a system has to show; one that is missing is not run.
	Expect map[System]verify.Expect `json:"expect"`
}

// FirstLink and SecondLink are the names of a host's interfaces on the two networks.
const (
	FirstLink  = "eth0"
	SecondLink = "eth1"
)

// Link returns the interface that a claim's VIP is on: that in whose network it is.
func (s Scenario) Link(c Claim) string {
	for _, h := range s.Hosts {
		if h.Second.IsValid() && c.VIP.Masked().Contains(h.Second) {
			return SecondLink
		}
	}
	return FirstLink
}

// Sets reports whether some node has a setting of the block that begins with a text.
func (s Scenario) Sets(block, text string) bool {
	return slices.ContainsFunc(s.Settings, func(set Setting) bool { return set.Block == block && strings.HasPrefix(set.Line, text) })
}

// MovesClock reports whether a step moves the wall clock: then it is played in a machine of its own.
func (s Scenario) MovesClock() bool {
	return slices.ContainsFunc(s.Steps, func(step Step) bool { return step.Do == Clock })
}

// VIP returns the address of the first claim.
func (s Scenario) VIP() netip.Prefix { return s.Claims[0].VIP }

// On reports whether the scenario can be run on a system.
func (s Scenario) On(system System) bool {
	_, ok := s.Expect[system]
	return ok
}

// AdvertInterval returns the nodes' advert_int: what is set for all, or else a second.
func (s Scenario) AdvertInterval() time.Duration {
	for _, set := range s.Settings {
		seconds, ok := strings.CutPrefix(set.Line, "advert_int ")
		value, err := strconv.ParseFloat(seconds, 64)
		if ok && err == nil && set.Block == InstanceBlock && len(set.Systems)+len(set.Nodes) == 0 {
			return time.Duration(value * float64(time.Second))
		}
	}
	return time.Second
}

// Priority returns the VRRP priority of a node for a claim.
func (s Scenario) Priority(claim Claim, node Host) uint8 {
	highest := node
	preferred := node
	for _, h := range s.Named(Node) {
		if h.Priority > highest.Priority {
			highest = h
		}
		if h.Name == claim.Prefers {
			preferred = h
		}
	}
	switch {
	case claim.Prefers == "":
		return node.Priority
	case node.Name == preferred.Name:
		return highest.Priority
	case node.Name == highest.Name:
		return preferred.Priority
	}
	return node.Priority
}

// File returns the whole configuration of a node, if the scenario has one.
func (s Scenario) File(system System, node string) (text string, ok bool) {
	for _, f := range s.Files {
		if f.System == system && f.Node == node {
			return f.Text, true
		}
	}
	return "", false
}

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

// host returns the host of that name.
func (s Scenario) host(name string) (Host, bool) {
	for _, h := range s.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}
