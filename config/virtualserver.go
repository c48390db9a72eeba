package config

import (
	"net/netip"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// LVS is what global_defs, and the old lvs_sync_daemon_interface, say of virtual servers
// as a whole.
type LVS struct {
	Flush          bool // lvs_flush: the kernel's table is emptied at the start
	FlushOnStop    FlushOnStop
	Timeouts       LVSTimeouts
	Sync           *SyncDaemon // lvs_sync_daemon; nil: none
	LogAllFailures bool        // checker_log_all_failures: the default of log_all_failures
	InitNotifies   bool        // rs_init_notifies: notify_up is run at the start too
}

// FlushOnStop is what is done with the kernel's table when the daemon stops.
type FlushOnStop uint8

// The choices of lvs_flush_on_stop.
const (
	FlushOwn      FlushOnStop = iota // each destination and each service of ours goes (default)
	FlushServices                    // lvs_flush_on_stop VS: each service of ours, with its destinations
	FlushAll                         // lvs_flush_on_stop: the whole table
)

// LVSTimeouts is lvs_timeouts: how long IPVS keeps a connection without packets, in whole
// seconds; 0 leaves the kernel's value.
type LVSTimeouts struct {
	TCP, TCPFin, UDP time.Duration
}

// SyncDaemon is lvs_sync_daemon: IPVS tells another node of its connections.
type SyncDaemon struct {
	Interface string
	Instance  string // whose state it follows: master sends, backup receives; empty: both always
	ID        uint8  // default: the instance's virtual_router_id, or 0
	MaxLen    uint16 // of a message, in bytes; 0: the kernel's
	Port      uint16 // UDP; default 8848
	TTL       uint8  // default 1
	Group     netip.Addr
	Pos       syntax.Pos
}

// SSL is the SSL block: what SSL_GET presents and trusts. Empty fields are not used.
type SSL struct {
	Password    string // of the key
	CA          string // file
	Certificate string // file
	Key         string // file
	Pos         syntax.Pos
}

// TrackFile is a track_file: a file whose number moves a weight.
type TrackFile struct {
	Name      string
	Path      string
	Weight    int // the number is multiplied by it; default 1
	Reverse   bool
	Init      *int // init_file: written when the file does not exist; nil: never
	Overwrite bool // init_file ... overwrite: written at each start
	Pos       syntax.Pos
}

// VirtualServer is a virtual_server: one IPVS service, or one for each member of a group,
// with the real servers behind it.
type VirtualServer struct {
	Name       string        // as written: "10.0.0.1 80", "fwmark 3", "group web"
	Services   []ServiceAddr // one, or all members of the group in order; never empty
	Group      string        // of a virtual_server_group; empty: none
	Protocol   Protocol      // of services with an address
	Scheduler  string        // default wlc
	SchedFlags SchedFlags
	OnePacket  bool // ops: each UDP packet is scheduled for itself
	// Persistence sends a client to the server it had before; 0: it does not.
	Persistence time.Duration
	// Granularity is the length of the prefix by which clients are told apart; 0: the
	// whole address.
	Granularity int
	Engine      string // persistence_engine; empty: none
	Quorum      int    // weight of live servers that is needed; default 1; 0 when no server has weight
	Hysteresis  int    // below Quorum; default 0
	QuorumUp    Command
	QuorumDown  Command
	Omega       bool // notify_down and quorum_down are run when the daemon stops
	HASuspend   bool // no checks while the address of the service is not on this host
	Sorry       *SorryServer
	RealServers []RealServer // at least one
	Pos         syntax.Pos
}

// ServiceAddr is what makes one IPVS service: an address and a port, or a firewall mark.
type ServiceAddr struct {
	Addr   netip.AddrPort // zero with FWMark; port 0: all ports, with persistence
	FWMark uint32         // 0: none
	IPv6   bool           // the family of the service
}

// Protocol is the transport protocol of a service.
type Protocol uint8

// The protocols, by their numbers in IP headers.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns "TCP", "UDP" or "SCTP".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	}
	return "none"
}

// SchedFlags are the flags of a scheduler: flag-1, flag-2 and flag-3, or the names that
// sh and mh have for them.
type SchedFlags uint8

// The flags of schedulers.
const (
	SchedFlag1 SchedFlags = 1 << iota // sh-fallback, mh-fallback
	SchedFlag2                        // sh-port, mh-port
	SchedFlag3
)

// Method is how packets get to a real server.
type Method uint8

// The forwarding methods.
const (
	NAT Method = iota // masquerading (default)
	DR                // direct routing
	TUN               // tunneling
)

// String returns the method as the configuration has it.
func (m Method) String() string { return [...]string{"NAT", "DR", "TUN"}[m] }

// Tunnel is how TUN wraps packets.
type Tunnel uint8

// The tunnel types.
const (
	IPIP Tunnel = iota // default
	GUE
	GRE
)

// String returns the type as the configuration has it.
func (t Tunnel) String() string { return [...]string{"ipip", "gue", "gre"}[t] }

// Checksum is what a GUE or GRE tunnel does about checksums.
type Checksum uint8

// The choices of checksums.
const (
	NoChecksum     Checksum = iota // nocsum (default)
	WithChecksum                   // csum
	RemoteChecksum                 // remcsum; GUE only
)

// String returns the choice as the configuration has it.
func (c Checksum) String() string { return [...]string{"nocsum", "csum", "remcsum"}[c] }

// Forwarding is lvs_method, alias lb_kind.
type Forwarding struct {
	Method   Method
	Tunnel   Tunnel   // with TUN
	Port     uint16   // of GUE, UDP
	Checksum Checksum // with GUE and GRE
}

// SorryServer is a sorry_server: it gets the connections while quorum is lost.
type SorryServer struct {
	Addr       netip.AddrPort // port 0: that of the service
	Forwarding Forwarding
	Inhibit    bool // sorry_server_inhibit: it stays in the table, with weight 0, while not needed
	Pos        syntax.Pos
}

// RealServer is a real_server. It is up when all its checkers say so; without any it always is.
type RealServer struct {
	Addr           netip.AddrPort // port 0: that of the service
	Forwarding     Forwarding
	Weight         int    // 0 to 65535; default 1; 0 gets no new connections
	UpperThreshold uint32 // uthreshold: connections it gets at the most; 0: any number
	LowerThreshold uint32 // lthreshold: below this it gets new ones again
	Inhibit        bool   // inhibit_on_failure: down means weight 0, not out of the table
	// SlowStart is how long the weight takes to grow to its full value after the server
	// came up; 0: it has it at once.
	SlowStart  time.Duration
	NotifyUp   Command
	NotifyDown Command
	Checkers   []Checker
	Pos        syntax.Pos
}
