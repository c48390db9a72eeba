package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// streamTimeout bounds connecting, and then reading and writing, one stream.
	streamTimeout = time.Second

	// staleAfter is how long a packet may have waited in our socket. A process that was
	// stopped and goes on, or a host that was suspended, finds there what was true then.
	staleAfter = time.Second

	// maxStreams is how many incoming streams are read at a time.
	maxStreams = 64

	// readBackoff keeps a socket error that stays from becoming a busy loop.
	readBackoff = 100 * time.Millisecond
)

// transport carries memberlist's packets and streams from and to the member's own
// address, and only those of members. memberlist's own would lose the cause of a
// failed bind, dial from whichever address the kernel likes (a virtual one, with a
// gate before it), and hand on all that comes.
type transport struct {
	bind      netip.AddrPort
	admission *admission
	counts    *counters
	log       *slog.Logger

	udp     *net.UDPConn
	tcp     *net.TCPListener
	packets chan *memberlist.Packet
	streams chan net.Conn
	slots   chan struct{}

	ctx  context.Context //nolint:containedctx // its lifetime: over when Shutdown begins
	stop context.CancelFunc
	wg   sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen opens the sockets and starts to read them. Errors are those of net, wrapped.
func listen(cfg Config, admission *admission, counts *counters) (*transport, error) {
	t := &transport{
		bind: cfg.Bind, admission: admission, counts: counts, log: cfg.Logger,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		slots:   make(chan struct{}, maxStreams),
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(cfg.Bind))
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: stampPackets}
	udp, err := lc.ListenPacket(t.ctx, "udp", cfg.Bind.String())
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	t.tcp, t.udp = tcp, udp.(*net.UDPConn)
	t.wg.Go(t.readPackets)
	t.wg.Go(t.acceptStreams)
	return t, nil
}

// Shutdown closes the sockets and waits for all who read them.
func (t *transport) Shutdown() error {
	t.stop()
	err := errors.Join(ignoreClosed(t.tcp.Close()), ignoreClosed(t.udp.Close()))
	t.wg.Wait()
	return err
}

// ignoreClosed makes a second Shutdown harmless.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (t *transport) readPackets() {
	buf, oob := make([]byte, 1<<16), make([]byte, stampBytes)
	for t.ctx.Err() == nil {
		n, oobn, _, from, err := t.udp.ReadMsgUDPAddrPort(buf, oob)
		now := time.Now()
		if err != nil {
			t.pause("read mesh socket", err)
			continue
		}
		if stamp, ok := packetStamp(oob[:oobn]); ok && now.Round(0).Sub(stamp).Abs() > staleAfter {
			// Both times are of the wall clock. A jump of it costs the packets that are in
			// the socket at that moment, no more.
			t.counts.stale.Add(1)
			continue
		}
		addr := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		body, ok := t.admission.packet(append([]byte(nil), buf[:n]...), addr.Addr())
		if !ok {
			continue
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: body, From: net.UDPAddrFromAddrPort(addr), Timestamp: now}:
		case <-t.ctx.Done():
		}
	}
}

func (t *transport) acceptStreams() {
	for t.ctx.Err() == nil {
		conn, err := t.tcp.AcceptTCP()
		if err != nil {
			t.pause("accept mesh stream", err)
			continue
		}
		select {
		case t.slots <- struct{}{}:
			t.wg.Go(func() {
				t.admit(conn)
				<-t.slots
			})
		default:
			t.counts.refused.Add(1)
			_ = conn.Close() // whoever it was tries again
		}
	}
}

// admit hands a stream of a member to memberlist, and closes any other.
func (t *transport) admit(conn *net.TCPConn) {
	defer context.AfterFunc(t.ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(streamTimeout)); err != nil {
		_ = conn.Close() // it is gone already
		return
	}
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	stream, ok := t.admission.stream(conn, from)
	if ok && streamAge(conn) > staleAfter {
		t.counts.stale.Add(1)
		ok = false
	}
	if !ok {
		_ = conn.Close() // nothing was written that closing could lose
		return
	}
	select {
	case t.streams <- stream:
	case <-t.ctx.Done():
		_ = conn.Close() // as above
	}
}

// pause waits a little after a socket error, unless the socket was closed by Shutdown.
func (t *transport) pause(action string, err error) {
	if t.ctx.Err() != nil {
		return
	}
	t.log.Debug(action, "err", err) //nolint:sloglint // a constant of the caller's
	timer := time.NewTimer(readBackoff)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

// FinalAdvertiseAddr returns the configured address, whatever memberlist proposes.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.bind.Addr().AsSlice(), int(t.bind.Port()), nil
}

// PacketCh returns the packets that have come.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh returns the streams that have come.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo sends a packet to an address and port.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("mesh packet to %q: %w", addr, err)
	}
	_, err = t.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// WriteToAddress is WriteTo.
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, addr.Addr)
}

// DialTimeout opens a stream from our own address. It ends with the timeout, at the
// latest streamTimeout after it was opened, and with Shutdown.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:   timeout,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.bind.Addr(), 0)),
	}
	conn, err := dialer.DialContext(t.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// memberlist sets no deadline for a user message: a stopped peer would keep it.
	if err := conn.SetDeadline(time.Now().Add(streamTimeout)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &dialedConn{Conn: conn, forget: context.AfterFunc(t.ctx, func() { _ = conn.Close() })}, nil
}

// DialAddressTimeout is DialTimeout.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(addr.Addr, timeout)
}

// dialedConn is closed by the transport's Shutdown.
type dialedConn struct {
	net.Conn
	forget func() bool
}

func (c *dialedConn) Close() error {
	c.forget()
	return c.Conn.Close()
}
