package lvs

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// MaxWeight is the greatest weight of a destination.
const MaxWeight = 65535

// Config is what is to be balanced.
type Config struct {
	Servers  []VirtualServer
	Timeouts Timeouts
	Sync     *Sync // nil: no sync daemon
	Flush    bool  // services of others are deleted at the start
	OnStop   OnStop
	// InitNotifies runs notify_up also for a server that is up from the start.
	InitNotifies bool
	// Overrides are what an operator has said in a former run.
	Overrides []StoredOverride
}

// Sync is a sync daemon that follows an instance.
type Sync struct {
	Daemon   Daemon
	Instance string // MASTER: role Master, otherwise Backup; empty: both roles always
}

// OnStop is what becomes of the table at the end.
type OnStop uint8

// The choices of OnStop.
const (
	DeleteEach     OnStop = iota // each destination of ours, then each service
	DeleteServices               // each service of ours with its destinations
	FlushAll                     // everything, services of others too
)

// VirtualServer is real servers and the services that they share.
type VirtualServer struct {
	Name       string // its own in the configuration
	Keys       []ServiceKey
	Group      bool    // Keys are a group: with NAT, port 0 of a server is any port
	Service    Service // what all of them are besides their keys
	Reals      []RealServer
	Sorry      *Sorry // nil: none
	Quorum     int    // weight of live servers that is needed
	Omega      bool   // scripts are told at the end that everything is down
	Follows    bool   // ha_suspend: checks rest while none of the addresses is on this host
	Hysteresis int    // quorum is lost below Quorum - Hysteresis, gained at Quorum + Hysteresis
}

// Sorry is the server that gets connections while quorum is lost.
type Sorry struct {
	Addr       netip.AddrPort // port 0: that of the service
	Forwarding Forwarding
	Inhibit    bool // in the table with weight 0 while it is not needed
}

// RealServer is a server with what decides whether it gets connections.
type RealServer struct {
	Addr         netip.AddrPort // port 0: that of the service
	Forwarding   Forwarding
	Weight       int // 0 to MaxWeight
	Upper, Lower uint32
	Inhibit      bool          // down is weight 0, not out of the table
	SlowStart    time.Duration // until a server that came up has its full weight; 0: at once
	Checks       []Check       // up is when all are; none: always
}

// CheckID tells checks apart. Two servers with the same one share a check and its results.
type CheckID string

// Check is a check of a real server.
type Check struct {
	ID    CheckID
	Alpha bool // down until the first result
}

// validate returns why a configuration cannot be.
func (c Config) validate() error {
	names := make(map[string]bool)
	keys := make(map[ServiceKey]string)
	for _, v := range c.Servers {
		if names[v.Name] {
			return fmt.Errorf("virtual server %q: there are two of that name", v.Name)
		}
		names[v.Name] = true
		if len(v.Keys) == 0 {
			return fmt.Errorf("virtual server %q: no service", v.Name)
		}
		for _, k := range v.Keys {
			if other, twice := keys[k]; twice {
				return fmt.Errorf("virtual server %q: service %s is in %q already", v.Name, k, other)
			}
			keys[k] = v.Name
		}
		if err := v.validate(); err != nil {
			return fmt.Errorf("virtual server %q: %w", v.Name, err)
		}
	}
	return nil
}

func (v VirtualServer) validate() error {
	if v.Quorum < 0 || v.Hysteresis < 0 || v.Hysteresis > 0 && v.Hysteresis >= v.Quorum {
		return errors.New("hysteresis must be less than the quorum")
	}
	seen := make(map[netip.AddrPort]bool)
	for _, r := range v.Reals {
		switch {
		case !r.Addr.Addr().IsValid():
			return errors.New("a real server without an address")
		case seen[r.Addr]:
			return fmt.Errorf("real server %s is there twice", r.Addr)
		case r.Weight < 0 || r.Weight > MaxWeight:
			return fmt.Errorf("real server %s: weight %d is not between 0 and %d", r.Addr, r.Weight, MaxWeight)
		case r.SlowStart < 0:
			return fmt.Errorf("real server %s: slow start %s", r.Addr, r.SlowStart)
		}
		seen[r.Addr] = true
	}
	return nil
}
