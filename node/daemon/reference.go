package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/solovip/solovip/node"
)

// referenceLimit is how long the reference may take to answer.
const referenceLimit = 400 * time.Millisecond

// askReference pings the reference address beside the loop. What keeps the ping from
// being sent counts as no answer: a node that cannot tell is the one cut off.
func (d *daemon) askReference() {
	addr := d.settings.config.Fencing.Reference
	d.work.Go(func() error {
		err := ping(d.workCtx, addr, referenceLimit)
		if err != nil {
			d.log.Info("the reference does not answer", "reference", addr, "err", err)
		}
		d.post(node.ReferenceDone{Answers: err == nil})
		return nil
	})
}

// ping sends one ICMP echo request (RFC 792) and waits for its answer.
func ping(ctx context.Context, addr netip.Addr, limit time.Duration) error {
	conn, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return fmt.Errorf("open a socket for ICMP: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	id := os.Getpid() & 0xffff
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: 1, Data: []byte("solovip")}}
	b, err := request.Marshal(nil)
	if err != nil {
		return fmt.Errorf("encode an echo request: %w", err)
	}
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("ping %v: %w", addr, err)
	}
	if _, err := conn.WriteTo(b, &net.IPAddr{IP: addr.AsSlice()}); err != nil {
		return fmt.Errorf("ping %v: %w", addr, err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("ping %v: no answer within %v: %w", addr, limit, err)
		}
		m, err := icmp.ParseMessage(1, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue // somebody else's, or our own request
		}
		echo, ok := m.Body.(*icmp.Echo)
		source, isIP := from.(*net.IPAddr)
		if ok && isIP && echo.ID == id && source.IP.Equal(addr.AsSlice()) {
			return nil
		}
	}
}
