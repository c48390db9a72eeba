package ipvs

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs"
)

// Each test that forwards connections has a service of its own. What is left of a former one's
// connections keeps the kernel's record of its servers alive, with the route that it has found for
// them: a packet of an old NAT connection leaves there a route by which new ones with direct
// routing go to whoever answers for the service's address.
const (
	reloaded   = "10.0.0.54:80"
	persistent = "10.0.0.55:80"
	sorry      = "10.0.0.56:80"
)

// shares opens connections to a service and returns how many went to each server.
func shares(t *testing.T, n int, service string, from ...string) map[string]int {
	t.Helper()
	out := make(map[string]int)
	for range n {
		out[who(t, connect(t, service, from...))]++
	}
	return out
}

// expect compares shares.
func expect(t *testing.T, what string, want, got map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestVMTraffic balances connections between namespaces, by NAT, direct routing and tunnels,
// with IPv4 and IPv6. A connection that is there goes on when its server is drained, and when a
// reload changes the service around it; what is new goes where it should.
func TestVMTraffic(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		for _, tt := range []struct {
			service string
			method  lvs.Method
		}{{"10.0.0.51:80", lvs.NAT}, {"10.0.0.52:80", lvs.DR}, {"10.0.0.53:80", lvs.TUN}, {"[fd00::51]:80", lvs.NAT}, {"[fd00::52]:80", lvs.DR}} {
			t.Run(tt.method.String()+" "+tt.service, func(t *testing.T) { traffic(t, tt.service, tt.method) })
		}
	})
}

func traffic(t *testing.T, service string, method lvs.Method) {
	t.Helper()
	stage(t, method)
	if method == lvs.TUN {
		for _, name := range []string{"s1", "s2"} {
			batch(t, name, "link set tunl0 up")
		}
	}
	key := tcp(service)
	s1, s2 := servers(key.IPv6)[0], servers(key.IPv6)[1]
	cfg := lvs.Config{Servers: []lvs.VirtualServer{pair(lvs.Forwarding{Method: method}, lvs.Service{Scheduler: "rr"}, key)}}
	d := direct(t, "d1", cfg)

	seen := map[string]int{}
	var long net.Conn // to s1
	for range 4 {
		c := connect(t, service)
		name := who(t, c)
		if seen[name]++; name == "s1" {
			long = c
		}
	}
	if seen["s1"] != 2 || seen["s2"] != 2 {
		t.Fatalf("four connections went to %v, want two to each", seen)
	}
	counts, err := d.conn.Traffic()
	if c := counts[Key{key, s1}]; err != nil || c.Active+c.Inactive != 2 {
		t.Errorf("connections %v, %v; want two to s1", counts, err)
	}

	d.send(lvs.Operate{Real: s1, Override: lvs.Override{Kind: lvs.Drain}})
	expect(t, "s1 is drained", map[string]int{"s2": 4}, shares(t, 4, service))
	if name := who(t, long); name != "s1" {
		t.Errorf("the connection to s1 goes to %s after it was drained", name)
	}

	next := cfg
	next.Servers = slices.Clone(cfg.Servers)
	next.Servers[0].Service.Scheduler = "wlc"
	next.Servers[0].Reals = slices.Clone(cfg.Servers[0].Reals)
	next.Servers[0].Reals[1].Weight = 5
	d.send(lvs.Reconfigure{Config: next})
	if name := who(t, long); name != "s1" {
		t.Errorf("the connection to s1 goes to %s after the reload", name)
	}
	d.send(lvs.Operate{Real: s1})
	d.send(lvs.Operate{Real: s2, Override: lvs.Override{Kind: lvs.Disable}})
	expect(t, "s2 is disabled", map[string]int{"s1": 2}, shares(t, 2, service))
}

// TestVMReloads: a connection that never rests is not disturbed by any of a row of reloads,
// whatever they change around it, nor by those of its own server that leave it in the table.
func TestVMReloads(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.NAT)
		base := pair(lvs.Forwarding{}, lvs.Service{Scheduler: "rr"}, tcp(reloaded))
		change := func(f func(v *lvs.VirtualServer)) lvs.Config {
			v := base
			v.Reals = slices.Clone(base.Reals)
			f(&v)
			return lvs.Config{Servers: []lvs.VirtualServer{v}}
		}
		d := direct(t, "d1", change(func(*lvs.VirtualServer) {}))
		c := connect(t, reloaded)
		if name := who(t, c); name == "s2" {
			c = connect(t, reloaded)
		}
		answers, broken := make(chan string), make(chan error, 1)
		go func() {
			for {
				name, err := ask(c)
				if err != nil {
					broken <- err
					return
				}
				select {
				case answers <- name:
				case <-t.Context().Done():
					return
				}
			}
		}()
		goesOn := func(after string) {
			t.Helper()
			for range 20 {
				select {
				case name := <-answers:
					if name != "s1" {
						t.Fatalf("%s: %s answers", after, name)
					}
				case err := <-broken:
					t.Fatalf("%s: %v", after, err)
				}
			}
		}
		reloads := map[string]func(v *lvs.VirtualServer){
			"nothing changed":       func(*lvs.VirtualServer) {},
			"another scheduler":     func(v *lvs.VirtualServer) { v.Service.Scheduler = "sh"; v.Service.Flags = lvs.SchedFlag2 },
			"persistence":           func(v *lvs.VirtualServer) { v.Service.Persistence, v.Service.Granularity = time.Minute, 24 },
			"other weights":         func(v *lvs.VirtualServer) { v.Reals[0].Weight, v.Reals[1].Weight = 3, 65535 },
			"weight 0":              func(v *lvs.VirtualServer) { v.Reals[0].Weight = 0 },
			"thresholds":            func(v *lvs.VirtualServer) { v.Reals[0].Upper, v.Reals[0].Lower = 2, 1 },
			"the other server gone": func(v *lvs.VirtualServer) { v.Reals = v.Reals[:1] },
			"more services": func(v *lvs.VirtualServer) {
				v.Keys = append(slices.Clone(v.Keys), tcp("10.0.0.2:80"), lvs.ServiceKey{FWMark: 9})
			},
			"servers turned around": func(v *lvs.VirtualServer) { slices.Reverse(v.Reals) },
			"renamed":               func(v *lvs.VirtualServer) { v.Name = "other" },
		}
		for _, name := range slices.Sorted(maps.Keys(reloads)) {
			d.send(lvs.Reconfigure{Config: change(reloads[name])})
			goesOn(name)
		}
	})
}

// TestVMPersistence: connections of one client, or of one network with a granularity, go to one
// server; another network's go to the other one.
func TestVMPersistence(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.DR)
		service := lvs.Service{Scheduler: "rr", Persistence: time.Minute, Granularity: 24}
		cfg := lvs.Config{Servers: []lvs.VirtualServer{pair(lvs.Forwarding{Method: lvs.DR}, service, tcp(persistent))}}
		d := direct(t, "d1", cfg)
		all := shares(t, 3, persistent, "10.1.0.2")
		maps.Copy(all, shares(t, 3, persistent, "10.1.0.3"))
		if len(all) != 1 {
			t.Errorf("a network's connections went to %v", all)
		}
		if others := shares(t, 3, persistent, "10.1.1.2"); len(others) != 1 || slices.Equal(slices.Collect(maps.Keys(others)), slices.Collect(maps.Keys(all))) {
			t.Errorf("another network's connections went to %v, the first one's to %v", others, all)
		}
		traffic, err := d.conn.Traffic()
		templates := uint32(0)
		for _, c := range traffic {
			templates += c.Persistent
		}
		if err != nil || templates != 2 {
			t.Errorf("%d templates, want 2: %v, %v", templates, traffic, err)
		}

		cfg.Servers[0].Service = lvs.Service{Scheduler: "rr", Persistence: time.Minute}
		d.send(lvs.Reconfigure{Config: cfg})
		if each := []map[string]int{shares(t, 2, persistent, "10.1.0.2"), shares(t, 2, persistent, "10.1.0.3")}; len(each[0]) != 1 || len(each[1]) != 1 || maps.Equal(each[0], each[1]) {
			t.Errorf("without granularity two clients' connections went to %v, want one server for each", each)
		}
	})
}

// TestVMThresholds: a server gets no more connections than its upper threshold.
func TestVMThresholds(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.NAT)
		v := pair(lvs.Forwarding{}, lvs.Service{Scheduler: "rr"}, tcp("10.0.0.20:80"))
		v.Reals[0].Upper = 2
		direct(t, "d1", lvs.Config{Servers: []lvs.VirtualServer{v}})
		expect(t, "six connections", map[string]int{"s1": 2, "s2": 4}, shares(t, 6, "10.0.0.20:80"))
	})
}

// TestVMSorryServer: when all servers are down the fallback page of the director itself is
// shown, and when one is up again it is that one's.
func TestVMSorryServer(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.DR)
		err := at("d1", func() error {
			l, err := net.Listen("tcp", ":80")
			if err == nil {
				t.Cleanup(func() { _ = l.Close() }) // ends serve
				go serve(l, "fallback")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		v := pair(lvs.Forwarding{Method: lvs.DR}, lvs.Service{Scheduler: "rr"}, tcp(sorry))
		v.Sorry = &lvs.Sorry{Addr: netip.MustParseAddrPort("127.0.0.1:80"), Forwarding: lvs.Forwarding{Method: lvs.DR}}
		v.Reals[0].Checks, v.Reals[1].Checks = []lvs.Check{{ID: "s1"}}, []lvs.Check{{ID: "s2"}}
		d := direct(t, "d1", lvs.Config{Servers: []lvs.VirtualServer{v}})
		expect(t, "all up", map[string]int{"s1": 1, "s2": 1}, shares(t, 2, sorry))
		d.send(lvs.Checked{Results: []lvs.Result{{Check: "s1"}}})
		expect(t, "s1 down", map[string]int{"s2": 2}, shares(t, 2, sorry))
		d.send(lvs.Checked{Results: []lvs.Result{{Check: "s2"}}})
		expect(t, "all down", map[string]int{"fallback": 2}, shares(t, 2, sorry))
		d.send(lvs.Checked{Results: []lvs.Result{{Check: "s1", Up: true}}})
		expect(t, "s1 up again", map[string]int{"s1": 2}, shares(t, 2, sorry))
	})
}

// TestVMMarks: services that are firewall marks get what a rule of nftables marks: several
// ports and addresses in one, of both families; and a group's services share its servers.
func TestVMMarks(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.DR)
		v := pair(lvs.Forwarding{Method: lvs.DR}, lvs.Service{Scheduler: "rr"}, lvs.ServiceKey{FWMark: 7})
		six := pair(lvs.Forwarding{Method: lvs.DR}, lvs.Service{Scheduler: "rr"}, lvs.ServiceKey{FWMark: 7, IPv6: true})
		six.Name = "six"
		group := pair(lvs.Forwarding{Method: lvs.DR}, lvs.Service{Scheduler: "rr"}, tcp("10.0.0.10:80"), tcp("10.0.0.11:80"), tcp("10.0.0.12:80"), lvs.ServiceKey{FWMark: 8})
		group.Name = "group"
		d := direct(t, "d1", lvs.Config{Servers: []lvs.VirtualServer{v, six, group}})
		for _, rule := range []string{
			"add table inet marks",
			"add chain inet marks in { type filter hook prerouting priority mangle ; }",
			"add rule inet marks in ip daddr 10.0.0.30-10.0.0.39 meta mark set 7",
			"add rule inet marks in ip6 daddr fd00::30 meta mark set 7",
			"add rule inet marks in ip daddr 10.0.0.13 tcp dport 80 meta mark set 8",
		} {
			d.run("nft " + rule)
		}
		t.Cleanup(func() { d.run("nft delete table inet marks") })
		for _, service := range []string{"10.0.0.30:80", "10.0.0.39:80", "[fd00::30]:80", "10.0.0.10:80", "10.0.0.11:80", "10.0.0.12:80", "10.0.0.13:80"} {
			expect(t, service, map[string]int{"s1": 1, "s2": 1}, shares(t, 2, service))
		}
	})
}

// TestVMOnePacket: with ops the datagrams of one socket are balanced each for itself, and leave no
// connection behind; without it they go to one server.
func TestVMOnePacket(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.DR)
		const service = "10.0.0.1:53"
		for _, name := range []string{"s1", "s2"} {
			err := at(name, func() error {
				l, err := net.ListenPacket("udp", service)
				if err != nil {
					return err
				}
				t.Cleanup(func() { _ = l.Close() }) // ends the goroutine
				go func() {
					for buf := make([]byte, 64); ; {
						_, from, err := l.ReadFrom(buf)
						if err != nil {
							return
						}
						_, _ = l.WriteTo([]byte(name+"\n"), from) // what is lost is missed
					}
				}()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		datagrams := func() map[string]int {
			t.Helper()
			var c net.Conn
			err := at("client", func() (err error) {
				c, err = net.Dial("udp", service)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			out := make(map[string]int)
			for range 4 {
				out[who(t, c)]++
			}
			return out
		}
		key := lvs.AddressKey(lvs.UDP, netip.MustParseAddrPort(service))
		cfg := lvs.Config{Servers: []lvs.VirtualServer{pair(lvs.Forwarding{Method: lvs.DR}, lvs.Service{Scheduler: "rr", Flags: lvs.OnePacket}, key)}}
		d := direct(t, "d1", cfg)
		expect(t, "ops", map[string]int{"s1": 2, "s2": 2}, datagrams())
		if n := strings.Count(d.run("ipvsadm -Lnc"), "UDP"); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		cfg.Servers[0].Service.Flags = 0
		d.send(lvs.Reconfigure{Config: cfg})
		if got := datagrams(); len(got) != 1 {
			t.Errorf("without ops the datagrams went to %s, want one server", fmt.Sprint(got))
		}
	})
}
