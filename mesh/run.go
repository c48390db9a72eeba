package mesh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/boottime"
)

const (
	// joinEvery is how often a peer that is not alive is joined. It never ends: two
	// halves that have declared each other dead find together again by this alone.
	joinEvery = time.Second

	// bindEvery is how often a bind is tried again.
	bindEvery = time.Second
)

// Run binds, joins the peers and keeps the mesh up until ctx is over; then it says to
// the others that it goes. It may be called once. When the address is not there yet
// it waits for it, for ever; it returns an error when it may not bind at all. No
// goroutine of ours runs and no event is delivered after it has returned.
func (m *Mesh) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return errors.New("mesh: Run called twice")
	}
	t, err := m.bind(ctx)
	if err != nil || t == nil {
		return err
	}
	list, err := memberlist.Create(m.tuned(t))
	if err != nil {
		return errors.Join(fmt.Errorf("mesh: start memberlist: %w", err), t.Shutdown())
	}
	m.mu.Lock()
	m.list = list
	m.mu.Unlock()
	m.cfg.Logger.Info("mesh is up", "address", m.cfg.Bind, "cluster", m.cfg.Cluster,
		"peers", len(m.peers), "encrypted", m.cfg.Key != nil)

	// The senders and the deliverer outlive ctx: the leaving is to be told, too.
	late, stop := context.WithCancel(context.WithoutCancel(ctx))
	var announcing, all sync.WaitGroup
	announcing.Go(func() { m.announceLoop(ctx, list) })
	for _, p := range m.peers {
		all.Go(func() { m.joinLoop(ctx, list, p) })
		all.Go(func() { m.streamLoop(late, list, p) })
	}
	all.Go(func() { m.sendLoop(late, list) })
	all.Go(func() { m.deliverLoop(late) })
	<-ctx.Done()
	announcing.Wait() // or its last report would be newer than the one that says we leave
	m.leave(list, t)
	stop()
	all.Wait()
	return nil
}

// bind listens, however long the address takes to come. It returns nil, nil when ctx
// is over first.
func (m *Mesh) bind(ctx context.Context) (*transport, error) {
	told := ""
	for {
		t, err := listen(m.cfg, m.admission, &m.counts)
		if err == nil {
			return t, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("mesh: %w: a mesh_port below 1024 needs CAP_NET_BIND_SERVICE", err)
		}
		if why := err.Error(); why != told {
			told = why
			m.cfg.Logger.Warn("mesh cannot listen yet, trying again until it can; is the interface up, "+
				"and does the address belong to this host?", "address", m.cfg.Bind, "err", err)
		}
		if !wait(ctx, bindEvery, nil) {
			return nil, nil
		}
	}
}

// wait returns true after d or when kicked, and false when ctx is over.
func wait(ctx context.Context, d time.Duration, kick <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-kick:
	case <-ctx.Done():
		return false
	}
	return true
}

// tuned returns memberlist's configuration: sub-second detection of a death in a
// cluster of a few members on one or two LANs, at some packets a second.
//
// A dead peer is found so: it is probed after at most (members-1) x ProbeInterval, or
// not quite twice that when the order is shuffled; the probe fails after another
// ProbeInterval, the peer is suspect, and SuspicionMult x ProbeInterval later it is
// dead. Measured with three members, from the cut or kill to MemberChanged: 0.65 to
// 0.95 s on either side of the cut. The defaults for a LAN take 5 to 6 s. After the
// heal both sides are alive to each other within 0.1 s of the first packet, and the
// first direct report comes within Interval.
//
// A live peer behind a bad link must not be buried: it learns of the suspicion and
// refutes it by gossip. In the 450 ms of suspicion there are 9 rounds of gossip, and
// each message is sent RetransmitMult times, 8 times to each of two peers. At 30 %
// loss the refutation is lost on all of them once in fifteen thousand times. Measured
// with three members, each losing that share of what it gets: none buried in 3 minutes
// at 20 % and in 1 minute at 30 %. A process that gets no processor for 0.6 s is buried,
// and rightly so. Whoever is, and lives, is back with its next report.
func (m *Mesh) tuned(t *transport) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.cfg.Name
	c.Transport = t
	c.Label = m.cfg.Cluster
	c.SkipInboundLabelCheck = true // the transport has checked and removed it
	c.SecretKey = m.cfg.Key
	c.EnableCompression = false // no gain for messages of this size
	c.UDPBufferSize = maxPacket
	c.Logger = slog.NewLogLogger(m.cfg.Logger.Handler(), slog.LevelDebug)

	c.ProbeInterval = 150 * time.Millisecond
	c.ProbeTimeout = 60 * time.Millisecond // leaves 90 ms for the relayed and TCP probes
	c.IndirectChecks = 3
	c.SuspicionMult = 3
	c.SuspicionMaxTimeoutMult = 1 // do not wait for a third to suspect it too
	c.AwarenessMaxMultiplier = 1  // or a member that is alone slows down and finds it out last
	c.RetransmitMult = 16
	c.GossipInterval = 50 * time.Millisecond
	c.GossipToTheDeadTime = 30 * time.Second
	c.PushPullInterval = 10 * time.Second
	c.TCPTimeout = streamTimeout

	d := (*delegate)(m)
	c.Delegate, c.Events, c.Alive = d, d, d
	return c
}

// announceLoop sends the reports each Interval, and when a new one is published.
func (m *Mesh) announceLoop(ctx context.Context, list *memberlist.Memberlist) {
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.announce:
		case <-tick.C:
		}
		m.sendReports(list, false)
	}
}

// sendReports sends each peer our report, and those of the others that we have heard
// of late from themselves; alive or not: memberlist may be wrong.
func (m *Mesh) sendReports(list *memberlist.Memberlist, leaving bool) {
	m.mu.Lock()
	reports := m.reports.fresh(boottime.Now(), relayIntervals*m.cfg.Interval)
	if own, ok := m.nextOwn(leaving); ok {
		reports = append([]arbiter.Report{own}, reports...)
	}
	yours := make([]*stamp, len(m.peers))
	for i, p := range m.peers {
		yours[i] = m.reports.newest(p.Name)
	}
	m.mu.Unlock()

	encoded := encodeReports(reports)
	for i, p := range m.peers {
		packets, streams := packReports(m.cfg.Name, yours[i], encoded)
		for _, b := range packets {
			m.sendPacket(list, p, b)
		}
		for _, b := range streams {
			select {
			case p.stream <- b:
			default: // the one before is still under way: this would be old when its turn comes
				m.counts.unsent.Add(1)
			}
		}
	}
}

// nextOwn returns the next of our own reports. Mesh.mu is held.
func (m *Mesh) nextOwn(leaving bool) (arbiter.Report, bool) {
	if m.own == nil || m.cfg.Lasts > 0 && boottime.Now().Sub(m.ownAt) > m.cfg.Lasts {
		return arbiter.Report{}, false
	}
	m.seq++
	r := *m.own
	r.Seq = m.seq
	r.Incarnation = max(r.Incarnation, m.floor)
	r.Leaving = r.Leaving || leaving
	return r, true
}

// sendPacket sends a message by UDP.
func (m *Mesh) sendPacket(list *memberlist.Memberlist, p *peer, b []byte) {
	if err := list.SendToAddress(p.to, b); err != nil {
		m.counts.unsent.Add(1)
		m.cfg.Logger.Debug("send mesh packet", "peer", p.Name, "err", err)
	}
}

// sendLoop sends what was queued by send.
func (m *Mesh) sendLoop(ctx context.Context, list *memberlist.Memberlist) {
	for {
		select {
		case <-ctx.Done():
			return
		case out := <-m.unsent:
			m.sendPacket(list, out.to, out.msg)
		}
	}
}

// streamLoop sends a peer by TCP what is too long for a packet.
func (m *Mesh) streamLoop(ctx context.Context, list *memberlist.Memberlist, p *peer) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-p.stream:
			if err := list.SendReliable(&p.fixed, b); err != nil {
				m.counts.unsent.Add(1)
				m.cfg.Logger.Debug("send mesh stream", "peer", p.Name, "err", err)
			}
		}
	}
}

// deliverLoop delivers the events.
func (m *Mesh) deliverLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-m.events:
			m.cfg.Deliver(e)
		}
	}
}

// joinLoop joins one peer whenever it is not alive, until ctx is over.
func (m *Mesh) joinLoop(ctx context.Context, list *memberlist.Memberlist, p *peer) {
	told := false
	for {
		m.mu.Lock()
		alive := p.alive
		m.mu.Unlock()
		if alive {
			told = false
		} else if _, err := list.Join([]string{p.to.Addr}); err != nil && !told && ctx.Err() == nil {
			told = true
			m.cfg.Logger.Info("mesh peer cannot be joined, trying again until it can",
				"peer", p.Name, "err", joinError(err))
		}
		// Not more often than reports come, or a peer that speaks to us and will not be
		// joined would be tried without a pause.
		if !wait(ctx, m.cfg.Interval, nil) || !wait(ctx, joinEvery-min(m.cfg.Interval, joinEvery), p.kick) {
			return
		}
	}
}

// joinError takes the cause out of memberlist's list of one error on several lines.
func joinError(err error) string {
	text := strings.TrimSpace(err.Error())
	if i := strings.LastIndex(text, "* "); i >= 0 {
		text = text[i+2:]
	}
	return strings.Join(strings.Fields(text), " ")
}

// leave tells the others that we go, first in our own words, and ends memberlist.
func (m *Mesh) leave(list *memberlist.Memberlist, t *transport) {
	m.sendReports(list, true)
	if err := list.Leave(leaveTimeout); err != nil {
		m.cfg.Logger.Debug("leave mesh", "err", err) // the peers will find out by themselves
	}
	m.sendReports(list, true) // once more: a packet may have been lost
	m.mu.Lock()
	m.list = nil
	m.mu.Unlock()
	_ = list.Shutdown() // it closes the transport, and has no other error than ours
	_ = t.Shutdown()    // the same again, harmless
}

// delegate is the side of Mesh that memberlist calls.
type delegate Mesh

// NotifyMsg takes a message that a peer sent.
func (d *delegate) NotifyMsg(b []byte) { (*Mesh)(d).receive(b) }

// NotifyAlive lets in those only who are configured, at their configured address:
// gossip of a peer with another configuration brings others, too.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	m := (*Mesh)(d)
	want := m.cfg.Bind.Addr()
	if n.Name != m.cfg.Name {
		p := m.peer(n.Name)
		if p == nil {
			m.stranger(cutText(n.Name, maxName))
			return errors.New("not a configured member")
		}
		want = p.Addr
	}
	if !n.Addr.Equal(want.AsSlice()) || n.Port != m.cfg.Bind.Port() {
		m.counts.stranger.Add(1)
		if m.admission.firstTime(source{name: n.Name, why: "address"}) {
			m.cfg.Logger.Warn("mesh member has another address than in the cluster block here; "+
				"the block must be the same on all members", "member", n.Name, "here", want, "address", n.Address())
		}
		return fmt.Errorf("configured with the address %s port %d", want, m.cfg.Bind.Port())
	}
	return nil
}

// NotifyJoin says that a member is alive.
func (d *delegate) NotifyJoin(n *memberlist.Node) { (*Mesh)(d).changed(n.Name, true) }

// NotifyLeave says that a member is dead or has left.
func (d *delegate) NotifyLeave(n *memberlist.Node) { (*Mesh)(d).changed(n.Name, false) }

// NotifyUpdate has nothing to say: there is no metadata.
func (d *delegate) NotifyUpdate(*memberlist.Node) {}

// changed notes memberlist's view of a peer. memberlist holds its own lock meanwhile.
func (m *Mesh) changed(name string, alive bool) {
	p := m.peer(name)
	if p == nil {
		return // ourselves
	}
	m.mu.Lock()
	p.alive, p.since = alive, boottime.Now()
	m.mu.Unlock()
	m.deliver(MemberChanged{Name: name, Alive: alive})
}

// NodeMeta, GetBroadcasts, LocalState and MergeRemoteState are not used: what is said
// here must not wait for gossip.
func (d *delegate) NodeMeta(int) []byte { return nil }

// GetBroadcasts is not used.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is not used.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState is not used.
func (d *delegate) MergeRemoteState([]byte, bool) {}

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
)
