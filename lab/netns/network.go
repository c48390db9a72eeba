package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
)

// iface is every host's interface on the switch, as its configuration names it.
const iface = "eth0"

// network is the lab's wiring: a bridge in the stage's own namespace with a port for
// each host.
type network struct {
	bridge *netlink.Bridge
	hosts  map[string]*host
}

// newNetwork makes the switch and the hosts.
func newNetwork(hosts []scenario.Host, vip netip.Prefix) (*network, error) {
	flood := false // nobody queries for groups here, so let multicast reach every port
	n := &network{
		bridge: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "switch"}, MulticastSnooping: &flood},
		hosts:  make(map[string]*host),
	}
	if err := netlink.LinkAdd(n.bridge); err != nil {
		return nil, fmt.Errorf("make the switch (a bridge): %w", err)
	}
	if err := netlink.LinkSetUp(n.bridge); err != nil {
		return nil, fmt.Errorf("switch on: %w", err)
	}
	for _, h := range hosts {
		made, err := n.addHost(h, vip.Bits())
		if err != nil {
			n.close()
			return nil, fmt.Errorf("make host %s: %w", h.Name, err)
		}
		n.hosts[h.Name] = made
	}
	return n, nil
}

func (n *network) addHost(h scenario.Host, bits int) (*host, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	made := &host{Host: h, ns: ns, port: "to-" + h.Name, mac: hardwareAddr(h.Addr)}
	cable := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: made.port, MasterIndex: n.bridge.Index},
		PeerName:         iface,
		PeerHardwareAddr: made.mac,
		PeerNamespace:    netlink.NsFd(ns),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return made, fmt.Errorf("connect it to the switch: %w", err)
	}
	if err := made.setPort(true); err != nil {
		return made, err
	}
	return made, made.inside(func() error {
		// IPv6 only adds noise to this topology. Some containers mount /proc/sys read-only.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
		for _, name := range []string{"lo", iface} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("find %s: %w", name, err)
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return fmt.Errorf("set %s up: %w", name, err)
			}
			if name == iface {
				addr := &netlink.Addr{IPNet: &net.IPNet{IP: h.Addr.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
				if err := netlink.AddrAdd(link, addr); err != nil {
					return fmt.Errorf("add %v to %s: %w", h.Addr, name, err)
				}
			}
		}
		return nil
	})
}

// setIsolated cuts two hosts off from each other, and from nobody else: the bridge
// carries nothing between two isolated ports.
func (n *network) setIsolated(cut bool, names ...string) error {
	for _, name := range names {
		link, err := netlink.LinkByName(n.hosts[name].port)
		if err != nil {
			return fmt.Errorf("find the port of %s: %w", name, err)
		}
		if err := netlink.LinkSetIsolated(link, cut); err != nil {
			return fmt.Errorf("isolate the port of %s: %w", name, err)
		}
	}
	return nil
}

func (n *network) close() {
	for _, h := range n.hosts {
		_ = unix.Close(h.ns) // the namespace goes with its last process
	}
}

// nodeOf returns the name of the host with this hardware address, or the address itself.
func (n *network) nodeOf(mac net.HardwareAddr) string {
	for name, h := range n.hosts {
		if h.mac.String() == mac.String() {
			return name
		}
	}
	return mac.String()
}

// hardwareAddr derives a locally administered address from an IPv4 address.
func hardwareAddr(addr netip.Addr) net.HardwareAddr {
	ip := addr.As4()
	return net.HardwareAddr{0x02, 0x4c, ip[0], ip[1], ip[2], ip[3]}
}

// newNamespace makes a network namespace and returns a descriptor of it.
func newNamespace() (ns int, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open the new network namespace: %w", err)
		}
		return nil
	})
	return ns, err
}

// inNamespace calls f on a thread in the given network namespace. Sockets that f opens
// stay in it, and so do processes that f starts; goroutines that f starts do not.
func inNamespace(ns int, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// onThread calls f on a thread of its own that ends with it, so that what f changes of
// the thread cannot leak.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		err := errors.New("the call ended its goroutine")
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}
