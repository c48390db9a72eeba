package netns

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// udpVoice asks the guarded service at the VIP by datagrams: a number goes there, the
// number and the node's name come back.
type udpVoice struct {
	conn *net.UDPConn
	vip  netip.AddrPort
	buf  [256]byte
}

// newUDPVoice opens the client's socket; it must be called inside its namespace. The socket is not
// connected: what an ICMP error says is no answer, and is not told to such a one.
func newUDPVoice(vip netip.Addr) (*udpVoice, error) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, fmt.Errorf("open a datagram socket on the client: %w", err)
	}
	return &udpVoice{conn: conn, vip: netip.AddrPortFrom(vip, ServicePort)}, nil
}

func (v *udpVoice) ask(seq uint32) {
	_, _ = v.conn.WriteToUDPAddrPort(binary.BigEndian.AppendUint32(nil, seq), v.vip) // unanswered, if it fails
}

func (v *udpVoice) listen(deadline time.Time) (seq uint32, node string, err error) {
	if err := v.conn.SetReadDeadline(deadline); err != nil {
		return 0, "", err
	}
	for {
		n, from, err := v.conn.ReadFromUDPAddrPort(v.buf[:])
		switch {
		case err != nil:
			return 0, "", err
		case n > 4 && from == v.vip:
			return binary.BigEndian.Uint32(v.buf[:4]), string(v.buf[4:n]), nil
		}
	}
}

const (
	httpWorkers  = 8
	httpPatience = 250 * time.Millisecond
)

// httpVoice asks the guarded service at the VIP by HTTP, on a new connection each time.
type httpVoice struct {
	questions chan uint32 // to an idle worker; a question that finds none is not asked
	answers   chan httpAnswer
	timer     *time.Timer
}

type httpAnswer struct {
	seq  uint32
	node string
}

func newHTTPVoice() *httpVoice {
	return &httpVoice{
		questions: make(chan uint32),
		answers:   make(chan httpAnswer, httpWorkers),
		timer:     time.NewTimer(0),
	}
}

// work runs the workers in the client's namespace until ctx is done.
func (v *httpVoice) work(ctx context.Context, ns int, vip netip.Addr) error {
	var group errgroup.Group
	for range httpWorkers {
		group.Go(func() error {
			return inNamespace(ns, func() error {
				for {
					select {
					case <-ctx.Done():
						return nil
					case seq := <-v.questions:
						if node, err := askHTTP(vip); err == nil {
							v.answers <- httpAnswer{seq, node}
						}
					}
				}
			})
		})
	}
	return group.Wait()
}

// askHTTP asks once. It does not use net/http's client, which dials on a goroutine of its
// own and so outside the namespace.
func askHTTP(vip netip.Addr) (node string, err error) {
	deadline := time.Now().Add(httpPatience)
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.Dial("tcp4", netip.AddrPortFrom(vip, ServicePort).String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", vip); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 256))
	return strings.TrimSpace(string(body)), err
}

func (v *httpVoice) ask(seq uint32) {
	select {
	case v.questions <- seq:
	default: // all workers wait for answers: nobody answers anyway
	}
}

func (v *httpVoice) listen(deadline time.Time) (seq uint32, node string, err error) {
	v.timer.Reset(time.Until(deadline))
	select {
	case a := <-v.answers:
		return a.seq, a.node, nil
	case <-v.timer.C:
		return 0, "", os.ErrDeadlineExceeded
	}
}
