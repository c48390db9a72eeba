package lvs

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// randomConfig returns a configuration of few servers and checks, so that two of them overlap.
func randomConfig(r *rand.Rand) Config {
	cfg := Config{Flush: r.IntN(4) == 0, OnStop: OnStop(r.IntN(3)), InitNotifies: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		cfg.Sync = &Sync{Daemon: Daemon{Interface: "eth1", ID: uint8(r.IntN(2))}, Instance: []string{"", "VI"}[r.IntN(2)]}
	}
	for i := range r.IntN(4) {
		if r.IntN(4) == 0 {
			continue
		}
		v := VirtualServer{
			Name: fmt.Sprintf("vs%d", i), Quorum: r.IntN(4), Omega: r.IntN(2) == 0, Follows: r.IntN(3) == 0,
			Service: Service{Scheduler: []string{"rr", "wlc"}[r.IntN(2)]},
			Keys:    []ServiceKey{AddressKey(TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80))},
		}
		if r.IntN(3) == 0 {
			v.Keys = append(v.Keys, ServiceKey{FWMark: uint32(i + 1)})
		}
		if v.Quorum > 1 {
			v.Hysteresis = r.IntN(v.Quorum)
		}
		if r.IntN(2) == 0 {
			v.Sorry = &Sorry{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(r.IntN(9))}), 80), Inhibit: r.IntN(2) == 0}
		}
		for _, n := range r.Perm(5)[:r.IntN(5)] {
			real := RealServer{
				Addr:       netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(n)}), []uint16{0, 80}[r.IntN(2)]),
				Forwarding: Forwarding{Method: Method(r.IntN(3))}, Weight: r.IntN(5), Inhibit: r.IntN(3) == 0,
			}
			if r.IntN(2) == 0 {
				real.SlowStart = time.Duration(r.IntN(20000)) * time.Millisecond
			}
			for range r.IntN(3) {
				real.Checks = append(real.Checks, Check{ID: CheckID(fmt.Sprintf("check%d", r.IntN(4))), Alpha: r.IntN(2) == 0})
			}
			v.Reals = append(v.Reals, real)
		}
		cfg.Servers = append(cfg.Servers, v)
	}
	return cfg
}

// randomEvent lets something happen.
func (w *world) randomEvent(r *rand.Rand) {
	server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(r.IntN(5))}), []uint16{0, 80}[r.IntN(2)])
	switch r.IntN(12) {
	case 0, 1, 2, 3:
		w.send(Checked{[]Result{{
			Check: CheckID(fmt.Sprintf("check%d", r.IntN(4))), Up: r.IntN(2) == 0,
			Adjust: Adjust{AdjustKind(r.IntN(3)), r.IntN(9) - 3},
		}}})
	case 4:
		w.send(Address{netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(3))}), r.IntN(2) == 0})
	case 5:
		w.send(Instance{"VI", r.IntN(2) == 0})
	case 6:
		w.send(Operate{Real: server, Override: Override{OverrideKind(r.IntN(4)), r.IntN(5)}})
	case 7:
		w.send(Reconfigure{randomConfig(r)})
	case 8:
		if len(w.kernel.Table) > 0 && r.IntN(2) == 0 {
			delete(w.kernel.Table, w.kernel.Table.Keys()[0])
		}
		w.kernel.Table[AddressKey(UDP, netip.MustParseAddrPort("10.0.0.99:53"))] = Entry{}
		w.meddled = true
		w.run(AuditEvery + 3*RetryAfter) // until then the kernel is not what is believed
		w.meddled = false
	case 9:
		w.fail = "no such device"
		w.send(Checked{[]Result{{Check: "check0", Up: r.IntN(2) == 0}}})
		w.fail = ""
		w.run(2 * RetryAfter)
	default:
		w.run(time.Duration(r.IntN(15)) * time.Second)
	}
}

// consistent returns what is wrong between the balancer, the kernel and the checks.
func (w *world) consistent(told map[string]bool) error {
	if len(w.problems) > 0 {
		return fmt.Errorf("%v", w.problems)
	}
	for _, key := range w.b.wanted.Table.Keys() {
		have := Table{key: w.kernel.Table[key]}
		if steps := Diff(have, Table{key: w.b.wanted.Table[key]}); len(steps) > 0 {
			return fmt.Errorf("the kernel is not as it is wanted: %v", steps)
		}
	}
	for _, s := range w.b.servers {
		for _, key := range s.cfg.Keys {
			if s.quorum && s.cfg.Quorum > 0 && !takes(w.kernel.Table[key]) {
				return fmt.Errorf("%s has quorum and nothing takes its connections", s.cfg.Name)
			}
		}
		for _, r := range s.reals {
			for _, c := range r.cfg.Checks {
				if !w.running[c.ID] && !w.b.suspended(s) {
					return fmt.Errorf("check %s does not run", c.ID)
				}
			}
		}
	}
	return w.alternates(told)
}

// alternates holds that nobody is told twice in a row that a server is up, or down.
func (w *world) alternates(told map[string]bool) error {
	for _, line := range w.trace {
		f := strings.Fields(line)
		what, about := f[1], strings.Join(f[2:], " ")
		up := strings.HasSuffix(what, "_up")
		if !up && !strings.HasSuffix(what, "_down") {
			continue
		}
		if before, known := told[about]; known && before == up {
			return fmt.Errorf("told twice: %s", line)
		}
		told[about] = up
	}
	w.trace = nil
	return nil
}

// play lets a random story happen and returns what went wrong.
func play(r *rand.Rand, events int) error {
	cfg := randomConfig(r)
	w, err := newWorld(cfg)
	if err != nil {
		return err
	}
	told := make(map[string]bool)
	w.send(Start{})
	for range events {
		names := serverNames(w.b)
		w.randomEvent(r)
		if !slices.Equal(names, serverNames(w.b)) {
			clear(told) // a server that comes back is told of anew
			w.trace = nil
		}
		if err := w.consistent(told); err != nil {
			return fmt.Errorf("%w\n%s\n%s", err, strings.Join(w.trace, "\n"), w.kernel.Table)
		}
	}
	w.send(Stop{})
	if err := w.alternates(told); err != nil {
		return err
	}
	for key := range w.b.wanted.Table {
		if _, left := w.kernel.Table[key]; left {
			return fmt.Errorf("%s is left at the end", key)
		}
	}
	if len(w.running) > 0 || w.kernel.Daemons != [2]*Daemon{} {
		return fmt.Errorf("at the end run checks %v, daemons %v", w.running, w.kernel.Daemons)
	}
	return nil
}

// serverNames returns what could be told of: the servers and their real servers.
func serverNames(b *Balancer) []string {
	var out []string
	for _, s := range b.servers {
		out = append(out, s.cfg.Name)
		for _, r := range s.reals {
			out = append(out, r.cfg.Addr.String())
		}
	}
	return out
}

// TestRandomStories holds what must be true whatever happens.
func TestRandomStories(t *testing.T) {
	for seed := range uint64(2000) {
		if err := play(rand.New(rand.NewPCG(seed, 6)), 40); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// FuzzBalancer is TestRandomStories with stories that the fuzzer chooses.
func FuzzBalancer(f *testing.F) {
	f.Add(uint64(1), 20)
	f.Fuzz(func(t *testing.T, seed uint64, events int) {
		if err := play(rand.New(rand.NewPCG(seed, 7)), min(max(events, 0), 200)); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkFailures lets each of 10,000 real servers of one virtual server fail and
// recover, one event each: what a Step costs with a table of that size.
func BenchmarkFailures(b *testing.B) {
	const n = 10000
	v := VirtualServer{Name: "web", Keys: []ServiceKey{AddressKey(TCP, netip.MustParseAddrPort("10.0.0.1:80"))}, Quorum: 1}
	for i := range n {
		v.Reals = append(v.Reals, RealServer{
			Addr:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 80),
			Weight: 1, Checks: []Check{{ID: CheckID(fmt.Sprint(i))}},
		})
	}
	w, err := newWorld(Config{Servers: []VirtualServer{v}})
	if err != nil {
		b.Fatal(err)
	}
	w.send(Start{})
	for i := 0; b.Loop(); i++ {
		w.b.Step(w.now, Checked{[]Result{{Check: CheckID(fmt.Sprint(i % n)), Up: i/n%2 == 1}}})
	}
}
