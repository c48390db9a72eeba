package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kernel holds the sockets to the kernel of one network namespace: the one of the
// thread that called Open. Its methods may be called from several goroutines.
type Kernel struct {
	routes   *netlink.Handle          // requests the netlink package has a call for
	requests map[int]*nl.SocketHandle // the few it has none for, by netlink family
	arp      *os.File                 // packet socket that only sends, on any interface

	mu sync.Mutex
	// promoting holds the indexes of interfaces whose promote_secondaries is on; guarded by mu.
	promoting map[int]bool
}

// Open opens the sockets. It needs CAP_NET_ADMIN and CAP_NET_RAW.
func Open() (*Kernel, error) {
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group: a plain request socket
	if err != nil {
		routes.Close()
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// Protocol 0: the kernel queues no received packet on a socket that is never read.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		routes.Close()
		socket.Close()
		return nil, fmt.Errorf("open packet socket for ARP: %w", explain(err))
	}
	return &Kernel{
		routes:    routes,
		requests:  map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}},
		arp:       os.NewFile(uintptr(fd), "arp"),
		promoting: map[int]bool{},
	}, nil
}

// Close closes the sockets. Addresses stay as they are.
func (k *Kernel) Close() error {
	k.routes.Close()
	k.requests[unix.NETLINK_ROUTE].Close()
	return k.arp.Close()
}

// Add puts the address on its interface, or gives the one that is there a new lifetime.
// With a lifetime the kernel takes the address away when that has passed and nobody has
// called Add again; it is rounded up to whole seconds, and the kernel batches ends of
// lifetimes, which makes it up to 1.3 s late. 0 is forever, also for an address that had a lifetime before.
//
// The errors wrap ErrInterface when the interface is missing; an address may be added to
// an interface that is down.
func (k *Kernel) Add(a Address, lifetime time.Duration) error {
	if err := a.validate(); err != nil {
		return fmt.Errorf("add address %w", err)
	}
	seconds, err := validSeconds(lifetime)
	if err != nil {
		return fmt.Errorf("add %s: %w", a, err)
	}
	link, err := k.link(a.Interface)
	if err != nil {
		return fmt.Errorf("add %s: %w", a, err)
	}
	if err := k.promoteSecondaries(link); err != nil {
		return fmt.Errorf("add %s: %w", a, err)
	}
	broadcast := net.IPv4zero // the netlink package invents one for nil
	if a.Broadcast.IsValid() {
		broadcast = a.Broadcast.AsSlice()
	}
	err = k.routes.AddrReplace(link, &netlink.Addr{
		IPNet: &net.IPNet{
			IP:   a.Prefix.Addr().AsSlice(),
			Mask: net.CIDRMask(a.Prefix.Bits(), 32),
		},
		Label:       a.Label,
		Scope:       scopes[a.Scope],
		Broadcast:   broadcast,
		ValidLft:    seconds,
		PreferedLft: seconds, // must not exceed ValidLft; below it the address would be "deprecated"
	})
	if err != nil {
		return fmt.Errorf("add %s: %w", a, explain(err))
	}
	return nil
}

// maxPrefixLengths bounds the loop of Delete: the same IPv4 address can be on an
// interface once per prefix length.
const maxPrefixLengths = 33

// Delete takes the address off its interface, whatever its prefix length there: one
// that somebody added with another mask would be answered for all the same. No other
// address is touched. It is no error when the address or the interface is not there.
func (k *Kernel) Delete(a Address) error {
	if err := a.validate(); err != nil {
		return fmt.Errorf("delete address %w", err)
	}
	link, err := k.link(a.Interface)
	if errors.Is(err, ErrInterface) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", a, err)
	}
	// Should this fail, which it does only where deleting fails too, then the VIP still
	// goes: an address of the host that is lost is a lesser harm than two holders.
	others := k.promoteSecondaries(link)
	for range maxPrefixLengths {
		err = k.deleteLocal(link.Attrs().Index, a.Prefix.Addr())
		if err != nil {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENODEV):
		err = nil // none left: that was the aim
	case err != nil:
		err = explain(err)
	}
	if err := errors.Join(err, others); err != nil {
		return fmt.Errorf("delete %s: %w", a, err)
	}
	return nil
}

// deleteLocal deletes one entry for addr. It names no prefix length (no IFA_ADDRESS),
// so the kernel takes the first entry with that address: EADDRNOTAVAIL when there is none.
func (k *Kernel) deleteLocal(index int, addr netip.Addr) error {
	message := nl.NewIfAddrmsg(unix.AF_INET)
	message.Index = uint32(index)
	request := k.request(unix.RTM_DELADDR, unix.NLM_F_ACK)
	request.AddData(message)
	request.AddData(nl.NewRtAttr(unix.IFA_LOCAL, addr.AsSlice()))
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// Has reports whether the address is on its interface, with any prefix length.
// False without an error when there is no such interface.
func (k *Kernel) Has(a Address) (bool, error) {
	prefixes, err := k.AddressesOn(a.Interface)
	if errors.Is(err, ErrInterface) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, prefix := range prefixes {
		if prefix.Addr() == a.Prefix.Addr() {
			return true, nil
		}
	}
	return false, nil
}

// AddressesOn returns the IPv4 addresses of an interface in the kernel's order.
// The error wraps ErrInterface when the interface is missing.
func (k *Kernel) AddressesOn(iface string) ([]netip.Prefix, error) {
	link, err := k.link(iface)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var list []netlink.Addr
	err = whole(func() (err error) {
		list, err = k.routes.AddrList(link, netlink.FAMILY_V4)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", iface, err)
	}
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, entry := range list {
		if prefix, ok := prefixOf(entry.IPNet); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, nil
}

// maxDumps bounds the tries of whole.
const maxDumps = 10

// whole repeats a dump that a change cut through: the kernel marks what it sent in
// several parts when there was a change in between, and entries may be missing.
func whole(dump func() error) error {
	var err error
	for range maxDumps {
		if err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// promote_secondaries in an interface's IFLA_INET_CONF: linux/ip.h.
const devconfPromoteSecondaries = 20

// promoteSecondaries turns on net.ipv4.conf.<interface>.promote_secondaries, once per
// interface: with it the kernel, when the first address of a subnet goes, makes the next
// one the first instead of deleting all. It matters for VIPs that are the first of their
// subnet, and must be on before a lifetime ends while nobody is there to turn it on.
// Netlink and not /proc/sys, which containers have read-only.
func (k *Kernel) promoteSecondaries(link netlink.Link) error {
	index := link.Attrs().Index
	k.mu.Lock()
	done := k.promoting[index]
	k.mu.Unlock()
	if done {
		return nil
	}
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil)
	conf.AddRtAttr(devconfPromoteSecondaries, nl.Uint32Attr(1))
	request := k.request(unix.RTM_SETLINK, unix.NLM_F_ACK)
	request.AddData(message)
	request.AddData(spec)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("set promote_secondaries of %s: %w", link.Attrs().Name, explain(err))
	}
	k.mu.Lock()
	k.promoting[index] = true
	k.mu.Unlock()
	return nil
}

// request starts a netlink request on the socket of Open.
func (k *Kernel) request(kind, flags int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(kind, flags)
	request.Sockets = k.requests
	return request
}

// link looks an interface up. The error wraps ErrInterface when there is none.
func (k *Kernel) link(iface string) (netlink.Link, error) {
	link, err := k.routes.LinkByName(iface)
	return link, linkError(iface, err)
}

// linkError explains why an interface could not be looked up.
func linkError(iface string, err error) error {
	var missing netlink.LinkNotFoundError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		return fmt.Errorf("interface %s does not exist: see ip link for those that do: %w", iface, ErrInterface)
	default:
		return fmt.Errorf("look up interface %s: %w", iface, err)
	}
}

// explain adds to an error of the kernel what the operator can do about it, and
// ErrInterface to those that a later change of the interface may cure.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: needs CAP_NET_ADMIN and CAP_NET_RAW: run as root, or give the unit "+
			"AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW", err)
	case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: %w", err, ErrInterface)
	default:
		return err
	}
}

// prefixOf converts an IPv4 address with its mask; false for anything else.
func prefixOf(ipNet *net.IPNet) (netip.Prefix, bool) {
	if ipNet == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(ipNet.IP.To4())
	ones, _ := ipNet.Mask.Size()
	return netip.PrefixFrom(addr, ones), ok
}
