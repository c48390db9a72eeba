package mesh

import (
	"cmp"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/boottime"
)

const (
	defaultInterval = 200 * time.Millisecond
	minInterval     = 10 * time.Millisecond

	// relayIntervals is for how many intervals a report is passed on: as long as it may
	// take the next one to come when two are lost in a row.
	relayIntervals = 3

	// The queues. When one is full what would go into it is dropped and counted, as the
	// network might have: reports come again, and requests are repeated by who asks.
	maxEvents = 1024
	maxUnsent = 1024

	// leaveTimeout is how long memberlist may take to tell the others that we go.
	leaveTimeout = 150 * time.Millisecond
)

// Peer is another member of the cluster: a node or a witness.
type Peer struct {
	Name string     // as all members call it; at most 64 bytes
	Addr netip.Addr // where it listens, on the same port as all
}

// Config is what a Mesh needs to know.
type Config struct {
	Name    string         // own name, as the peers' configuration has it
	Cluster string         // what other clusters drop our traffic by; at most 64 bytes
	Bind    netip.AddrPort // own address, as the peers have it, and mesh_port; UDP and TCP
	Peers   []Peer         // all other members, witnesses included; at most 31

	// Key encrypts and proves everything: 16, 24 or 32 bytes, the same on all members.
	// Nil is refused unless Insecure is set; then a peer is known by its address alone.
	Key      []byte
	Insecure bool

	// Interval is how often reports go out; default 200 ms, at least 10 ms.
	Interval time.Duration

	// Lasts is how long a published report is repeated; default: until the next one. With
	// it, a member whose own work hangs falls silent, instead of holding on to its last word.
	Lasts time.Duration

	Logger *slog.Logger

	// Deliver takes the events, one at a time, in order, from Run's goroutine for them.
	// While it blocks they wait, 1024 at most; then they are dropped and counted.
	Deliver func(Event)
}

// Mesh is one member. All methods may be called at any time from anywhere; none but
// Run blocks.
type Mesh struct {
	cfg       Config
	run       uint64 // random: marks this run's requests
	peers     []*peer
	admission *admission
	counts    counters

	running  atomic.Bool
	events   chan Event
	unsent   chan packet
	announce chan struct{} // reports are to go out now

	mu       sync.Mutex // guards all below, and the alive, since and heard of each peer
	list     *memberlist.Memberlist
	own      *arbiter.Report // as published; nil: nothing yet
	ownAt    time.Time       // when it was published
	seq      uint64          // of the last own report sent
	floor    uint64          // the least incarnation that the peers will take for news
	reports  *table
	requests *asked
}

// peer is another member and what is known of it here.
type peer struct {
	Peer
	to     memberlist.Address
	kick   chan struct{}   // it speaks to us: join it now
	stream chan []byte     // for what is too long for a packet; taken only when idle
	fixed  memberlist.Node // for memberlist to send streams to

	// Guarded by Mesh.mu.
	alive bool
	since time.Time
	heard time.Time
}

// packet is a message for one peer, by UDP.
type packet struct {
	to  *peer
	msg []byte
}

// Member is a peer as Mesh.Members shows it. Instants are of the boot clock.
type Member struct {
	Name  string
	Addr  netip.Addr
	Alive bool      // memberlist's view
	Since time.Time // when Alive last changed; zero: never
	Heard time.Time // when it was last heard directly; zero: never
}

// New checks cfg and returns a Mesh that does nothing yet.
func New(cfg Config) (*Mesh, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	m := &Mesh{
		cfg:      cfg,
		events:   make(chan Event, maxEvents),
		unsent:   make(chan packet, maxUnsent),
		announce: make(chan struct{}, 1),
		reports:  newTable(),
		requests: newAsked(),
	}
	var random [8]byte
	_, _ = crand.Read(random[:]) // crypto/rand never returns an error
	m.run = binary.NativeEndian.Uint64(random[:])
	for _, p := range cfg.Peers {
		to := netip.AddrPortFrom(p.Addr, cfg.Bind.Port())
		m.peers = append(m.peers, &peer{
			Peer:   p,
			to:     memberlist.Address{Addr: to.String(), Name: p.Name},
			kick:   make(chan struct{}, 1),
			stream: make(chan []byte),
			fixed:  memberlist.Node{Name: p.Name, Addr: p.Addr.AsSlice(), Port: to.Port()},
		})
	}
	var err error
	m.admission, err = newAdmission(cfg, &m.counts)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// complete checks the configuration and fills in the defaults.
func (c *Config) complete() error {
	if err := errors.Join(checkText("this member", c.Name, maxName), checkText("the cluster", c.Cluster, maxName)); err != nil {
		return err
	}
	c.Bind = netip.AddrPortFrom(c.Bind.Addr().Unmap(), c.Bind.Port())
	if err := checkAddr(c.Bind.Addr()); err != nil {
		return fmt.Errorf("own address: %w", err)
	}
	if c.Bind.Port() == 0 {
		return errors.New("no port to listen on")
	}
	if len(c.Peers) >= maxMembers {
		return fmt.Errorf("%d members; at most %d", len(c.Peers)+1, maxMembers)
	}
	names, addrs := map[string]bool{c.Name: true}, map[netip.Addr]bool{c.Bind.Addr(): true}
	c.Peers = slices.Clone(c.Peers)
	for i := range c.Peers {
		p := &c.Peers[i]
		p.Addr = p.Addr.Unmap()
		if err := errors.Join(checkText("peer", p.Name, maxName), checkAddr(p.Addr)); err != nil {
			return fmt.Errorf("peer %q: %w", p.Name, err)
		}
		if names[p.Name] || addrs[p.Addr] {
			return fmt.Errorf("peer %s %s: another member has that name or address", p.Name, p.Addr)
		}
		names[p.Name], addrs[p.Addr] = true, true
	}
	switch len(c.Key) {
	case 16, 24, 32:
	case 0:
		if !c.Insecure {
			return errors.New("no key: set key_file (made with 'solovip keygen'), or say 'insecure on' to run unencrypted")
		}
		c.Key = nil
	default:
		return fmt.Errorf("key of %d bytes; 16, 24 or 32 are needed", len(c.Key))
	}
	c.Interval = cmp.Or(c.Interval, defaultInterval)
	if c.Interval < minInterval {
		return fmt.Errorf("interval %v; at least %v", c.Interval, minInterval)
	}
	if c.Deliver == nil || c.Logger == nil {
		return errors.New("no one to deliver to, or no logger")
	}
	return nil
}

// checkAddr holds an address to what all members can send to.
func checkAddr(a netip.Addr) error {
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
		return fmt.Errorf("%v is no address of a host", a)
	case a.Zone() != "":
		return fmt.Errorf("%v has a zone, which means something on one host only; use another address", a)
	}
	return nil
}

// Publish sets the report that goes out from now on: at once, and then each Interval.
// The mesh sets Node and Seq: each copy sent is a report of its own, so that it shows
// that the member still lives. It raises Incarnation when the peers remember a higher
// one. An error says which bound the report breaks; the one before it stays.
func (m *Mesh) Publish(r arbiter.Report) error {
	r.Node = m.cfg.Name
	r.Claims = slices.Clone(r.Claims)
	if err := checkReport(r); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	const overhead = 1024 // more than the numbers and names around a report can take
	if n := len(encodeReports([]arbiter.Report{r})[0]); n > maxMessage-overhead {
		return fmt.Errorf("publish: report of %d bytes; at most %d", n, maxMessage-overhead)
	}
	m.mu.Lock()
	m.own, m.ownAt = &r, boottime.Now()
	m.mu.Unlock()
	select {
	case m.announce <- struct{}{}:
	default: // one is under way, and will send this
	}
	return nil
}

// Ask sends a request to the member it is for, directly and through every other one.
// It sets From. Nothing is repeated here: to be safe from loss, ask again with the same
// ID, which is delivered once and answered again. Before the mesh is up, and for a
// member that is none, the request is dropped and counted.
func (m *Mesh) Ask(r arbiter.Request) {
	r.From = m.cfg.Name
	msg := message{kind: kindRequest, From: m.cfg.Name, Run: m.run, Request: &r}
	if m.peer(r.To) == nil || msg.check() != nil {
		m.counts.unsent.Add(1)
		m.cfg.Logger.Debug("mesh request that cannot be sent", "peer", r.To, "claim", r.Claim)
		return
	}
	b := encode(msg)
	for _, p := range m.peers {
		m.send(p, b)
	}
}

// Answer sends the answer to a request that was Asked: directly, and back through the
// relays through which the request came. It sets From. An answer to a request that
// never came, or long ago, is dropped and counted.
func (m *Mesh) Answer(a arbiter.Answer) {
	a.From = m.cfg.Name
	a.Why = cutText(a.Why, maxWhy)
	m.mu.Lock()
	run, vias, ok := m.requests.answered(a)
	m.mu.Unlock()
	if !ok {
		m.counts.unsent.Add(1)
		m.cfg.Logger.Debug("mesh answer without a request", "peer", a.To, "claim", a.Claim)
		return
	}
	m.sendAnswer(a, run, append(vias, a.To))
}

// sendAnswer sends an answer to each of the named peers.
func (m *Mesh) sendAnswer(a arbiter.Answer, run uint64, to []string) {
	msg := message{kind: kindAnswer, From: m.cfg.Name, Run: run, Answer: &a}
	if msg.check() != nil {
		m.counts.unsent.Add(1) // the caller's claim or name is beyond the bounds
		return
	}
	b := encode(msg)
	for _, name := range to {
		m.send(m.peer(name), b)
	}
}

// send queues a message for a peer; it never blocks.
func (m *Mesh) send(p *peer, msg []byte) {
	m.mu.Lock()
	up := m.list != nil
	m.mu.Unlock()
	if !up {
		m.counts.unsent.Add(1)
		return
	}
	select {
	case m.unsent <- packet{p, msg}:
	default:
		m.counts.unsent.Add(1)
	}
}

// deliver queues an event; it never blocks.
func (m *Mesh) deliver(e Event) {
	select {
	case m.events <- e:
	default:
		m.counts.undelivered.Add(1)
	}
}

// Members returns what is known of each peer, in the order of Config.Peers.
func (m *Mesh) Members() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	members := make([]Member, 0, len(m.peers))
	for _, p := range m.peers {
		members = append(members, Member{Name: p.Name, Addr: p.Addr, Alive: p.alive, Since: p.since, Heard: p.heard})
	}
	return members
}

// Counts returns how often something was dropped since New.
func (m *Mesh) Counts() Counts { return m.counts.snapshot() }

// peer returns the peer of that name, nil for none.
func (m *Mesh) peer(name string) *peer {
	for _, p := range m.peers {
		if p.Name == name {
			return p
		}
	}
	return nil
}
