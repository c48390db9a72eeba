package ipvs

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lvs"
)

// network is a machine in which there is traffic to be balanced.
var network = vm.Shared{Name: "network", Machine: vm.Machine{
	Modules:  []string{"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "veth", "bridge"},
	Programs: []string{"ip", "ipvsadm"},
}}

// networkSetup makes a client c, two balancers d1 and d2, real servers n1 and n2 that answer by
// the balancer, and real servers r1 and r2 that have the VIP themselves and answer past
// it. The balancer's addresses are on d1.
const networkSetup = `
ip link add br0 type bridge
ip link set br0 up
for n in c d1 d2 n1 n2 r1 r2; do
  ip netns add $n
  ip link add $n type veth peer name eth0 netns $n
  ip link set $n master br0 up
  ip -n $n link set lo up
  ip -n $n link set eth0 up multicast on
done
ip -n c addr add 10.1.0.2/24 dev eth0
for n in 1 2; do
  ip netns exec d$n sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
  ip -n d$n addr add 10.1.0.2$n/24 dev eth0
  ip -n d$n addr add 10.2.0.2$n/24 dev eth0
  ip -n n$n addr add 10.2.0.1$n/24 dev eth0
  ip -n n$n route add default via 10.2.0.254
  ip netns exec r$n sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
  ip -n r$n addr add 10.1.0.1$n/24 dev eth0
  ip -n r$n addr add 10.1.0.101/32 dev lo
done
for a in 10.1.0.100 10.1.0.101 10.2.0.254; do ip -n d1 addr add $a/24 dev eth0; done
`

// moveToD2 is what a failover does to the addresses.
const moveToD2 = `
for a in 10.1.0.100 10.1.0.101 10.2.0.254; do
  ip -n d1 addr del $a/24 dev eth0
  ip -n d2 addr add $a/24 dev eth0
  ip netns exec d2 arping -q -A -c 1 -I eth0 $a
done
`

// natVIP and drVIP are the services of the tests.
var (
	natVIP = netip.MustParseAddrPort("10.1.0.100:80")
	drVIP  = netip.MustParseAddrPort("10.1.0.101:80")
)

// reals returns the real servers of a service, with those weights.
func reals(vip netip.AddrPort, weights ...int) []lvs.Destination {
	net, f := "10.2.0.1", lvs.Forwarding{Method: lvs.NAT}
	if vip == drVIP {
		net, f = "10.1.0.1", lvs.Forwarding{Method: lvs.DR}
	}
	var all []lvs.Destination
	for i, w := range weights {
		all = append(all, lvs.Destination{Addr: netip.MustParseAddrPort(fmt.Sprintf("%s%d:80", net, i+1)), Forwarding: f, Weight: w})
	}
	return all
}

// balanced returns a table of both services.
func balanced(s lvs.Service, weights ...int) lvs.Table {
	out := lvs.Table{}
	for _, vip := range []netip.AddrPort{natVIP, drVIP} {
		out[lvs.AddressKey(lvs.TCP, vip)] = lvs.Entry{Service: s, Destinations: reals(vip, weights...)}
	}
	return out
}

// inside calls f on a thread in the namespace of that name, for good.
func inside(t *testing.T, name string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is in the wrong namespace
		ns, err := netns.GetFromName(name)
		if err == nil {
			err = netns.Set(ns)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in namespace %s: %v", name, err)
	}
}

// setUp makes the network, once in a machine.
func setUp(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/run/netns/c"); err != nil {
		shell(t, networkSetup)
	}
}

func shell(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// balancerIn connects to the kernel's table in a namespace, which is empty then.
func balancerIn(t *testing.T, name string) *Conn {
	t.Helper()
	ns, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	c, err := Open(t.Context(), Config{Namespace: int(ns)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Apply([]lvs.Step{lvs.Flush{}}); err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts the real servers, once in a machine: each says its name, and repeats lines.
func serve(t *testing.T) {
	t.Helper()
	for _, name := range []string{"n1", "n2", "r1", "r2"} {
		inside(t, name, func() error {
			l, err := net.Listen("tcp4", ":80")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return // closed
					}
					go func() {
						defer c.Close()
						_, _ = fmt.Fprintln(c, name) // the client sees what does not come
						for lines := bufio.NewScanner(c); lines.Scan(); {
							_, _ = fmt.Fprintln(c, name, lines.Text())
						}
					}()
				}
			}()
			return nil
		})
	}
}

// session is a client's connection to a service.
type session struct {
	conn   net.Conn
	lines  *bufio.Scanner
	server string // who answers
}

// connect makes a session, and tells who serves it.
func connect(t *testing.T, vip netip.AddrPort) *session {
	t.Helper()
	s := &session{}
	inside(t, "c", func() (err error) {
		s.conn, err = net.DialTimeout("tcp4", vip.String(), 5*time.Second)
		return err
	})
	t.Cleanup(func() { _ = s.conn.Close() })
	s.lines = bufio.NewScanner(s.conn)
	s.server = s.hear(t)
	return s
}

func (s *session) hear(t *testing.T) string {
	t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if !s.lines.Scan() {
		t.Fatalf("the connection to %s by %s has ended: %v", s.conn.RemoteAddr(), s.server, s.lines.Err())
	}
	return s.lines.Text()
}

// goesOn fails unless the same server answers some lines more.
func (s *session) goesOn(t *testing.T, when string) {
	t.Helper()
	for i := range 10 {
		if _, err := fmt.Fprintln(s.conn, when, i); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if got, want := s.hear(t), fmt.Sprintln(s.server, when, i); got+"\n" != want {
			t.Fatalf("%s: got %q, want %q", when, got, want)
		}
	}
}

// spread returns which servers n new connections reach.
func spread(t *testing.T, vip netip.AddrPort, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	for range n {
		s := connect(t, vip)
		count[s.server]++
		_ = s.conn.Close()
	}
	return count
}

// TestVMTraffic balances connections by NAT and by direct routing: evenly, by weight, and always
// to the same server where that is wanted; and what changes in the table breaks no
// connection that is there, not even to a server that gets no new ones.
func TestVMTraffic(t *testing.T) {
	vm.Test(t, &network, func(t *testing.T) {
		setUp(t)
		serve(t)
		c := balancerIn(t, "d1")
		want := func(when string, one, two int) {
			t.Helper()
			for vip, prefix := range map[netip.AddrPort]string{natVIP: "n", drVIP: "r"} {
				wanted := map[string]int{prefix + "1": one, prefix + "2": two}
				maps.DeleteFunc(wanted, func(_ string, n int) bool { return n == 0 })
				if got := spread(t, vip, one+two); !maps.Equal(got, wanted) {
					t.Errorf("%s, by %s: %v, want %v", when, vip, got, wanted)
				}
			}
		}
		rr := lvs.Service{Scheduler: "rr"}
		bring(t, c, balanced(rr, 1, 1))
		want("in turn", 8, 8)
		there := []*session{}
		for _, vip := range []netip.AddrPort{natVIP, drVIP} {
			there = append(there, connect(t, vip), connect(t, vip))
		}
		goOn := func(when string) {
			t.Helper()
			for _, s := range there {
				s.goesOn(t, when)
			}
		}
		goOn("at first")

		bring(t, c, balanced(lvs.Service{Scheduler: "wrr"}, 3, 1))
		want("by weight", 12, 4)
		goOn("another scheduler, other weights")
		bring(t, c, balanced(rr, 0, 1))
		want("drained", 0, 6)
		goOn("no new connections to one of them")
		bring(t, c, balanced(rr, 1))
		want("taken out", 6, 0)
		bring(t, c, balanced(rr, 1, 1))
		goOn("taken out and put in again")

		// A client keeps its server, and one that comes back from a drain finds its own.
		bring(t, c, balanced(lvs.Service{Scheduler: "rr", Persistence: time.Minute}, 1, 1))
		for _, vip := range []netip.AddrPort{natVIP, drVIP} {
			if got := spread(t, vip, 6); len(got) != 1 {
				t.Errorf("persistent, by %s: %v", vip, got)
			}
		}
		goOn("persistent")
	})
}

// TestVMConnectionsSurviveAFailover: with the sync daemon the other balancer goes on with
// connections that it has never seen.
func TestVMConnectionsSurviveAFailover(t *testing.T) {
	vm.Test(t, &network, func(t *testing.T) {
		setUp(t)
		serve(t)
		d1, d2 := balancerIn(t, "d1"), balancerIn(t, "d2")
		daemon := func(role lvs.Role) lvs.Step {
			return lvs.SetDaemon{Role: role, Daemon: &lvs.Daemon{Interface: "eth0", ID: 1, Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}}
		}
		var unheard *session // says nothing any more when the daemon starts
		for c, role := range map[*Conn]lvs.Role{d1: lvs.Master, d2: lvs.Backup} {
			bring(t, c, balanced(lvs.Service{Scheduler: "rr"}, 1, 1))
			if role == lvs.Master {
				unheard = connect(t, drVIP)
			}
			if err := c.Apply([]lvs.Step{daemon(role)}); err != nil {
				t.Fatal(err)
			}
		}
		there := []*session{}
		for _, vip := range []netip.AddrPort{natVIP, drVIP} {
			for range 2 {
				s := connect(t, vip)
				s.goesOn(t, "before")
				there = append(there, s)
			}
		}
		// The daemon sends what it has each second at the latest.
		limit := time.After(10 * time.Second)
		for heard := 0; heard < len(there); {
			select {
			case <-limit:
				t.Fatalf("the other balancer has heard of %d of %d connections", heard, len(there))
			case <-time.After(100 * time.Millisecond):
			}
			state, err := d2.Traffic()
			if err != nil {
				t.Fatal(err)
			}
			heard = 0
			for _, n := range state {
				heard += int(n.Active + n.Inactive)
			}
		}
		shell(t, moveToD2)
		for _, s := range there {
			s.goesOn(t, "after the failover")
		}
		if err := unheard.conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintln(unheard.conn, "after the failover") // what comes back tells
		if unheard.lines.Scan() || !errors.Is(unheard.lines.Err(), syscall.ECONNRESET) {
			t.Errorf("a connection that the other balancer never heard of is not reset (%v): this shows nothing", unheard.lines.Err())
		}
	})
}
