package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/solovip/solovip/lvs"
)

const (
	// answerLimit bounds one request with all its answers.
	answerLimit = 5 * time.Second
	// stopLimit is answerLimit of a sync daemon's stop, which the kernel may not answer.
	stopLimit = time.Second
	// loadLimit bounds the loading of the module.
	loadLimit = 10 * time.Second
)

// ErrNotLoaded says that the kernel has no IPVS: the module ip_vs is not there, or cannot
// be loaded from here.
var ErrNotLoaded = errors.New("the kernel has no IPVS: load the module ip_vs (modprobe ip_vs)")

// Conn is a connection to IPVS in one network namespace. It is not safe for concurrent use.
type Conn struct {
	netlink   *netlink.Conn // nil after a request without an answer: the next one dials anew
	namespace int
	family    netlink.HeaderType
}

// Config says what to connect to.
type Config struct {
	// Namespace is a file descriptor of a network namespace; 0: that of the thread.
	Namespace int
	// Modprobe is the program that loads a module; empty: modprobe.
	Modprobe string
}

// Open connects to IPVS and loads its module when it is not there. The error is
// [ErrNotLoaded] when that does not help; it may help later.
func Open(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.Modprobe == "" {
		cfg.Modprobe = "modprobe"
	}
	c := &Conn{namespace: cfg.Namespace}
	var err error
	if c.family, err = c.findFamily(); errors.Is(err, syscall.ENOENT) {
		ctx, cancel := context.WithTimeout(ctx, loadLimit)
		defer cancel()
		out, failed := exec.CommandContext(ctx, cfg.Modprobe, "ip_vs").CombinedOutput()
		if c.family, err = c.findFamily(); err != nil && failed != nil {
			err = fmt.Errorf("%w: %w: %s", ErrNotLoaded, failed, strings.TrimSpace(string(out)))
		} else if err != nil {
			err = fmt.Errorf("%w: %w", ErrNotLoaded, err)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the connection. What the kernel balances stays.
func (c *Conn) Close() {
	if c.netlink != nil {
		_ = c.netlink.Close() // nothing is pending and nothing can be done about it
		c.netlink = nil
	}
}

// findFamily asks for the number of the family IPVS.
func (c *Conn) findFamily() (netlink.HeaderType, error) {
	const (
		controller   = 0x10 // GENL_ID_CTRL
		getFamily    = 3    // CTRL_CMD_GETFAMILY
		attrFamilyID = 1
		attrName     = 2
	)
	answers, err := c.ask(controller, netlink.Request, request{getFamily, func(e *netlink.AttributeEncoder) { e.String(attrName, "IPVS") }})
	if err != nil {
		return 0, fmt.Errorf("look for IPVS: %w", err)
	}
	for _, a := range answers {
		d, err := attributes(a.Data)
		if err != nil {
			return 0, fmt.Errorf("look for IPVS: %w", err)
		}
		for d.Next() {
			if d.Type() == attrFamilyID {
				return netlink.HeaderType(d.Uint16()), nil
			}
		}
	}
	return 0, fmt.Errorf("look for IPVS: %w", errNothing)
}

// ask sends a request and returns the answers.
func (c *Conn) ask(to netlink.HeaderType, flags netlink.HeaderFlags, r request) ([]netlink.Message, error) {
	data, err := message(r.command, r.put)
	if err != nil {
		return nil, err
	}
	if c.netlink == nil {
		if c.netlink, err = netlink.Dial(syscall.NETLINK_GENERIC, &netlink.Config{NetNS: c.namespace}); err != nil {
			return nil, fmt.Errorf("open a netlink socket: %w", hint(err))
		}
	}
	limit := answerLimit
	if r.command == cmdDelDaemon {
		limit = stopLimit
	}
	if err := c.netlink.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	answers, err := c.netlink.Execute(netlink.Message{Header: netlink.Header{Type: to, Flags: flags}, Data: data})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Close() // an answer that comes late must not be taken for that of the next request
	}
	return answers, hint(err)
}

// Read lists what the kernel has. It is no snapshot: a change by others in between may be
// in it by half.
func (c *Conn) Read() (lvs.State, error) {
	state, _, err := c.read()
	return state, err
}

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

// Traffic returns how many connections each destination has.
func (c *Conn) Traffic() (map[Key]Connections, error) {
	_, traffic, err := c.read()
	return traffic, err
}

func (c *Conn) read() (lvs.State, map[Key]Connections, error) {
	state := lvs.State{Table: make(lvs.Table)}
	traffic := make(map[Key]Connections)
	services, err := c.ask(c.family, netlink.Request|netlink.Dump, request{command: cmdGetService})
	if err != nil {
		return state, nil, fmt.Errorf("list the services of IPVS: %w", err)
	}
	for _, a := range services {
		var key lvs.ServiceKey
		var e lvs.Entry
		err := nested(a.Data, attrService, func(d *netlink.AttributeDecoder) (err error) {
			key, e.Service, err = getService(d)
			return err
		})
		if err == nil {
			e.Destinations, err = c.destinations(key, traffic)
		}
		if errors.Is(err, syscall.ESRCH) {
			continue // deleted since
		}
		if err != nil {
			return state, nil, fmt.Errorf("list the services of IPVS: %w", err)
		}
		state.Table[key] = e
	}
	if err := c.daemons(&state); err != nil {
		return state, nil, fmt.Errorf("list the sync daemons of IPVS: %w", err)
	}
	if err := c.timeouts(&state); err != nil {
		return state, nil, fmt.Errorf("read the timeouts of IPVS: %w", err)
	}
	return state, traffic, nil
}

// destinations lists the destinations of a service.
func (c *Conn) destinations(key lvs.ServiceKey, traffic map[Key]Connections) ([]lvs.Destination, error) {
	answers, err := c.ask(c.family, netlink.Request|netlink.Dump, request{cmdGetDest, inService(func(e *netlink.AttributeEncoder) { putKey(e, key) })})
	if err != nil {
		return nil, err
	}
	var out []lvs.Destination
	for _, a := range answers {
		err := nested(a.Data, attrDest, func(d *netlink.AttributeDecoder) error {
			dest, connections, err := getDestination(d, key.IPv6)
			if err == nil {
				out = append(out, dest)
				traffic[Key{key, dest.Addr}] = connections
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("destinations of %s: %w", key, err)
		}
	}
	return out, nil
}

// daemons lists the sync daemons.
func (c *Conn) daemons(state *lvs.State) error {
	answers, err := c.ask(c.family, netlink.Request|netlink.Dump, request{command: cmdGetDaemon})
	if err != nil {
		return err
	}
	for _, a := range answers {
		err := nested(a.Data, attrDaemon, func(d *netlink.AttributeDecoder) error {
			role, daemon, err := getDaemon(d)
			if err == nil {
				state.Daemons[role] = &daemon
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// timeouts reads the timeouts.
func (c *Conn) timeouts(state *lvs.State) error {
	answers, err := c.ask(c.family, netlink.Request, request{command: cmdGetConfig})
	if err != nil {
		return err
	}
	for _, a := range answers {
		d, err := attributes(a.Data)
		if err != nil {
			return err
		}
		to := map[uint16]*time.Duration{
			attrTimeoutTCP: &state.Timeouts.TCP, attrTimeoutTCPFin: &state.Timeouts.TCPFin, attrTimeoutUDP: &state.Timeouts.UDP,
		}
		for d.Next() {
			if t := to[d.Type()]; t != nil {
				*t = time.Duration(d.Uint32()) * time.Second
			}
		}
		if err := d.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Apply carries steps out. When a step about a service fails, its further steps are left
// out and those of others are not. What is to be deleted and is not there is no
// error. The error names every step that failed.
func (c *Conn) Apply(steps []lvs.Step) error {
	var failed []error
	broken := make(map[lvs.ServiceKey]bool)
	for _, s := range steps {
		key, of := lvs.ServiceOf(s)
		if of && broken[key] {
			continue
		}
		if err := c.carryOut(s); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s, err))
			broken[key] = of
		}
	}
	return errors.Join(failed...)
}

func (c *Conn) carryOut(s lvs.Step) error {
	for _, r := range requests(s) {
		_, err := c.ask(c.family, netlink.Request|netlink.Acknowledge, r)
		if set, ok := s.(lvs.SetDaemon); ok && r.command == cmdDelDaemon && errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.stopped(set.Role)
		}
		switch r.command {
		case cmdDelService, cmdDelDest, cmdDelDaemon:
			if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOENT) {
				err = nil
			}
		case cmdNewService, cmdSetService:
			if errors.Is(err, syscall.ENOENT) {
				err = fmt.Errorf("%w: the kernel has no such scheduler or persistence engine (modules ip_vs_NAME, ip_vs_pe_NAME)", err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stopped looks whether a sync daemon is gone whose stop the kernel did not answer. It
// never answers when the daemon's thread had not begun to run yet: the thread then ends
// with EINTR, which netlink takes for the beginning of a dump.
func (c *Conn) stopped(role lvs.Role) error {
	var state lvs.State
	if err := c.daemons(&state); err != nil {
		return err
	}
	if state.Daemons[role] != nil {
		return fmt.Errorf("sync daemon %s does not stop: %w", role, os.ErrDeadlineExceeded)
	}
	return nil
}

// hint adds the remedy to an error where there is one.
func hint(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: CAP_NET_ADMIN is missing", err)
	}
	return err
}
