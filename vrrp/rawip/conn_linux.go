package rawip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/vrrp/vip"
)

// internetworkControl is the type of service of routing traffic (IP precedence 6), with
// which switches send adverts first. keepalived marks its adverts so, too.
const internetworkControl = 0xc0

// Conn sends and receives the adverts of one instance. Send and Receive may be called at
// the same time, Receive by one goroutine only.
//
// A Conn outlives its interface going down and up, but not its removal: one that is made
// again has a new index, and adverts reach it only by a new Conn.
type Conn struct {
	config Config
	index  int // of the interface; 0: any
	socket net.PacketConn
	raw    syscall.RawConn  // the same socket, for sending
	packet *ipv4.PacketConn // the same socket, for receiving
	source []byte           // control message that makes the kernel send from Source
	buffer []byte           // of Receive
}

// Open opens the socket. It needs CAP_NET_RAW. The error wraps ErrInterface when the
// interface is missing or down or lacks the source address; others are final.
func Open(config Config) (*Conn, error) {
	c, err := open(config)
	if err != nil {
		return nil, fmt.Errorf("open vrrp socket (interface %q, vrid %d): %w", config.Interface, config.VRID, err)
	}
	return c, nil
}

func open(config Config) (*Conn, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	iface, err := lookUp(config.Interface)
	if err != nil {
		return nil, err
	}
	if !config.Source.IsValid() {
		if config.Source, err = vip.PrimaryIPv4(config.Interface); err != nil {
			return nil, err
		}
	} else if err := checkLocal(config.Source); err != nil {
		return nil, err
	}
	// Bound to the one destination that is ours, so that a multicast instance does not
	// hear unicast or the reverse.
	local := config.Group
	if len(config.Peers) > 0 {
		local = config.Source
	}
	filter, err := vridFilter(config.VRID)
	if err != nil {
		return nil, err
	}
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return prepare(raw, config, filter)
	}}
	socket, err := listen.ListenPacket(context.Background(), "ip4:"+strconv.Itoa(Protocol), local.String())
	if err != nil {
		return nil, explain(err)
	}
	c := &Conn{
		config: config,
		index:  iface.Index,
		socket: socket,
		packet: ipv4.NewPacketConn(socket),
		source: (&ipv4.ControlMessage{Src: config.Source.AsSlice()}).Marshal(),
		buffer: make([]byte, maxPayload),
	}
	if err := c.configure(iface); err != nil {
		_ = socket.Close() // the first error is the one to report
		return nil, explain(err)
	}
	return c, nil
}

// lookUp finds the interface and sees that it is up; without a name it returns index 0.
func lookUp(name string) (*net.Interface, error) {
	if name == "" {
		return &net.Interface{}, nil
	}
	iface, err := net.InterfaceByName(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("interface %s does not exist: see ip link for those that do: %w", name, ErrInterface)
	case iface.Flags&net.FlagUp == 0:
		return nil, fmt.Errorf("interface %s is down: ip link set %s up: %w", name, name, ErrInterface)
	}
	return iface, nil
}

// checkLocal sees that the kernel will agree to send from source.
func checkLocal(source netip.Addr) error {
	addrs, err := vip.LocalAddresses()
	if err != nil {
		return err
	}
	if !slices.Contains(addrs, source) {
		return fmt.Errorf("source address %s is not on this host: add it, or correct "+
			"unicast_src_ip or mcast_src_ip: %w", source, ErrInterface)
	}
	return nil
}

// prepare sets what must be set before the socket is bound.
func prepare(raw syscall.RawConn, config Config, filter []bpf.RawInstruction) error {
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		program := make([]unix.SockFilter, len(filter))
		for i, in := range filter {
			program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
		}
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
		if err == nil && config.Interface != "" {
			err = unix.BindToDevice(int(fd), config.Interface)
		}
	})
	return errors.Join(controlErr, err)
}

// configure sets the rest.
func (c *Conn) configure(iface *net.Interface) error {
	ipConn, ok := c.socket.(*net.IPConn)
	if !ok {
		return fmt.Errorf("unexpected socket type %T", c.socket)
	}
	var err error
	if c.raw, err = ipConn.SyscallConn(); err != nil {
		return err
	}
	err = errors.Join(
		c.packet.SetTOS(internetworkControl),
		c.packet.SetTTL(c.config.TTL),
		c.packet.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst|ipv4.FlagInterface, true),
	)
	if err != nil || len(c.config.Peers) > 0 {
		return err
	}
	return errors.Join(
		c.packet.SetMulticastTTL(c.config.TTL),
		c.packet.SetMulticastLoopback(false), // our own adverts are no news
		c.packet.SetMulticastInterface(iface),
		c.packet.JoinGroup(iface, &net.IPAddr{IP: c.config.Group.AsSlice()}),
	)
}

// Source returns the address that adverts are sent from.
func (c *Conn) Source() netip.Addr { return c.config.Source }

// Destinations returns where adverts go: the group, or the peers.
func (c *Conn) Destinations() []netip.Addr { return slices.Clone(c.config.destinations()) }

// InterfaceIndex returns the index of the interface that the Conn is bound to, 0 when it
// is bound to none.
func (c *Conn) InterfaceIndex() int { return c.index }

// Send sends one VRRP packet to dst. It never waits: when the kernel's queue is full the
// packet is dropped with an error, as the network would drop it. The error wraps
// ErrInterface when the interface is gone or down or has lost the source address.
func (c *Conn) Send(payload []byte, dst netip.Addr) error {
	if !dst.Is4() {
		return fmt.Errorf("send advert to %s: not an IPv4 address", dst)
	}
	var sent error
	err := c.raw.Control(func(fd uintptr) {
		sent = unix.Sendmsg(int(fd), payload, c.source, &unix.SockaddrInet4{Addr: dst.As4()}, unix.MSG_DONTWAIT)
	})
	if errors.Is(sent, unix.EPERM) { // no capability is asked for here
		sent = fmt.Errorf("%w: a firewall rule of this host drops it: see nft list ruleset", sent)
	} else {
		sent = explain(sent)
	}
	if err := errors.Join(err, sent); err != nil {
		return fmt.Errorf("send advert from %s to %s: %w", c.config.Source, dst, err)
	}
	return nil
}

// Receive waits for the next packet for this instance's VRID. After Close it returns
// net.ErrClosed.
func (c *Conn) Receive() (Datagram, error) {
	for {
		n, control, from, err := c.packet.ReadFrom(c.buffer)
		if err != nil {
			return Datagram{}, fmt.Errorf("receive adverts: %w", err)
		}
		sender, ok := from.(*net.IPAddr)
		if !ok || control == nil || !isFor(c.buffer[:n], c.config.VRID) || c.index != 0 && control.IfIndex != c.index {
			continue // arrived before the socket had its filter and its interface
		}
		source, _ := netip.AddrFromSlice(sender.IP)
		destination, _ := netip.AddrFromSlice(control.Dst)
		return Datagram{
			Payload:     slices.Clone(c.buffer[:n]),
			Source:      source.Unmap(),
			Destination: destination.Unmap(),
			TTL:         control.TTL,
			Interface:   control.IfIndex,
		}, nil
	}
}

// Close closes the socket and ends a Receive that waits.
func (c *Conn) Close() error { return c.socket.Close() }

// explain adds to an error of the kernel what the operator can do about it, and
// ErrInterface to those that a later change of the interface may cure.
func explain(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: needs CAP_NET_RAW: run as root, or give the unit "+
			"AmbientCapabilities=CAP_NET_RAW", err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENETDOWN),
		errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: %w", err, ErrInterface)
	default:
		return err
	}
}
