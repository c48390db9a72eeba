package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/vrrp/rawip"
	"github.com/solovip/solovip/vrrp/vip"
)

// advertSocket carries one instance's adverts. Its goroutine opens the socket, again and
// again until the interface is there, and reads it; the loop sends by it.
type advertSocket struct {
	instance string
	config   rawip.Config
	log      *slog.Logger
	deliver  func(node.Advert)
	cancel   context.CancelFunc

	mu   sync.Mutex // guards conn
	conn *rawip.Conn
}

// reopenAfter is how long an interface that is not ready is left alone.
const reopenAfter = 500 * time.Millisecond

// openAdverts starts an instance's socket.
func (d *daemon) openAdverts(name string) {
	set := d.instance(name)
	ctx, cancel := context.WithCancel(d.workCtx)
	a := &advertSocket{
		instance: name, config: set.socket, log: d.log.With("instance", name),
		deliver: d.deliverAdvert, cancel: cancel,
	}
	if !a.config.Source.IsValid() {
		// A VIP that a predecessor left must not become the source.
		if src, err := vip.PrimaryIPv4(a.config.Interface, vips(set.addresses)...); err == nil {
			a.config.Source = src
		}
	}
	d.adverts[name] = a
	// The first try is made here: a node that starts may have to say something at once.
	conn, err := rawip.Open(a.config)
	if err == nil {
		a.use(ctx, conn)
	}
	d.work.Go(func() error { return a.run(ctx, conn) })
}

// deliverAdvert drops adverts while the loop is behind, as a network may.
func (d *daemon) deliverAdvert(a node.Advert) {
	select {
	case d.events <- a:
	default:
		d.log.Debug("advert dropped: the loop is behind", "instance", a.Instance)
	}
}

// run reads the connection, if there is one already, and opens others until ctx ends.
func (a *advertSocket) run(ctx context.Context, conn *rawip.Conn) error {
	stop := context.AfterFunc(ctx, a.drop)
	defer stop()
	if conn != nil {
		a.read(conn)
	}
	said := ""
	for ctx.Err() == nil {
		conn, err := rawip.Open(a.config)
		switch {
		case err == nil:
			said = ""
			a.use(ctx, conn)
			a.read(conn)
			continue
		case !errors.Is(err, rawip.ErrInterface):
			return err
		}
		if err.Error() != said {
			said = err.Error()
			a.log.Warn("adverts cannot be sent or heard yet", "err", err)
		}
		pause(ctx, reopenAfter)
	}
	return nil
}

// use makes the connection the one that the loop sends by, unless ctx has ended.
func (a *advertSocket) use(ctx context.Context, conn *rawip.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn = conn
	if ctx.Err() != nil {
		_ = conn.Close() // the read that follows ends at once
	}
}

// read turns packets into events until the connection is closed.
func (a *advertSocket) read(conn *rawip.Conn) {
	for {
		dg, err := conn.Receive()
		if err != nil {
			a.drop()
			return
		}
		if !dg.TTLAllowed() {
			a.log.Debug("advert dropped: its TTL shows that it was routed (RFC 9568 section 7.1)", "from", dg.Source, "ttl", dg.TTL)
			continue
		}
		p, err := vrrp.Parse(dg.Payload, dg.Source, dg.Destination)
		if err != nil {
			a.log.Debug("advert dropped", "from", dg.Source, "err", err)
			continue
		}
		a.deliver(node.Advert{Instance: a.instance, Packet: p, Source: dg.Source})
	}
}

// drop closes the connection; run opens a new one unless its ctx has ended.
func (a *advertSocket) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		_ = a.conn.Close() // nothing is to be saved from it
		a.conn = nil
	}
}

func (a *advertSocket) close() { a.cancel() }

// send sends a packet to wherever the instance's adverts go.
func (a *advertSocket) send(p vrrp.Packet) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return rawip.ErrInterface
	}
	var errs []error
	for _, to := range a.conn.Destinations() {
		b, err := p.Append(nil, a.conn.Source(), to)
		if err == nil {
			err = a.conn.Send(b, to)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (d *daemon) sendAdvert(a node.SendAdvert) {
	s := d.adverts[a.Instance]
	if s == nil {
		return
	}
	if err := s.send(a.Packet); err != nil {
		d.log.Debug("sending an advert", "instance", a.Instance, "err", err)
	}
}

// linkChanged turns what the kernel says of links into events.
func (d *daemon) linkChanged(ev vip.Event) {
	switch ev := ev.(type) {
	case vip.LinkEvent:
		d.post(node.Link{Interface: ev.Interface, Up: ev.Up})
	case vip.AddressEvent:
		// One that somebody took off is put back by the next extension.
		if ev.Added {
			select {
			case d.appeared <- ev:
			case <-d.workCtx.Done():
			}
		}
	}
}
