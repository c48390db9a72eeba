package selftest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/internal/boottime"
)

// askEvery is how often the eye asks, by either way.
const askEvery = time.Millisecond

// echoPort is where the stage echoes datagrams.
const echoPort = 7

// eye asks for the address from outside.
type eye struct {
	udp *net.UDPConn
	arp *packet.Conn
	mac net.HardwareAddr

	mu       sync.Mutex // guards what follows
	sent     []time.Time
	lastUDP  time.Time // when the last question was sent that was answered
	lastARP  time.Time
	answered int
}

// newEye opens the eye's sockets; it must be called inside its namespace.
func newEye() (*eye, error) {
	link, err := net.InterfaceByName(eyeLink)
	if err != nil {
		return nil, err
	}
	e := &eye{mac: link.HardwareAddr}
	if e.udp, err = net.DialUDP("udp4", &net.UDPAddr{IP: eyeAddr.Addr().AsSlice()}, &net.UDPAddr{IP: vipAddr.Addr().AsSlice(), Port: echoPort}); err != nil {
		return nil, err
	}
	if e.arp, err = packet.Listen(link, packet.Raw, unix.ETH_P_ARP, nil); err != nil {
		return nil, err
	}
	return e, nil
}

// ask asks until done is closed.
func (e *eye) ask(done <-chan struct{}) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		e.mu.Lock()
		seq := uint32(len(e.sent))
		e.sent = append(e.sent, boottime.Now())
		e.mu.Unlock()
		// What cannot be sent is not answered, and that is all that counts.
		_, _ = e.udp.Write(binary.BigEndian.AppendUint32(nil, seq))
		_, _ = e.arp.WriteTo(arpRequest(seq), &packet.Addr{HardwareAddr: broadcast})
	}
}

// hearUDP takes in echoes until the socket is closed.
func (e *eye) hearUDP() {
	buf := make([]byte, 64)
	for {
		n, err := e.udp.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil && n == 4:
			e.heard(binary.BigEndian.Uint32(buf), &e.lastUDP)
		}
	}
}

// hearARP takes in replies until the socket is closed.
func (e *eye) hearARP() {
	buf := make([]byte, 128)
	for {
		n, _, err := e.arp.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if seq, ok := parseReply(buf[:n]); err == nil && ok {
			e.heard(seq, &e.lastARP)
		}
	}
}

func (e *eye) heard(seq uint32, last *time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if int(seq) < len(e.sent) && e.sent[seq].After(*last) {
		*last = e.sent[seq]
		e.answered++
	}
}

// seen is what the eye has to say of a round: when the last questions were sent that were
// answered, and how many were.
func (e *eye) seen() (udp, arp time.Time, answered int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastUDP, e.lastARP, e.answered
}

// blind returns the longest time between two questions in a span: a machine with too much to do
// keeps the eye from asking, and then silence says nothing.
func (e *eye) blind(from, to time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	longest, last := time.Duration(0), from
	for _, at := range e.sent {
		if at.After(from) && at.Before(to) {
			longest, last = max(longest, at.Sub(last)), at
		}
	}
	return max(longest, to.Sub(last))
}

func (e *eye) close() { _ = errors.Join(e.udp.Close(), e.arp.Close()) }

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} //nolint:gochecknoglobals // a constant

// The layout of an ARP packet (RFC 826) in an Ethernet frame.
const (
	arpFrame    = 42
	arpSenderHW = 22
	arpSenderIP = 28
	arpTargetHW = 32
	arpTargetIP = 38
	arpOp       = 20
)

// senderMAC is a hardware address that holds the question's number: the reply goes to it.
func senderMAC(seq uint32) net.HardwareAddr {
	return binary.BigEndian.AppendUint32(net.HardwareAddr{0x02, 0x5f}, seq)
}

// arpRequest asks who has the address, in the name of a station of its own, so that the
// replies to datagrams keep their way.
func arpRequest(seq uint32) []byte {
	f := make([]byte, arpFrame)
	copy(f, broadcast)
	copy(f[6:], senderMAC(seq))
	copy(f[12:], []byte{0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1})
	copy(f[arpSenderHW:], senderMAC(seq))
	copy(f[arpSenderIP:], arpAddr.AsSlice())
	copy(f[arpTargetIP:], vipAddr.Addr().AsSlice())
	return f
}

// parseReply returns which question a frame answers.
func parseReply(f []byte) (seq uint32, ok bool) {
	if len(f) < arpFrame || f[arpOp+1] != 2 || f[arpTargetHW] != 0x02 || f[arpTargetHW+1] != 0x5f ||
		string(f[arpSenderIP:arpTargetHW]) != string(vipAddr.Addr().AsSlice()) {
		return 0, false
	}
	return binary.BigEndian.Uint32(f[arpTargetHW+2:]), true
}

// echo sends back what comes for the address, also while it is not there.
func echo(ctx context.Context) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: freebind}
	conn, err := lc.ListenPacket(ctx, "udp4", fmt.Sprintf("%v:%d", vipAddr.Addr(), echoPort))
	if err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := conn.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = conn.WriteTo(buf[:n], from) // unanswered, if it fails
			}
		}
	}()
	return conn, nil
}
