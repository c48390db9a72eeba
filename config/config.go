package config

import (
	"net/netip"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// Config is everything a configuration says, checked and with defaults filled in.
type Config struct {
	Global     Global
	Scripts    []Script
	Instances  []Instance
	SyncGroups []SyncGroup
	LVS        LVS
	SSL        SSL // the SSL block; zero: there is none
	TrackFiles []TrackFile
	// VirtualServers are in the order they are written.
	VirtualServers []VirtualServer
	Cluster        *Cluster // nil: plain keepalived.conf, mode vrrp
	Witness        *Witness // nil: no etcd witness
	Guards         []Guard
	Fencing        Fencing
}

// Global is global_defs: what applies to the whole daemon.
type Global struct {
	RouterID     string     // router_id; default: the host's name
	ScriptUser   string     // script_user, "user[:group]"; empty: the daemon's own
	Version      int        // vrrp_version: 2 (default) or 3
	McastGroup   netip.Addr // vrrp_mcast_group4; default 224.0.0.18
	McastGroup6  netip.Addr // vrrp_mcast_group6; default ff02::12
	DefaultIface string     // default_interface; keepalived's default is eth0
	StartupDelay time.Duration
}

// Script is a vrrp_script: a command run at intervals whose exit status moves a priority.
type Script struct {
	Name     string
	Command  Command
	Interval time.Duration // default 1 s
	Timeout  time.Duration // default: Interval
	Weight   int           // -253..253; 0: failure is FAULT
	Reverse  bool          // weight W reverse
	Rise     int           // successes in a row until up; default 1
	Fall     int           // failures in a row until down; default 1
	User     string        // "user[:group]"; empty: Global.ScriptUser
	InitFail bool          // init_fail: starts as failed
	Pos      syntax.Pos
}

// Command is a command line as keepalived splits it: no shell, unless the text
// needs one (see the keyword reference).
type Command struct {
	Args []string // Args[0] is the program; empty: no command
	Text string   // as written, for logs
	User string   // "user[:group]" behind a notify command; empty: Global.ScriptUser
	Pos  syntax.Pos
}

// Instance is a vrrp_instance.
type Instance struct {
	Name         string
	State        string // "MASTER" or "BACKUP": the initial wish
	Interface    string
	VRID         uint8
	Priority     uint8         // default 100; 255: address owner
	AdvertInt    time.Duration // default 1 s
	Version      int           // 2 or 3
	NoPreempt    bool
	PreemptDelay time.Duration
	AuthPass     string     // authentication PASS, at most 8 bytes; empty: none
	UnicastSrc   netip.Addr // unicast_src_ip; zero: the interface's primary address
	UnicastPeers []netip.Addr
	McastSrc     netip.Addr
	McastGroup   netip.Addr
	Addresses    []Address // virtual_ipaddress, in order; the first goes first in the advert
	Excluded     []Address // virtual_ipaddress_excluded: held, not advertised
	TrackScripts []Track
	TrackIfaces  []Track
	NoTrackLink  bool // dont_track_primary
	Notify       Notify
	GARP         GARP
	DownAdverts  int // adverts missed before take-over; default 3
	SkipAddrs    bool
	Pos          syntax.Pos
}

// Address is one entry of virtual_ipaddress.
type Address struct {
	Prefix    netip.Prefix // a bare IPv4 address is /32
	Interface string       // dev; default: the instance's interface
	Label     string       // label; at most 15 bytes
	Broadcast netip.Addr   // brd; zero: none
	Scope     string       // scope: global (default), site, link, host, nowhere or a number
	Pos       syntax.Pos
}

// Track is one entry of track_script or track_interface.
type Track struct {
	Name      string
	Weight    int
	Reverse   bool
	HasWeight bool // weight written here: it outranks the script's own
	Pos       syntax.Pos
}

// Notify holds the notify scripts of an instance or a sync group.
type Notify struct {
	Master, Backup, Fault, Stop Command
	Any                         Command // notify: gets INSTANCE|GROUP name STATE priority
}

// GARP says when and how often gratuitous ARP goes out.
type GARP struct {
	Delay           time.Duration // second burst after MASTER; default 5 s; 0: none
	Repeat          int           // per burst; default 5
	LowerPrioDelay  time.Duration // default: Delay
	LowerPrioRepeat int           // default: Repeat
	Refresh         time.Duration // 0: none
	RefreshRepeat   int           // default 1
	Interval        time.Duration // between two on one interface; 0: none
}

// SyncGroup is a vrrp_sync_group: instances that move together.
type SyncGroup struct {
	Name      string
	Instances []string
	Notify    Notify
	Pos       syntax.Pos
}

// Cluster names the nodes that share the claims.
type Cluster struct {
	Name      string
	Nodes     []Member
	Witnesses []Member // mesh-only, or with a Witness also etcd
	MeshPort  uint16   // default 7946
	KeyFile   string
	Insecure  bool // insecure on: no mesh encryption; shown in every status
	Pos       syntax.Pos
}

// Member is a host of a cluster.
type Member struct {
	Name string
	Addr netip.Addr
	Pos  syntax.Pos
}

// Witness is the etcd that grants leases.
type Witness struct {
	Endpoints   []string // http:// or https:// URLs
	CAFile      string
	CertFile    string
	CertKeyFile string
	Timing      Timing
	Pos         syntax.Pos
}

// Timing is the witness block's timing: a name, or three numbers.
type Timing struct {
	Name              string        // "auto" (default), "fast", "wan" or "custom"
	Renew, Hold, Wait time.Duration // custom only
	Pos               syntax.Pos
}

// Isolation is what a node in veto mode does when no path shows any peer.
type Isolation uint8

// The choices of on_isolation.
const (
	IsolationClaim Isolation = iota + 1 // take the claim, as plain VRRP would (default)
	IsolationHold                       // take nothing new; keep what is held
	IsolationFence                      // take after a fence agent has confirmed
)

// Gate is what silences an address in time when nobody can take it off.
type Gate uint8

// The choices of gate.
const (
	GateOn       Gate = iota // nftables (default)
	GateLifetime             // the address's lifetime alone, which is later
	GateOff                  // nothing: refused where permission has a deadline
)

// Permits reports whether a node of this configuration holds by permission with a
// deadline: in the modes lease and quorum.
func (c *Config) Permits() bool {
	return c.Cluster != nil && (c.Witness != nil || len(c.Cluster.Nodes)+len(c.Cluster.Witnesses) >= 3)
}

// Fencing is the fencing block.
type Fencing struct {
	OnIsolation Isolation
	Gate        Gate
	Reference   netip.Addr
	Watchdog    Watchdog
	ClearAfter  time.Duration // default 30 s; 0: manual
	Agents      []Agent
	Pos         syntax.Pos
}

// Watchdog is what a node does about a hardware watchdog.
type Watchdog struct {
	Mode   WatchdogMode
	Device string // empty: off
}

// WatchdogMode says how much a watchdog matters. The zero mode has none.
type WatchdogMode uint8

// The modes of a watchdog.
const (
	WatchdogOff WatchdogMode = iota
	WatchdogPreferred
	WatchdogRequired
)

// Agent is a fence agent: a program that switches another node off, and what it is told.
type Agent struct {
	Name       string        // of the program, for instance fence_ipmilan
	Node       string        // whom it switches off; empty: whichever node is not this one
	Reboot     bool          // it is switched on again, once it was shown to be off
	Delay      time.Duration // the head start of the node that shoots first
	Timeout    time.Duration // of each call
	Verify     time.Duration // how long its status may take to say off
	Retries    int           // how often it is tried again
	Parameters []Parameter   // handed to it as they are
	Pos        syntax.Pos
}

// Parameter is one key=value that an agent reads from its standard input.
type Parameter struct {
	Key, Value string
}

// Host finds which member of the cluster has one of the given addresses.
// It returns the member, whether it is a witness, and whether there is one.
func (c *Cluster) Host(addrs []netip.Addr) (m Member, witness, ok bool) {
	for _, a := range addrs {
		for _, n := range c.Nodes {
			if n.Addr == a.Unmap() {
				return n, false, true
			}
		}
		for _, n := range c.Witnesses {
			if n.Addr == a.Unmap() {
				return n, true, true
			}
		}
	}
	return Member{}, false, false
}
