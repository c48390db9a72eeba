package ipvs

import (
	"fmt"
	"net/netip"

	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lvs"
)

// Connections is how many connections a destination has.
type Connections struct {
	Active     uint32 // established
	Inactive   uint32 // of any other state
	Persistent uint32 // templates of persistence
}

// Key tells destinations of all services apart.
type Key struct {
	Service lvs.ServiceKey
	Addr    netip.AddrPort
}

// Read lists what the kernel has. It is no snapshot: a change by others in between may be
// in it by half.
func (c *Conn) Read() (lvs.State, error) {
	table, _, err := c.table()
	if err != nil {
		return lvs.State{Table: make(lvs.Table)}, err
	}
	state := lvs.State{Table: table}
	if state.Daemons, err = c.daemons(); err != nil {
		return state, fmt.Errorf("list the sync daemons of IPVS: %w", err)
	}
	if state.Timeouts, err = c.timeouts(); err != nil {
		return state, fmt.Errorf("read the timeouts of IPVS: %w", err)
	}
	return state, nil
}

// Traffic returns how many connections each destination has.
func (c *Conn) Traffic() (map[Key]Connections, error) {
	_, traffic, err := c.table()
	return traffic, err
}

// table lists the services and their destinations.
func (c *Conn) table() (lvs.Table, map[Key]Connections, error) {
	var services []*moby.Service
	err := c.by(answerLimit, func(h *moby.Handle) (err error) {
		services, err = h.GetServices()
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the services of IPVS: %w", err)
	}
	table := make(lvs.Table)
	traffic := make(map[Key]Connections)
	for _, s := range services {
		key, service, err := fromService(s)
		if err != nil {
			return nil, nil, fmt.Errorf("list the services of IPVS: %w", err)
		}
		if service.Persistence != 0 { // without, an engine has no meaning
			if service.Engine, err = c.engine(key); err != nil {
				return nil, nil, fmt.Errorf("read service %s of IPVS: %w", key, err)
			}
		}
		e := lvs.Entry{Service: service}
		if e.Destinations, err = c.destinations(key, s, traffic); err != nil {
			return nil, nil, fmt.Errorf("list the destinations of %s: %w", key, err)
		}
		table[key] = e
	}
	return table, traffic, nil
}

// destinations lists the destinations of a service.
func (c *Conn) destinations(key lvs.ServiceKey, of *moby.Service, traffic map[Key]Connections) ([]lvs.Destination, error) {
	var found []*moby.Destination
	err := c.by(answerLimit, func(h *moby.Handle) (err error) {
		found, err = h.GetDestinations(of)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []lvs.Destination
	more := of.Flags&flagPersistent != 0
	for _, f := range found {
		d, connections, err := fromDestination(f)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
		traffic[Key{key, d.Addr}] = connections
		more = more || d.Forwarding.Method == lvs.TUN
	}
	if !more {
		return out, nil
	}
	rests, err := c.rests(key)
	if err != nil {
		return nil, err
	}
	for i := range out {
		r, there := rests[out[i].Addr]
		if f := &out[i].Forwarding; f.Method == lvs.TUN && there { // it may be deleted since
			*f = r.tunnel
		}
		at := Key{key, out[i].Addr}
		connections := traffic[at]
		connections.Persistent = r.persistent
		traffic[at] = connections
	}
	return out, nil
}

// engine returns the persistence engine of a service, which moby/ipvs does not read. One that
// was deleted since has none.
func (c *Conn) engine(key lvs.ServiceKey) (string, error) {
	answers, err := c.ask(0, request{cmdGetService, []*nl.RtAttr{keyAttr(key)}})
	if err != nil {
		return "", gone(err)
	}
	if len(answers) == 0 {
		return "", errNothing
	}
	s, err := nested(answers[0], attrService)
	if err != nil {
		return "", err
	}
	return unix.ByteSliceToString(s[svcEngine]), nil
}

// rests returns of the destinations of a service what moby/ipvs does not read.
func (c *Conn) rests(key lvs.ServiceKey) (map[netip.AddrPort]rest, error) {
	answers, err := c.ask(unix.NLM_F_DUMP, request{cmdGetDest, []*nl.RtAttr{keyAttr(key)}})
	if err != nil {
		return nil, err
	}
	out := make(map[netip.AddrPort]rest)
	for _, a := range answers {
		d, err := nested(a, attrDest)
		if err != nil {
			return nil, err
		}
		addr, r, err := getRest(d)
		if err != nil {
			return nil, err
		}
		out[addr] = r
	}
	return out, nil
}

// daemons lists the sync daemons.
func (c *Conn) daemons() (out [2]*lvs.Daemon, err error) {
	answers, err := c.ask(unix.NLM_F_DUMP, request{command: cmdGetDaemon})
	if err != nil {
		return out, err
	}
	for _, a := range answers {
		attrs, err := nested(a, attrDaemon)
		if err != nil {
			return out, err
		}
		role, daemon, err := getDaemon(attrs)
		if err != nil {
			return out, err
		}
		out[role] = &daemon
	}
	return out, nil
}

// timeouts reads the timeouts.
func (c *Conn) timeouts() (out lvs.Timeouts, err error) {
	err = c.by(answerLimit, func(h *moby.Handle) error {
		cfg, err := h.GetConfig()
		if err == nil {
			out = lvs.Timeouts{TCP: cfg.TimeoutTCP, TCPFin: cfg.TimeoutTCPFin, UDP: cfg.TimeoutUDP}
		}
		return err
	})
	return out, err
}
