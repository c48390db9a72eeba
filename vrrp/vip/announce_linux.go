package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Announce sends one gratuitous ARP for addr, which the interface need not have yet.
// It never waits. An interface without ARP (loopback, dummy, tunnels) has nobody to
// tell: nothing is sent and that is no error. The error wraps ErrInterface when the
// interface is missing or down.
func (k *Kernel) Announce(iface string, addr netip.Addr) error {
	if !addr.Is4() {
		return fmt.Errorf("announce %s on %s: not an IPv4 address", addr, iface)
	}
	link, err := k.link(iface)
	if err != nil {
		return fmt.Errorf("announce %s: %w", addr, err)
	}
	mac, speaksARP := macOf(link)
	if !speaksARP {
		return nil
	}
	if err := k.sendARP(link, gratuitousARP(mac, addr)); err != nil {
		return fmt.Errorf("announce %s on %s: %w", addr, iface, err)
	}
	return nil
}

// sendARP broadcasts a packet on an interface.
func (k *Kernel) sendARP(link netlink.Link, p arp) error {
	to := &unix.SockaddrLinklayer{
		Protocol: networkOrder(unix.ETH_P_ARP),
		Ifindex:  link.Attrs().Index,
		Halen:    uint8(len(broadcastMAC)),
	}
	copy(to.Addr[:], broadcastMAC[:])
	conn, err := k.arp.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Control(func(fd uintptr) {
		sent = unix.Sendto(int(fd), p.marshal(), unix.MSG_DONTWAIT, to)
	})
	if err != nil {
		return err
	}
	return explain(sent)
}

// probeInterval separates the probes of one Probe. RFC 5227 section 1.1 has seconds for
// hosts that come up; a candidate that has a master-down interval to wait has less.
const probeInterval = 200 * time.Millisecond

// Probe asks the link who has addr and returns the stations that answered, sorted, when
// ctx ends, which is no error: an answer later than that is not waited for. It is the
// probe of RFC 5227 section 2.1.1, sent at once and every 200 ms; any ARP packet that
// says a station which is not this host has addr counts as an answer. The error wraps ErrInterface when
// the interface is missing or down. An interface without ARP answers nothing, at once.
func (k *Kernel) Probe(ctx context.Context, iface string, addr netip.Addr) ([]MAC, error) {
	if !addr.Is4() {
		return nil, fmt.Errorf("probe %s on %s: not an IPv4 address", addr, iface)
	}
	link, err := k.link(iface)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", addr, err)
	}
	mac, speaksARP := macOf(link)
	if !speaksARP {
		return nil, nil
	}
	conn, err := listenConflicts(link, []netip.Addr{addr})
	if err != nil {
		return nil, fmt.Errorf("probe %s on %s: %w", addr, iface, err)
	}
	defer func() { _ = conn.Close() }() // nothing was written that could be lost
	var owners []MAC
	for ctx.Err() == nil {
		if err := k.sendARP(link, probeARP(mac, addr)); err != nil {
			return nil, fmt.Errorf("probe %s on %s: %w", addr, iface, err)
		}
		heard, err := listenARP(ctx, conn, addr)
		if err != nil {
			return nil, fmt.Errorf("probe %s on %s: %w", addr, iface, err)
		}
		for _, owner := range heard {
			if slices.Contains(owners, owner) {
				continue
			}
			ours, err := k.isOurs(owner)
			if err != nil {
				return nil, fmt.Errorf("probe %s on %s: %w", addr, iface, err)
			}
			if !ours {
				owners = append(owners, owner)
			}
		}
	}
	slices.SortFunc(owners, func(a, b MAC) int { return slices.Compare(a[:], b[:]) })
	return owners, nil
}

// listenARP collects for one probeInterval, or until ctx ends, who says to have addr.
func listenARP(ctx context.Context, conn *packet.Conn, addr netip.Addr) ([]MAC, error) {
	if err := conn.SetReadDeadline(time.Now().Add(probeInterval)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; fails only on a closed socket
	})
	defer stop()
	var heard []MAC
	buffer := make([]byte, 128)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return heard, nil
		}
		if err != nil {
			return nil, explain(err)
		}
		p, err := parseARP(buffer[:n])
		if err == nil && p.senderIP == addr { // others' ARP, malformed or not, is no answer
			heard = append(heard, p.senderMAC)
		}
	}
}

// macOf returns the interface's Ethernet address; false when it speaks no ARP.
func macOf(link netlink.Link) (MAC, bool) {
	attrs := link.Attrs()
	if attrs.RawFlags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) != 0 || len(attrs.HardwareAddr) != len(MAC{}) {
		return MAC{}, false
	}
	return MAC(attrs.HardwareAddr), true
}

// networkOrder returns v as a number whose bytes in memory are in network order,
// which is how packet(7) wants the protocol.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)})
}
