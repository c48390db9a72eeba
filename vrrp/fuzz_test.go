package vrrp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzStep feeds a machine with events out of random bytes and checks what must hold
// after each of them, whatever the order.
func FuzzStep(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		seed := make([]byte, 8+rng.IntN(200))
		for i := range seed {
			seed[i] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g := &bytesSource{data: data}
		m := newMachine(t, g.config)
		w := watcher{m: m, now: scriptStart}
		for n := 0; !g.empty() && n < 1000; n++ {
			w.now = w.now.Add(g.duration(m, w.now))
			if err := w.step(g.event(m)); err != nil {
				t.Fatalf("step %d: %v", n, err)
			}
		}
	})
}

// bytesSource makes choices out of bytes.
type bytesSource struct{ data []byte }

func (g *bytesSource) empty() bool { return len(g.data) == 0 }

func (g *bytesSource) byte() byte {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return b
}

func (g *bytesSource) config(c *Config) {
	flags := g.byte()
	if flags&1 != 0 {
		c.Version, c.AuthPass = V2, "secret"
	}
	c.Preempt = flags&2 == 0
	c.ByPermission = flags&4 != 0
	c.InitialMaster = flags&8 != 0
	c.SkipAddressCheck = flags&16 != 0
	if flags&32 != 0 {
		c.PreemptDelay = 2 * time.Second
	}
	if flags&64 != 0 {
		c.GARP.Refresh = 700 * time.Millisecond
	}
	if flags&128 != 0 {
		c.GARP.Repeat, c.GARP.LowerPrioDelay = 0, 0
	}
	c.Priority = max(1, g.byte())
	c.DownAdverts = int(g.byte() % 6)
}

// duration is often just up to the deadline, sometimes a freeze.
func (g *bytesSource) duration(m *Machine, now time.Time) time.Duration {
	switch b := g.byte(); {
	case b < 128:
		return max(0, m.Deadline().Sub(now)) * time.Duration(b%4) / 3 % time.Hour
	case b < 250:
		return time.Duration(b) * time.Millisecond
	default:
		return time.Minute
	}
}

func (g *bytesSource) event(m *Machine) Event {
	switch b := g.byte() % 17; b {
	case 0:
		return Start{}
	case 1:
		return SetPriority{Priority: g.byte()}
	case 2:
		return SetFault{Fault: g.byte()&1 != 0, Why: "test"}
	case 3:
		return Yield{Quiet: g.byte()&1 != 0, Why: "test"}
	case 4:
		return Stop{}
	case 5, 6:
		return Grant{}
	case 7, 8, 9, 10:
		return Tick{}
	case 16:
		return Preempt{}
	default:
		ev := advertOf(m, "10.0.0.1", g.byte())
		ev.Source = netip.AddrFrom4([4]byte{10, 0, 0, g.byte() % 4})
		switch g.byte() {
		case 0:
			ev.Packet.VRID++
		case 1:
			ev.Packet.Version = V2 + V3 - ev.Packet.Version
		case 2:
			ev.Packet.Addresses = nil
		case 3:
			ev.Packet.AdvertInterval = time.Duration(1+int(g.byte())) * centisecond
		case 4:
			ev.Packet.AuthType, ev.Packet.AuthData = AuthPass, [8]byte{'x'}
		}
		return ev
	}
}

// watcher checks a machine from outside.
type watcher struct {
	m     *Machine
	now   time.Time
	state State // as the actions told it
	wants bool
}

func (w *watcher) step(ev Event) error {
	out := w.m.Step(w.now, ev)
	if len(out) > 6 {
		return fmt.Errorf("%d actions at once", len(out))
	}
	for i, a := range out {
		var next Action
		if i+1 < len(out) {
			next = out[i+1]
		}
		if err := w.action(ev, a, next); err != nil {
			return fmt.Errorf("%T, action %d of %d, %s: %w", ev, i, len(out), describe(a), err)
		}
	}
	m := w.m
	if m.State() != w.state || m.Wants() != w.wants || (w.wants && w.state != StateBackup) {
		return fmt.Errorf("%T: state %v wants %t, the actions said %v %t", ev, m.State(), m.Wants(), w.state, w.wants)
	}
	quiet := w.state == StateInit || w.state == StateFault
	if d := m.Deadline(); d.IsZero() != quiet {
		return fmt.Errorf("%T: deadline %v in %v", ev, d, w.state)
	} else if _, tick := ev.(Tick); tick && !quiet && !d.After(w.now) {
		return fmt.Errorf("after a tick the deadline is %v ago", w.now.Sub(d))
	}
	return nil
}

func (w *watcher) action(ev Event, a, next Action) error {
	only := func(s State) error {
		if w.state != s {
			return fmt.Errorf("in %v", w.state)
		}
		return nil
	}
	switch a := a.(type) {
	case Send:
		if a.Packet.Priority == PriorityLeaving {
			if c, ok := next.(Changed); !ok || c.From != StateMaster {
				return fmt.Errorf("a goodbye before %v", next)
			}
		}
		if err := onWire(a.Packet); err != nil {
			return err
		}
		if _, ok := ev.(Preempt); ok && w.wants {
			return only(StateBackup)
		}
		return only(StateMaster)
	case Announce:
		if a.Count <= 0 {
			return fmt.Errorf("nothing to announce")
		}
		return only(StateMaster)
	case Challenged:
		return only(StateMaster)
	case Overdue:
		return only(StateBackup)
	case Want:
		w.wants = true
		return only(StateBackup)
	case Unwant:
		if !w.wants {
			return fmt.Errorf("without a want")
		}
		w.wants = false
	case Changed:
		return w.changed(ev, a)
	case Discarded:
		if w.state == StateInit {
			return fmt.Errorf("in INIT")
		}
	}
	return nil
}

func (w *watcher) changed(ev Event, c Changed) error {
	if c.From != w.state || c.To == c.From || c.Why == "" {
		return fmt.Errorf("from %v", w.state)
	}
	w.state, w.wants = c.To, false
	if _, granted := ev.(Grant); granted != (c.To == StateMaster) {
		return fmt.Errorf("by %T", ev)
	}
	if _, advert := ev.(Received); advert && w.m.cfg.ByPermission {
		return fmt.Errorf("an advert moved a machine that goes by permission")
	}
	if !w.m.Since().Equal(w.now) {
		return fmt.Errorf("since %v, now %v", w.m.Since(), w.now)
	}
	return nil
}

// onWire checks that a packet arrives as it was meant.
func onWire(p Packet) error {
	b, err := p.Append(nil, testSrc, Group())
	if err != nil {
		return err
	}
	got, err := Parse(b, testSrc, Group())
	if err != nil {
		return err
	}
	if d := cmp.Diff(p, got, cmpAddr); d != "" {
		return fmt.Errorf("arrives changed (-sent +got):\n%s", d)
	}
	return nil
}
