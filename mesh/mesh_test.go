package mesh

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/await"
)

// patience is how long a test waits for what must come. It is no measure: the
// machines that run tests are busy.
const patience = 20 * time.Second

var testKey = bytes.Repeat([]byte{7}, keyBytes)

// recorder keeps the events of one member and what it logged at Info and above.
type recorder[E any] struct {
	mu     sync.Mutex // guards events, and the writes to log
	events []E
	log    bytes.Buffer
	more   chan struct{} // closed and replaced when an event comes
}

func newRecorder[E any]() *recorder[E] { return &recorder[E]{more: make(chan struct{})} }

func (r *recorder[E]) record(e E) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.more)
	r.more = make(chan struct{})
}

func (r *recorder[E]) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *recorder[E]) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// mark returns how many events there are; await can begin there.
func (r *recorder[E]) mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// since returns the events from a mark on.
func (r *recorder[E]) since(mark int) []E {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events[mark:])
}

// await returns the first event from a mark on that is as wanted.
func (r *recorder[E]) await(t *testing.T, mark int, what string, want func(E) bool) E {
	t.Helper()
	deadline := time.After(patience)
	for next := mark; ; {
		r.mu.Lock()
		events, more := r.events, r.more
		r.mu.Unlock()
		for ; next < len(events); next++ {
			if want(events[next]) {
				return events[next]
			}
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("waited %v in vain for: %s; log:\n%s", patience, what, r.logged())
		}
	}
}

func alive(name string, is bool) func(Event) bool {
	return func(e Event) bool { return e == MemberChanged{Name: name, Alive: is} }
}

func report(node, via string) func(Event) bool {
	return func(e Event) bool {
		s, ok := e.(ReportSeen)
		return ok && s.Report.Node == node && s.Path.Via == via
	}
}

// member is one Mesh under test.
type member struct {
	*Mesh
	*recorder[Event]
	stop context.CancelFunc
	done chan error
}

// start runs a Mesh to the end of the test.
func start(t *testing.T, cfg Config) *member {
	t.Helper()
	m := &member{recorder: newRecorder[Event](), done: make(chan error, 1)}
	cfg.Deliver = m.record
	cfg.Logger = slog.New(slog.NewTextHandler(m.recorder, nil))
	var err error
	m.Mesh, err = New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go func() { m.done <- m.Run(ctx) }()
	t.Cleanup(func() { m.end(t) })
	return m
}

// end stops the member and waits until Run has returned.
func (m *member) end(t *testing.T) {
	t.Helper()
	m.stop()
	select {
	case err := <-m.done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		m.done <- nil
	case <-time.After(patience):
		t.Error("Run does not return")
	}
}

// meshPort is not among the ports that the kernel gives to outgoing connections: one of
// those may be taken, for a minute after the connection, by who was here before.
const meshPort = 7946

// placesTaken is how often loopbackPeers has given addresses away.
var placesTaken atomic.Uint32

// loopbackPeers returns members on loopback addresses that no other test has, of this
// process or another, with some free ones after the last.
func loopbackPeers(t *testing.T, names ...string) []Peer {
	t.Helper()
	const places, most = 31, 8 // a call takes most of them
	if len(names) >= most {
		t.Fatalf("%d members; there is room for %d", len(names), most-1)
	}
	first := 1 + most*((placesTaken.Add(1)-1)%places)
	pid := os.Getpid()
	var peers []Peer
	for i, name := range names {
		peers = append(peers, Peer{name, netip.AddrFrom4([4]byte{127, byte(1 + pid/250%250), byte(1 + pid%250), byte(first + uint32(i))})})
	}
	return peers
}

// configOf returns the configuration of the i-th of the members.
func configOf(peers []Peer, i int) Config {
	return Config{
		Name: peers[i].Name, Cluster: "edge", Key: testKey,
		Bind:   netip.AddrPortFrom(peers[i].Addr, meshPort),
		Peers:  slices.Delete(slices.Clone(peers), i, i+1),
		Logger: slog.New(slog.DiscardHandler), Deliver: func(Event) {},
	}
}

// startAll starts a cluster and waits until all hear each other by all paths.
func startAll(t *testing.T, names ...string) []*member {
	t.Helper()
	peers := loopbackPeers(t, names...)
	var all []*member
	for i := range peers {
		m := start(t, configOf(peers, i))
		publish(t, m, 1)
		all = append(all, m)
	}
	for _, m := range all {
		for _, p := range m.cfg.Peers {
			m.await(t, 0, m.cfg.Name+" sees "+p.Name+" alive", alive(p.Name, true))
			for _, q := range m.cfg.Peers {
				via := ""
				if q.Name != p.Name {
					via = q.Name
				}
				m.await(t, 0, m.cfg.Name+" hears "+p.Name+" via "+via, report(p.Name, via))
			}
		}
	}
	return all
}

func publish(t *testing.T, m *member, incarnation uint64, claims ...arbiter.ClaimReport) {
	t.Helper()
	if err := m.Publish(arbiter.Report{Incarnation: incarnation, Mode: arbiter.ModeVeto, Claims: claims}); err != nil {
		t.Fatal(err)
	}
}

func TestNewRefuses(t *testing.T) {
	peers := loopbackPeers(t, "lb01", "lb02", "w1")
	for _, row := range []struct {
		name  string
		spoil func(*Config)
		want  string
	}{
		{"no name", func(c *Config) { c.Name = "" }, "without a name"},
		{"no cluster", func(c *Config) { c.Cluster = "" }, "cluster without a name"},
		{"no address", func(c *Config) { c.Bind = netip.AddrPort{} }, "no address of a host"},
		{"any address", func(c *Config) { c.Bind = netip.MustParseAddrPort("0.0.0.0:7946") }, "no address of a host"},
		{"a link-local address", func(c *Config) { c.Bind = netip.MustParseAddrPort("[fe80::1%eth0]:7946") }, "zone"},
		{"no port", func(c *Config) { c.Bind = netip.AddrPortFrom(peers[0].Addr, 0) }, "no port"},
		{"a peer of the same name", func(c *Config) { c.Peers[0].Name = "lb01" }, "another member has"},
		{"a peer at the same address", func(c *Config) { c.Peers[1].Addr = c.Peers[0].Addr }, "another member has"},
		{"a peer without an address", func(c *Config) { c.Peers[1].Addr = netip.Addr{} }, "no address of a host"},
		{"too many peers", func(c *Config) { c.Peers = make([]Peer, maxMembers) }, "at most 32"},
		{"no key", func(c *Config) { c.Key = nil }, "insecure on"},
		{"a key too short", func(c *Config) { c.Key = c.Key[:15] }, "key of 15 bytes"},
		{"a hectic interval", func(c *Config) { c.Interval = time.Millisecond }, "at least 10ms"},
		{"nobody to deliver to", func(c *Config) { c.Deliver = nil }, "no one to deliver to"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := configOf(peers, 0)
			row.spoil(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want an error with %q", err, row.want)
			}
		})
	}
}

func TestMembersHearEachOtherByAllPaths(t *testing.T) {
	all := startAll(t, "lb01", "lb02", "w1")
	mark := all[1].mark()
	publish(t, all[0], 1, arbiter.ClaimReport{Claim: "VI_1", State: "MASTER", Holds: true, Token: 12, Priority: 150})
	for _, via := range []string{"", "w1"} {
		all[1].await(t, mark, "the claim of lb01 via "+via, func(e Event) bool {
			s, ok := e.(ReportSeen)
			if !ok || s.Report.Node != "lb01" || s.Path.Via != via {
				return false
			}
			c, ok := s.Report.Claim("VI_1")
			return ok && c.Holds && c.Token == 12
		})
	}
	for _, m := range all[1].Members() {
		if !m.Alive || m.Since.IsZero() || m.Heard.IsZero() {
			t.Errorf("lb02 shows %+v, want it alive and heard", m)
		}
	}
	// A report shows life: it comes again and again, each one newer by its path.
	newest := map[string]stamp{}
	for _, e := range all[1].since(0) {
		if s, ok := e.(ReportSeen); ok {
			key := s.Report.Node + " " + s.Path.String()
			if now := stampOf(s.Report); newest[key] != (stamp{}) && !now.newer(newest[key]) {
				t.Errorf("%s: %+v after %+v", key, now, newest[key])
			}
			newest[key] = stampOf(s.Report)
		}
	}
}

func TestQuestionIsDeliveredOnceAndAnswered(t *testing.T) {
	all := startAll(t, "lb01", "lb02", "w1")
	for id := range uint64(20) {
		all[0].Ask(arbiter.Request{ID: id, Kind: arbiter.RequestHolds, To: "lb02", Claim: "VI_1"})
		asked := all[1].await(t, 0, "the question", func(e Event) bool {
			a, ok := e.(Asked)
			return ok && a.Request.ID == id
		}).(Asked)
		if q := asked.Request; q.From != "lb01" || q.Kind != arbiter.RequestHolds || q.Claim != "VI_1" {
			t.Errorf("asked %+v", q)
		}
		all[1].Answer(arbiter.Answer{ID: id, To: "lb01", Claim: "VI_1", Yes: true, Token: 3})
		got := all[0].await(t, 0, "the answer", func(e Event) bool {
			a, ok := e.(Answered)
			return ok && a.Answer.ID == id
		}).(Answered)
		if a := got.Answer; a.From != "lb02" || !a.Yes || a.Token != 3 {
			t.Errorf("answered %+v", a)
		}
	}
	// Asked once more with the same number, it is answered again but not delivered again.
	mark := all[0].mark()
	all[0].Ask(arbiter.Request{ID: 7, Kind: arbiter.RequestHolds, To: "lb02", Claim: "VI_1"})
	all[0].await(t, mark, "the answer again", func(e Event) bool { _, ok := e.(Answered); return ok })
	all[0].await(t, mark, "the answer again, relayed", func(e Event) bool {
		a, ok := e.(Answered)
		return ok && a.Path.Via == "w1"
	})
	count := map[uint64]int{}
	for _, e := range all[1].since(0) {
		if a, ok := e.(Asked); ok {
			count[a.Request.ID]++
		}
	}
	for id, n := range count {
		if n != 1 {
			t.Errorf("question %d was delivered %d times", id, n)
		}
	}
	for _, e := range all[2].since(0) {
		switch e.(type) {
		case Asked, Answered:
			t.Errorf("the relay was delivered what was not for it: %+v", e)
		case ReportSeen, MemberChanged: // as everywhere
		}
	}
}

func TestAskBeforeUpAndToNobodyIsDropped(t *testing.T) {
	peers := loopbackPeers(t, "lb01", "lb02")
	m, err := New(configOf(peers, 0))
	if err != nil {
		t.Fatal(err)
	}
	m.Ask(arbiter.Request{ID: 1, To: "lb02", Claim: "VI_1"})
	m.Ask(arbiter.Request{ID: 2, To: "nobody", Claim: "VI_1"})
	m.Ask(arbiter.Request{ID: 3, To: "lb01", Claim: "VI_1"})
	m.Answer(arbiter.Answer{ID: 4, To: "lb02", Claim: "VI_1"})
	if got := m.Counts().Unsent; got != 4 {
		t.Errorf("%d unsent, want 4", got)
	}
}

func TestOrderlyStopIsSeenAtOnce(t *testing.T) {
	all := startAll(t, "lb01", "lb02", "w1")
	mark := all[1].mark()
	before := time.Now()
	all[0].end(t)
	all[1].await(t, mark, "the report that says it leaves", func(e Event) bool {
		s, ok := e.(ReportSeen)
		return ok && s.Report.Node == "lb01" && s.Report.Leaving
	})
	all[1].await(t, mark, "lb01 gone", alive("lb01", false))
	t.Logf("stop to gone, as lb02 sees it: %v", time.Since(before))
	for _, e := range all[1].since(mark) {
		if s, ok := e.(ReportSeen); ok && s.Report.Node == "lb01" && s.Path.Via == "" && s.Report.Leaving {
			mark = -1
		} else if ok && s.Report.Node == "lb01" && s.Path.Via == "" && mark < 0 {
			t.Error("lb01 said that it leaves, and then that it does not")
		}
	}
	// Memberlist's own goroutines may take a probe or two to end; ours have ended.
	all[1].end(t)
	all[2].end(t)
	await.That(t, "no goroutine of memberlist is left", func() bool {
		buf := make([]byte, 1<<20)
		return !bytes.Contains(buf[:runtime.Stack(buf, true)], []byte("hashicorp/memberlist."))
	})
}

func TestRestartWithLostIncarnationIsHeard(t *testing.T) {
	peers := loopbackPeers(t, "lb01", "lb02")
	lb02 := start(t, configOf(peers, 1))
	publish(t, lb02, 1)
	first := start(t, configOf(peers, 0))
	publish(t, first, 9)
	lb02.await(t, 0, "lb01", report("lb01", ""))
	lb02.await(t, 0, "lb01 alive", alive("lb01", true))
	mark := lb02.mark()
	first.end(t)
	lb02.await(t, mark, "lb01 gone", alive("lb01", false)) // if it came back before, it would not be alive again
	mark = lb02.mark()
	second := start(t, configOf(peers, 0))
	publish(t, second, 2)
	lb02.await(t, mark, "lb01 after its restart", func(e Event) bool {
		s, ok := e.(ReportSeen)
		return ok && s.Report.Node == "lb01" && !s.Report.Leaving && s.Report.Incarnation == 10
	})
	lb02.await(t, mark, "lb01 alive again", alive("lb01", true))
	if !strings.Contains(second.logged(), "a peer remembers a later run") {
		t.Errorf("nothing was said of it:\n%s", second.logged())
	}
}

func TestReportTooLongForAPacketGoesThrough(t *testing.T) {
	all := startAll(t, "lb01", "lb02", "w1")
	var claims []arbiter.ClaimReport
	for i := range maxClaims {
		claims = append(claims, arbiter.ClaimReport{Claim: fmt.Sprintf("VI_%04d", i), State: "BACKUP", Priority: 100})
	}
	mark := all[1].mark()
	publish(t, all[0], 1, claims...)
	for _, via := range []string{"", "w1"} {
		all[1].await(t, mark, "all the claims of lb01 via "+via, func(e Event) bool {
			s, ok := e.(ReportSeen)
			return ok && s.Report.Node == "lb01" && s.Path.Via == via && len(s.Report.Claims) == maxClaims
		})
	}
	if err := all[0].Publish(arbiter.Report{Claims: append(claims, claims[0])}); err == nil {
		t.Error("a report beyond the bounds was taken")
	}
	if err := all[0].Publish(arbiter.Report{Claims: []arbiter.ClaimReport{{Claim: "VI_\xff"}}}); err == nil {
		t.Error("a claim whose name JSON would change was taken")
	}
}

func TestSlowDelivererLosesEventsAndNothingElse(t *testing.T) {
	peers := loopbackPeers(t, "lb01", "lb02")
	release := make(chan struct{})
	cfg := configOf(peers, 0)
	cfg.Deliver = func(Event) { <-release }
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	for id := range uint64(maxEvents + 2) { // one more than are queued and being delivered
		m.receive(encode(message{kind: kindRequest, From: "lb02", Request: &arbiter.Request{
			ID: id, From: "lb02", To: "lb01", Claim: "VI_1",
		}}))
	}
	lb02 := start(t, configOf(peers, 1))
	publish(t, lb02, 1)
	lb02.await(t, 0, "lb01 joins although nobody takes its events", alive("lb01", true))
	close(release)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if m.Counts().Undelivered == 0 {
		t.Error("dropped events were not counted")
	}
}
