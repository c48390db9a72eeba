package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
)

// iface is every host's interface on the first network, as its configuration names it.
const iface = scenario.FirstLink

// network is the lab's wiring: a bridge for each network, in the stage's own namespace,
// with a port for each host that is on it.
type network struct {
	switches []*netlink.Bridge
	hosts    map[string]*host
	blocked  []blocked
}

// newNetwork makes the switches and the hosts.
func newNetwork(hosts []scenario.Host, bits int) (*network, error) {
	n := &network{hosts: make(map[string]*host)}
	if err := n.addSwitch("switch"); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(hosts, func(h scenario.Host) bool { return h.Second.IsValid() }) {
		if err := n.addSwitch("switch2"); err != nil {
			return nil, err
		}
	}
	for _, h := range hosts {
		made, err := n.addHost(h, bits)
		if err != nil {
			n.close()
			return nil, fmt.Errorf("make host %s: %w", h.Name, err)
		}
		n.hosts[h.Name] = made
	}
	return n, nil
}

func (n *network) addSwitch(name string) error {
	flood := false // nobody queries for groups here, so let multicast reach every port
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &flood}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the switch (a bridge): %w", err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("switch on: %w", err)
	}
	n.switches = append(n.switches, bridge)
	return nil
}

// cable leads from a host to a switch.
type cable struct {
	name string     // the host's interface
	port string     // the switch's end
	addr netip.Addr // of the interface
	mac  net.HardwareAddr
}

func (n *network) addHost(h scenario.Host, bits int) (*host, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	made := &host{Host: h, ns: ns}
	made.cables = []cable{{iface, "to-" + h.Name, h.Addr, hardwareAddr(h.Addr)}}
	if h.Second.IsValid() {
		made.cables = append(made.cables, cable{scenario.SecondLink, "to2-" + h.Name, h.Second, hardwareAddr(h.Second)})
	}
	for i, c := range made.cables {
		veth := &netlink.Veth{
			LinkAttrs:        netlink.LinkAttrs{Name: c.port, MasterIndex: n.switches[i].Index},
			PeerName:         c.name,
			PeerHardwareAddr: c.mac,
			PeerNamespace:    netlink.NsFd(ns),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return made, fmt.Errorf("connect it to the switch: %w", err)
		}
	}
	if err := made.setPort(true, ""); err != nil {
		return made, err
	}
	return made, made.inside(func() error {
		// IPv6 only adds noise to this topology. Some containers mount /proc/sys read-only.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
		for _, c := range append(made.cables, cable{name: "lo"}) {
			link, err := netlink.LinkByName(c.name)
			if err != nil {
				return fmt.Errorf("find %s: %w", c.name, err)
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return fmt.Errorf("set %s up: %w", c.name, err)
			}
			if c.addr.IsValid() {
				addr := &netlink.Addr{IPNet: &net.IPNet{IP: c.addr.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
				if err := netlink.AddrAdd(link, addr); err != nil {
					return fmt.Errorf("add %v to %s: %w", c.addr, c.name, err)
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
		for _, c := range n.hosts[name].cables {
			link, err := netlink.LinkByName(c.port)
			if err != nil {
				return fmt.Errorf("find the port of %s: %w", name, err)
			}
			if err := netlink.LinkSetIsolated(link, cut); err != nil {
				return fmt.Errorf("isolate the port of %s: %w", name, err)
			}
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
		for _, c := range h.cables {
			if c.mac.String() == mac.String() {
				return name
			}
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
