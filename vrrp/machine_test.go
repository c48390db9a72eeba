package vrrp

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newMachine(tb testing.TB, edit func(c *Config)) *Machine {
	tb.Helper()
	cfg := defaultConfig()
	if edit != nil {
		edit(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// advertOf returns what a peer with the machine's configuration would send.
func advertOf(m *Machine, from string, priority uint8) Received {
	peer := Machine{cfg: m.cfg}
	peer.send(priority)
	return Received{Packet: peer.out[0].(Send).Packet, Source: netip.MustParseAddr(from)}
}

func TestNewErrors(t *testing.T) {
	tests := []struct {
		want string
		edit func(c *Config)
	}{
		{"VRID 0", func(c *Config) { c.VRID = 0 }},
		{"unknown version: 4", func(c *Config) { c.Version = 4 }},
		{"priority 0", func(c *Config) { c.Priority = 0 }},
		{"interval: 0s", func(c *Config) { c.AdvertInterval = 0 }},
		{"interval: 500ms", func(c *Config) { c.Version, c.AdvertInterval = V2, 500*time.Millisecond }},
		{"number of addresses: 0", func(c *Config) { c.Addresses = nil }},
		{"not an IPv4 address: ::1", func(c *Config) { c.Addresses = addrs("::1") }},
		{"not an IPv4 address: invalid IP", func(c *Config) { c.Source = netip.Addr{} }},
		{"password of 9 bytes", func(c *Config) { c.Version, c.AuthPass = V2, "123456789" }},
		{"101 missed adverts", func(c *Config) { c.DownAdverts = 101 }},
		{"negative", func(c *Config) { c.PreemptDelay = -1 }},
		{"negative", func(c *Config) { c.GARP.Repeat = -1 }},
	}
	for _, tt := range tests {
		cfg := defaultConfig()
		tt.edit(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "VI_1") {
			t.Errorf("got %v, want VI_1 and %q", err, tt.want)
		}
	}
}

// TestVersion3HasNoAuthentication: a password left in the configuration does no harm.
func TestVersion3HasNoAuthentication(t *testing.T) {
	m := newMachine(t, func(c *Config) { c.AuthPass = "much too long for version 2" })
	if p := advertOf(m, "10.0.0.1", 100).Packet; p.AuthType != AuthNone || p.AuthData != [8]byte{} {
		t.Errorf("authentication %d %x in version 3", p.AuthType, p.AuthData)
	}
}

// TestSent: RFC 9568 section 7.2: adverts are filled from the configuration.
func TestSent(t *testing.T) {
	m := newMachine(t, func(c *Config) {
		c.Version, c.AuthPass, c.AdvertInterval = V2, "secret", 3*time.Second
		c.Addresses = addrs("10.0.0.101", "10.0.0.100")
	})
	m.Step(scriptStart, Start{})
	m.Step(scriptStart, SetPriority{Priority: 77})
	out := m.Step(scriptStart, Grant{})
	want := Send{Packet{
		Version: V2, VRID: 51, Priority: 77, AdvertInterval: 3 * time.Second,
		Addresses: addrs("10.0.0.101", "10.0.0.100"), AuthType: AuthPass, AuthData: [8]byte{'s', 'e', 'c', 'r', 'e', 't'},
	}}
	if d := cmp.Diff(Action(want), out[1], cmpAddr); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	m = newMachine(t, func(c *Config) { c.PlainChecksum = true })
	if !advertOf(m, "10.0.0.1", 1).Packet.PlainChecksum {
		t.Error("PlainChecksum is lost")
	}
}

// TestCallerKeepsItsSlices: neither the configuration's addresses nor those of an
// emitted packet are the machine's own.
func TestCallerKeepsItsSlices(t *testing.T) {
	cfg := defaultConfig()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Addresses[0] = testSrc
	m.Step(scriptStart, Start{})
	m.Step(scriptStart, Grant{})
	for range 2 {
		out := m.Step(scriptStart, advertOf(m, "10.0.0.2", 0))
		got := out[0].(Send).Packet.Addresses
		if !slices.Equal(got, defaultConfig().Addresses) {
			t.Errorf("advert has %v", got)
		}
		got[0] = testSrc
	}
}

func TestCounters(t *testing.T) {
	m := newMachine(t, nil)
	now := scriptStart
	for _, ev := range []Event{
		advertOf(m, "10.0.0.2", 200), // INIT: not heard at all
		Start{},
		advertOf(m, "10.0.0.2", 200),
		advertOf(m, "10.0.0.2", 0),
		advertOf(m, "10.0.0.1", 200),
		Grant{}, // sends one
		Yield{}, // and a goodbye
		Grant{},
		advertOf(m, "10.0.0.2", 50), // answered
		Yield{Quiet: true},
		SetFault{Fault: true},
		advertOf(m, "10.0.0.2", 50),
		Stop{},
	} {
		m.Step(now, ev)
	}
	want := Counters{Sent: 4, Received: 4, GoodbyesSent: 1, GoodbyesReceived: 1, BecameMaster: 2, LeftMaster: 2}
	want.discarded[CauseOwnAddress] = 1
	if got := m.Counters(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, c := range Causes() {
		if n := m.Counters().Discarded(c); (n == 1) != (c == CauseOwnAddress) {
			t.Errorf("discarded for %v: %d", c, n)
		}
	}
	if n := m.Counters().Discarded(Cause(200)); n != 0 {
		t.Errorf("discarded for no cause: %d", n)
	}
}

// TestDiscardedBounded: many forged sources neither fill the memory nor the log, and
// hide no news about a source that was there before.
func TestDiscardedBounded(t *testing.T) {
	m := newMachine(t, nil)
	m.Step(scriptStart, Start{})
	bad := advertOf(m, "10.0.0.2", 200)
	bad.Packet.VRID = 52
	told := 0
	for i := range 1000 {
		bad.Source = netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
		told += len(m.Step(scriptStart, bad))
	}
	if told != maxToldSources || len(m.told) != maxToldSources || m.Counters().Discarded(CauseVRID) != 1000 {
		t.Errorf("told %d times, %d sources kept, %d counted", told, len(m.told), m.Counters().Discarded(CauseVRID))
	}
	bad.Source = netip.MustParseAddr("172.16.0.0")
	bad.Packet.Version = V2
	if out := m.Step(scriptStart, bad); len(out) != 1 {
		t.Errorf("a new cause of a known source: %v", out)
	}
}

// TestHeardEvidence: the last accepted advert is kept in every state that listens.
func TestHeardEvidence(t *testing.T) {
	m := newMachine(t, func(c *Config) { c.ByPermission = true })
	now := scriptStart
	if !m.MasterHeard().IsZero() || m.MasterAddr().IsValid() {
		t.Error("something heard before the start")
	}
	m.Step(now, Start{})
	for i, ev := range []Event{Tick{}, Grant{}, SetFault{Fault: true, Why: "x"}} {
		m.Step(now, ev)
		now = now.Add(time.Second)
		from := fmt.Sprintf("10.0.0.%d", 50+i)
		m.Step(now, advertOf(m, from, uint8(200+i)))
		if m.MasterAddr().String() != from || m.MasterPriority() != uint8(200+i) || !m.MasterHeard().Equal(now) {
			t.Errorf("%v: %v %d %v", m.State(), m.MasterAddr(), m.MasterPriority(), m.MasterHeard())
		}
	}
}

// TestIdleEvents: what a state does not know does nothing in it.
func TestIdleEvents(t *testing.T) {
	into := map[State][]Event{
		StateInit:   nil,
		StateBackup: {Start{}},
		StateMaster: {Start{}, Grant{}},
		StateFault:  {SetFault{Fault: true}, Start{}},
	}
	idle := map[State][]Event{
		StateInit:   {Tick{}, Preempt{}, Grant{}, Yield{}, Stop{}, SetPriority{Priority: 5}, SetFault{Fault: true}, SetFault{}},
		StateBackup: {Start{}, Tick{}, Preempt{}, Yield{}, SetPriority{Priority: 5}, SetFault{}},
		StateMaster: {Start{}, Tick{}, Preempt{}, Grant{}, SetPriority{Priority: 5}, SetFault{}},
		StateFault:  {Start{}, Tick{}, Preempt{}, Grant{}, Yield{}, SetPriority{Priority: 5}, SetFault{Fault: true, Why: "another"}},
	}
	for state, events := range idle {
		for _, ev := range events {
			m := newMachine(t, nil)
			for _, e := range into[state] {
				m.Step(scriptStart, e)
			}
			if m.State() != state {
				t.Fatalf("prepared %v, want %v", m.State(), state)
			}
			if out := m.Step(scriptStart, ev); len(out) != 0 || m.State() != state {
				t.Errorf("%T in %v: %v, %v", ev, state, m.State(), out)
			}
		}
	}
}

func TestStrings(t *testing.T) {
	got := fmt.Sprint(StateInit, StateBackup, StateMaster, StateFault, State(9), ReasonTimeout, ReasonLeft, ReasonPreempt, ReasonOwner, Reason(9), Causes(), Cause(99)) //nolint:staticcheck // causes are no bytes: each has a String
	want := "INIT BACKUP MASTER FAULT State(9) no advert heard master left master has lower priority address owner Reason(9) " +
		"[own address version vrid authentication type password interval addresses] Cause(99)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A reload that changes how often is announced, and who preempts, leaves a master where it is.
func TestTune(t *testing.T) {
	start := time.Unix(1000, 0)
	m := newMachine(t, func(c *Config) { c.GARP = GARP{Repeat: 1} })
	m.Step(start, Start{})
	m.Step(start, Grant{})
	cfg := defaultConfig()
	cfg.GARP, cfg.Priority, cfg.Preempt = GARP{Repeat: 1, Refresh: 5 * time.Second, RefreshRepeat: 2}, 90, false
	if !reflect.DeepEqual(cfg.Fixed(), defaultConfig().Fixed()) {
		t.Fatal("the two cannot be told to be the same")
	}
	m.Tune(start.Add(10*time.Second), cfg)
	if m.State() != StateMaster || !m.Since().Equal(start) {
		t.Errorf("%v since %v", m.State(), m.Since())
	}
	announced := func(at time.Duration) (count int) {
		for _, a := range m.Step(start.Add(at), Tick{}) {
			if a, ok := a.(Announce); ok {
				count += a.Count
			}
		}
		return count
	}
	if n := announced(14 * time.Second); n != 0 {
		t.Errorf("announced %d times before the refresh is due", n)
	}
	if n := announced(15 * time.Second); n != 2 {
		t.Errorf("announced %d times when the refresh is due, want 2", n)
	}
	for name, other := range map[string]func(c *Config){
		"addresses":     func(c *Config) { c.Addresses = c.Addresses[:1:1]; c.Addresses[0] = netip.MustParseAddr("10.0.0.200") },
		"interval":      func(c *Config) { c.AdvertInterval *= 2 },
		"address owner": func(c *Config) { c.Priority = PriorityOwner },
	} {
		changed := defaultConfig()
		changed.Addresses = slices.Clone(changed.Addresses)
		other(&changed)
		if reflect.DeepEqual(changed.Fixed(), defaultConfig().Fixed()) {
			t.Errorf("%s can change while the machine runs", name)
		}
	}
}
