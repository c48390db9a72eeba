package vip

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Observe reports the stations of a link that speak ARP in the name of one of addrs:
// the conflict of RFC 5227 section 2.4, an ARP packet whose sender's protocol address
// is one of addrs and whose sender's hardware address is no interface's of this host.
// It sends nothing, so it sees what is broadcast, and what is sent to this host. A
// station is reported once a second for an address, however often it speaks. Emit is
// called from this goroutine and should not block for long: what the socket cannot
// queue meanwhile is lost, as on any network.
//
// It returns nil when ctx ends. The error wraps ErrInterface when the interface is
// missing, is down, or goes: observe again when it is back. An interface without ARP
// shows nothing, and Observe only waits for ctx.
func (k *Kernel) Observe(ctx context.Context, iface string, addrs []netip.Addr, emit func(addr netip.Addr, station MAC)) error {
	link, err := k.link(iface)
	if err != nil {
		return fmt.Errorf("observe ARP: %w", err)
	}
	if _, speaksARP := macOf(link); !speaksARP {
		<-ctx.Done()
		return nil
	}
	conn, err := listenConflicts(link, addrs)
	if err != nil {
		return fmt.Errorf("observe ARP on %s: %w", iface, err)
	}
	defer func() { _ = conn.Close() }() // nothing was written that could be lost
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; fails only on a closed socket
	})
	defer stop()
	seen := sightings{}
	buffer := make([]byte, 128)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("observe ARP on %s: %w", iface, explain(err))
		}
		p, err := parseARP(buffer[:n])
		if err != nil || !seen.fresh(time.Now(), sighting{p.senderIP, p.senderMAC}) {
			continue
		}
		ours, err := k.isOurs(p.senderMAC)
		if err != nil {
			return fmt.Errorf("observe ARP on %s: %w", iface, err)
		}
		if !ours {
			emit(p.senderIP, p.senderMAC)
		}
	}
}

// listenConflicts opens a socket for the ARP packets of a link that come from one of addrs.
func listenConflicts(link netlink.Link, addrs []netip.Addr) (*packet.Conn, error) {
	filter, err := conflictFilter(addrs)
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(&net.Interface{Index: link.Attrs().Index}, packet.Datagram, unix.ETH_P_ARP, &packet.Config{Filter: filter})
	return conn, explain(err)
}

// conflictFilter lets through ARP packets that come from one of addrs, so that all the
// other ARP of a busy link wakes nobody. It passes over packets for other hosts, among
// which the kernel counts those of VLANs that have no interface here (another link, where
// addresses may recur), and those that this host sends. The program sees a packet from
// the ARP header on.
func conflictFilter(addrs []netip.Addr) ([]bpf.RawInstruction, error) {
	const (
		senderIP = 14 // see arp.marshal
		accept   = 128
	)
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: senderIP, Size: 4},
	}
	for _, addr := range addrs {
		if !addr.Is4() {
			return nil, fmt.Errorf("%s is not an IPv4 address", addr)
		}
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(addr.AsSlice()), SkipTrue: 1},
			bpf.RetConstant{Val: accept})
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: 0}))
}

// isOurs reports whether an interface of this host has the hardware address. They are
// read each time: interfaces come and go, and a conflict is rare.
func (k *Kernel) isOurs(mac MAC) (bool, error) {
	var links []netlink.Link
	err := whole(func() (err error) {
		links, err = k.routes.LinkList()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("list interfaces: %w", explain(err))
	}
	for _, l := range links {
		if hw := l.Attrs().HardwareAddr; len(hw) == len(mac) && MAC(hw) == mac {
			return true, nil
		}
	}
	return false, nil
}

// sighting is a station that speaks in the name of an address.
type sighting struct {
	addr    netip.Addr
	station MAC
}

// sightings remembers when each was last reported.
type sightings map[sighting]time.Time

const (
	// sightingEvery is how often a station is reported for an address at the most.
	sightingEvery = time.Second
	// maxSightings bounds what is remembered: stations with made-up hardware addresses
	// beyond so many a second are not reported.
	maxSightings = 64
)

// fresh reports whether a sighting is worth a report, and remembers it.
func (s sightings) fresh(now time.Time, what sighting) bool {
	if at, known := s[what]; known && now.Sub(at) < sightingEvery {
		return false
	}
	if len(s) >= maxSightings {
		for other, at := range s {
			if now.Sub(at) >= sightingEvery {
				delete(s, other)
			}
		}
	}
	if len(s) >= maxSightings {
		return false
	}
	s[what] = now
	return true
}
