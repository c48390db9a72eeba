package lvs

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sameTables = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Transformer("entry", func(e Entry) map[netip.AddrPort]Destination {
		out := map[netip.AddrPort]Destination{}
		for _, d := range e.Destinations {
			out[d.Addr] = d
		}
		out[netip.AddrPort{}] = Destination{Forwarding: Forwarding{Port: uint16(len(e.Service.String()))}, Weight: len(e.Service.Scheduler)}
		return out
	}),
}

// randomTable returns a table of few services and servers, so that two of them overlap.
func randomTable(r *rand.Rand) Table {
	t := make(Table)
	for range r.IntN(5) {
		key := ServiceKey{FWMark: uint32(r.IntN(2) + 1), IPv6: r.IntN(2) == 0}
		if r.IntN(3) > 0 {
			key = AddressKey([]Protocol{TCP, UDP}[r.IntN(2)], netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(2))}), 80))
		}
		e := Entry{Service: Service{Scheduler: []string{"rr", "wlc"}[r.IntN(2)], Flags: Flags(r.IntN(3)), Persistence: time.Duration(r.IntN(2)) * time.Second}}
		for _, i := range r.Perm(5)[:r.IntN(5)] {
			e.Destinations = append(e.Destinations, Destination{
				Addr:       netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 80),
				Forwarding: Forwarding{Method: Method(r.IntN(3))}, Weight: r.IntN(3), Upper: uint32(r.IntN(2)),
			})
		}
		t[key] = e
	}
	return t
}

// takes returns whether a service has a destination that takes connections.
func takes(e Entry) bool {
	return slices.ContainsFunc(e.Destinations, func(d Destination) bool { return d.Weight > 0 })
}

// checkSteps carries the steps out one by one and returns what is wrong with them.
func checkSteps(kernel, wanted Table, steps []Step) error {
	now := kernel.Clone()
	for _, s := range steps {
		if err := now.apply(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		for key, before := range kernel {
			after, stays := wanted[key]
			if !stays {
				continue
			}
			e, there := now[key]
			if !there {
				return fmt.Errorf("%s: service %s is gone on the way", s, key)
			}
			for _, d := range before.Destinations {
				if after.find(d.Addr) >= 0 && e.find(d.Addr) < 0 {
					return fmt.Errorf("%s: destination %s of %s is gone on the way", s, d.Addr, key)
				}
			}
			if takes(before) && takes(after) && !takes(e) {
				return fmt.Errorf("%s: nothing takes the connections of %s on the way", s, key)
			}
		}
	}
	if diff := cmp.Diff(wanted, now, sameTables); diff != "" {
		return fmt.Errorf("-wanted +made:\n%s", diff)
	}
	return nil
}

// TestDiff compares random tables: the steps make the one of the other, keep what is in
// both, and nothing is left to do afterwards.
func TestDiff(t *testing.T) {
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 6))
		kernel, wanted := randomTable(r), randomTable(r)
		steps := Diff(kernel, wanted)
		if err := checkSteps(kernel, wanted, steps); err != nil {
			t.Fatalf("seed %d: %v\nkernel:\n%swanted:\n%ssteps: %v", seed, err, kernel, wanted, steps)
		}
		made, err := kernel.carriedOut(steps)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if rest := Diff(made, wanted); len(rest) > 0 {
			t.Fatalf("seed %d: still to do: %v", seed, rest)
		}
	}
}

// TestDiffSteps shows the order, and what needs no step.
func TestDiffSteps(t *testing.T) {
	key := AddressKey(TCP, netip.MustParseAddrPort("10.0.0.1:80"))
	server := func(addr string, m Method, weight int) Destination {
		return Destination{Addr: netip.MustParseAddrPort(addr), Forwarding: Forwarding{Method: m}, Weight: weight}
	}
	table := func(s Service, d ...Destination) Table { return Table{key: Entry{s, d}} }
	rr := Service{Scheduler: "rr"}
	tests := []struct {
		name           string
		kernel, wanted Table
		want           []string
	}{
		{"nothing", Table{}, Table{}, nil},
		{"the kernel made it local", table(rr, server("10.0.0.1:80", Local, 1)), table(rr, server("10.0.0.1:80", DR, 1)), nil},
		{"local, another weight", table(rr, server("10.0.0.1:80", Local, 1)), table(rr, server("10.0.0.1:80", DR, 2)), []string{
			"edit destination of TCP 10.0.0.1:80: 10.0.0.1:80 DR weight 2",
		}},
		{"another order", table(rr, server("10.9.0.1:80", NAT, 1), server("10.9.0.2:80", NAT, 1)), table(rr, server("10.9.0.2:80", NAT, 1), server("10.9.0.1:80", NAT, 1)), nil},
		{
			"all at once",
			table(rr, server("10.9.0.1:80", NAT, 2), server("10.9.0.2:80", NAT, 0), server("10.9.0.3:80", NAT, 1)),
			table(Service{Scheduler: "wlc"}, server("10.9.0.1:80", NAT, 1), server("10.9.0.2:80", NAT, 1), server("10.9.0.4:80", NAT, 1)),
			[]string{
				"edit service TCP 10.0.0.1:80 wlc",
				"add destination of TCP 10.0.0.1:80: 10.9.0.4:80 NAT weight 1",
				"edit destination of TCP 10.0.0.1:80: 10.9.0.2:80 NAT weight 1",
				"edit destination of TCP 10.0.0.1:80: 10.9.0.1:80 NAT weight 1",
				"delete destination of TCP 10.0.0.1:80: 10.9.0.3:80",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, s := range Diff(tt.kernel, tt.wanted) {
				got = append(got, s.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestKernelRefuses shows that the kernel of the tests refuses what a kernel does.
func TestKernelRefuses(t *testing.T) {
	key := AddressKey(TCP, netip.MustParseAddrPort("10.0.0.1:80"))
	d := Destination{Addr: netip.MustParseAddrPort("10.9.0.1:80")}
	full := Table{key: Entry{Destinations: []Destination{d}}}
	tests := []struct {
		table Table
		step  Step
	}{
		{full, AddService{Key: key}},
		{Table{}, EditService{Key: key}},
		{Table{}, DeleteService{key}},
		{full, AddDestination{key, d}},
		{Table{}, AddDestination{key, d}},
		{Table{key: Entry{}}, EditDestination{key, d}},
		{Table{key: Entry{}}, DeleteDestination{key, d.Addr}},
	}
	for _, tt := range tests {
		before := tt.table.String()
		if made, err := tt.table.carriedOut([]Step{tt.step}); err == nil || made.String() != before {
			t.Errorf("%s on %q: error %v, made %q", tt.step, before, err, made)
		}
	}
}
