package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// switchVoice asks as arpVoice does, and hears the answers where they come into the switch.
// With use_vmac all nodes answer with one hardware address: only the port tells them apart.
type switchVoice struct {
	*arpVoice
	ears  *os.File       // a packet socket that sees all frames of the switch's ports
	ports map[int]string // the host at each, by the port's number
	buf   [256]byte
}

// newSwitchVoice must be called in the switch's namespace, with a voice of the client's.
func newSwitchVoice(asks *arpVoice, hosts map[string]*host) (*switchVoice, error) {
	everything := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	v := &switchVoice{arpVoice: asks, ports: make(map[int]string)}
	for name, h := range hosts {
		for _, c := range h.cables {
			ifi, err := net.InterfaceByName(c.port)
			if err != nil {
				return nil, fmt.Errorf("find the port of %s: %w", name, err)
			}
			v.ports[ifi.Index] = name
		}
	}
	// Of all protocols, as a switch takes ARP away from its ports before those hear that want ARP alone.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket on the switch: %w", err)
	}
	v.ears = os.NewFile(uintptr(fd), "packets of the switch")
	const protocol = 12 // in an Ethernet header
	arpAlone := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: protocol},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_ARP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: uint32(len(v.buf))},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	prog := unix.SockFprog{Len: uint16(len(arpAlone)), Filter: &arpAlone[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return nil, fmt.Errorf("hear ARP alone on the switch: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(everything)}); err != nil {
		return nil, fmt.Errorf("hear all ports of the switch: %w", err)
	}
	return v, nil
}

func (v *switchVoice) listen(deadline time.Time) (seq uint32, node string, err error) {
	if err := v.ears.SetReadDeadline(deadline); err != nil {
		return 0, "", err
	}
	for {
		n, from, err := v.read()
		switch {
		case errors.Is(err, unix.ENETDOWN): // a port went down: no answer
			continue
		case err != nil:
			return 0, "", err
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype == unix.PACKET_OUTGOING || v.ports[link.Ifindex] == "" {
			continue // the switch itself hears broadcasts once more
		}
		seq, _, what := readARP(v.buf[:n], v.vip)
		switch what {
		case arpAnswer:
			return seq, v.ports[link.Ifindex], nil
		case arpAnnouncement:
			v.announce(v.ports[link.Ifindex])
		}
	}
}

// read waits for a frame, until the deadline at the longest.
func (v *switchVoice) read() (n int, from unix.Sockaddr, err error) {
	raw, err := v.ears.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	waited := raw.Read(func(fd uintptr) bool {
		n, from, err = unix.Recvfrom(int(fd), v.buf[:], 0)
		return !errors.Is(err, unix.EAGAIN)
	})
	if waited != nil {
		return 0, nil, waited
	}
	return n, from, err
}
