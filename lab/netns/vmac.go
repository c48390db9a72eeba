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
	fd    int            // a packet socket that sees all frames of the switch's ports
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
	var err error
	// Of all protocols, as a switch takes ARP away from its ports before those hear that want ARP alone.
	if v.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return nil, fmt.Errorf("open a packet socket on the switch: %w", err)
	}
	const protocol = 12 // in an Ethernet header
	arpAlone := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: protocol},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_ARP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: uint32(len(v.buf))},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	prog := unix.SockFprog{Len: uint16(len(arpAlone)), Filter: &arpAlone[0]}
	if err := unix.SetsockoptSockFprog(v.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return nil, fmt.Errorf("hear ARP alone on the switch: %w", err)
	}
	if err := unix.Bind(v.fd, &unix.SockaddrLinklayer{Protocol: uint16(everything)}); err != nil {
		return nil, fmt.Errorf("hear all ports of the switch: %w", err)
	}
	return v, nil
}

func (v *switchVoice) listen(deadline time.Time) (seq uint32, node string, err error) {
	for {
		n, from, err := unix.Recvfrom(v.fd, v.buf[:], 0)
		if errors.Is(err, unix.EAGAIN) {
			wait := time.Until(deadline)
			if wait <= 0 {
				return 0, "", os.ErrDeadlineExceeded
			}
			patience := unix.NsecToTimespec(wait.Nanoseconds())
			if _, err := unix.Ppoll([]unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLIN}}, &patience, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return 0, "", fmt.Errorf("wait for frames on the switch: %w", err)
			}
			continue
		}
		if err != nil && !errors.Is(err, unix.ENETDOWN) { // a port went down: no answer
			return 0, "", fmt.Errorf("hear the ports of the switch: %w", err)
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		host := v.ports[link.Ifindex]
		if host == "" {
			continue // the switch itself hears broadcasts once more
		}
		seq, _, what := readARP(v.buf[:n], v.vip)
		switch what {
		case arpAnswer:
			return seq, host, nil
		case arpAnnouncement:
			v.announce(host)
		}
	}
}
