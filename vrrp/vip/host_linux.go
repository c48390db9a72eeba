package vip

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// PrimaryIPv4 returns the address that this host sends from on an interface: the first
// that the kernel lists as no secondary, of global scope if there is one. The addresses
// in except are passed over, so that a VIP which a predecessor left is not taken for the
// host's own. The error wraps ErrInterface when the interface is missing or has no
// IPv4 address: one may still come.
func PrimaryIPv4(iface string, except ...netip.Addr) (netip.Addr, error) {
	link, err := netlink.LinkByName(iface)
	if err != nil {
		return netip.Addr{}, linkError(iface, err)
	}
	var list []netlink.Addr
	err = whole(func() (err error) {
		list, err = netlink.AddrList(link, netlink.FAMILY_V4)
		return err
	})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list addresses of %s: %w", iface, err)
	}
	var best netip.Addr
	for _, entry := range list {
		prefix, ok := prefixOf(entry.IPNet)
		if !ok || entry.Flags&unix.IFA_F_SECONDARY != 0 || slices.Contains(except, prefix.Addr()) {
			continue
		}
		if entry.Scope == unix.RT_SCOPE_UNIVERSE {
			return prefix.Addr(), nil
		}
		if !best.IsValid() {
			best = prefix.Addr()
		}
	}
	if !best.IsValid() {
		return netip.Addr{}, fmt.Errorf("interface %s has no IPv4 address of its own: "+
			"give it one with ip address add ADDRESS/LENGTH dev %s: %w", iface, iface, ErrInterface)
	}
	return best, nil
}

// LocalAddresses returns all addresses of this host, IPv4 and IPv6, loopback included:
// what tells a node which member of a cluster it is.
func LocalAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses of this host: %w", err)
	}
	var addrs []netip.Addr
	for _, entry := range list {
		ipNet, ok := entry.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(ipNet.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}
