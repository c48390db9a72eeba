package gate

import (
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// balancer is a machine with IPVS: the kernel of this host may have none.
var balancer = vmtest.Shared{Name: "balancer", Machine: vm.Machine{
	Modules: []string{"ip_vs_rr", "nf_tables", "veth", "bridge"}, Programs: []string{"ip", "ipvsadm", "nft"},
}}

// balancerSetup makes a balancer of the machine, with a client c and the real servers r1, which
// answers by the balancer, and r2, which has the VIPs itself and answers past it.
const balancerSetup = `
ip link add br0 type bridge
ip link set br0 up
ip addr add 10.1.0.1/24 dev br0
ip addr add 10.2.0.1/24 dev br0
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0
for n in c r1 r2; do
  ip netns add $n
  ip link add $n type veth peer name eth0 netns $n
  ip link set $n master br0 up
  ip -n $n link set lo up
  ip -n $n link set eth0 up
done
ip -n c addr add 10.1.0.2/24 dev eth0
ip -n r1 addr add 10.2.0.2/24 dev eth0
ip -n r1 route add default via 10.2.0.1
ip netns exec r2 sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip -n r2 addr add 10.1.0.3/24 dev eth0
ip -n r2 addr add 10.1.0.100/32 dev lo
ip addr add 10.1.0.100/24 dev br0
ipvsadm -A -u 10.1.0.100:1001 -s rr
ipvsadm -a -u 10.1.0.100:1001 -r 10.2.0.2:2001 -m
ipvsadm -A -u 10.1.0.100:1002 -s rr
ipvsadm -a -u 10.1.0.100:1002 -r 10.1.0.3:1002 -g
ip addr add fd01::1/64 dev br0 nodad
ip addr add fd01::100/64 dev br0 nodad
ip -n c addr add fd01::2/64 dev eth0 nodad
ip -n r2 addr add fd01::3/64 dev eth0 nodad
ip -n r2 addr add fd01::100/128 dev lo nodad
ipvsadm -A -u [fd01::100]:1003 -s rr
ipvsadm -a -u [fd01::100]:1003 -r [fd01::3]:1003 -g
`

// flow is a client that asks the VIP each few milliseconds, and counts what it hears.
type flow struct {
	conn  *net.UDPConn
	heard atomic.Int64
}

// in calls f on a thread in the namespace of that name, for good.
func in(t *testing.T, name string, f func() error) {
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

// realServer answers each datagram; one that goes on answers the first for ever.
func realServer(t *testing.T, ns, addr string, goesOn bool) {
	t.Helper()
	in(t, ns, func() error {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = conn.Close() })
		go func() {
			for buf, begun := make([]byte, 64), false; ; {
				n, from, err := conn.ReadFromUDP(buf)
				if err != nil {
					return // closed
				}
				_, _ = conn.WriteToUDP(buf[:n], from) // a datagram may be lost
				if goesOn && !begun {
					begun = true
					go every(t, func() { _, _ = conn.WriteToUDP([]byte("still here"), from) })
				}
			}
		}()
		return nil
	})
}

// every calls f each 5 ms until the test ends.
func every(t *testing.T, f func()) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-t.Context().Done():
			return
		}
	}
}

func newFlow(t *testing.T, to string) *flow {
	t.Helper()
	f := &flow{}
	in(t, "c", func() (err error) {
		f.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return err
	})
	t.Cleanup(func() { _ = f.conn.Close() })
	go every(t, func() { _, _ = f.conn.Write([]byte("hello")) })
	go func() {
		for buf := make([]byte, 64); ; {
			if _, err := f.conn.Read(buf); err == nil {
				f.heard.Add(1)
			} else if t.Context().Err() != nil {
				return
			}
		}
	}()
	return f
}

// in returns how much is heard in the time.
func (f *flow) in(d time.Duration) int64 {
	before := f.heard.Load()
	<-time.After(d)
	return f.heard.Load() - before
}

// TestVMSilencesIPVS: a balancer whose permission has ended passes nothing on to its real
// servers, and nothing back from them, also of connections that were there; and goes on with
// them once it holds again.
func TestVMSilencesIPVS(t *testing.T) {
	vmtest.Test(t, &balancer, func(t *testing.T) {
		if out, err := exec.Command("sh", "-ec", balancerSetup).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		vips := []netip.Addr{netip.MustParseAddr("10.1.0.100"), netip.MustParseAddr("fd01::100")}
		g := open(t)
		check(t, g.Guard(vips))
		check(t, g.Arm(boottime.Now().Add(time.Minute), vips))
		realServer(t, "r1", "10.2.0.2:2001", true)
		realServer(t, "r2", "10.1.0.100:1002", false)
		realServer(t, "r2", "[fd01::100]:1003", false)
		flows := map[string]*flow{
			"NAT": newFlow(t, "10.1.0.100:1001"), "DR": newFlow(t, "10.1.0.100:1002"), "DR over IPv6": newFlow(t, "[fd01::100]:1003"),
		}
		talk := func(when string) {
			t.Helper()
			for name, f := range flows {
				deadline := time.After(5 * time.Second)
				for f.in(100*time.Millisecond) == 0 {
					select {
					case <-deadline:
						out, _ := exec.Command("sh", "-c", "ipvsadm -Lnc; ipvsadm -Ln --stats; ip neigh; nft list ruleset").CombinedOutput()
						t.Fatalf("%s: nothing is heard by %s\n%s", when, name, out)
					default:
					}
				}
			}
		}
		silent := func(when string) {
			t.Helper()
			<-time.After(50 * time.Millisecond) // what was under way
			for name, f := range flows {
				if n := f.in(500 * time.Millisecond); n > 0 {
					t.Errorf("%s: %d answers by %s", when, n, name)
				}
			}
		}
		talk("armed")

		deadline := boottime.Now().Add(300 * time.Millisecond)
		check(t, g.Arm(deadline, vips))
		until(deadline)
		silent("after the deadline")

		check(t, g.Arm(boottime.Now().Add(time.Minute), vips))
		talk("armed again")
		check(t, g.Shut(vips))
		silent("shut")

		// Without the gate it would go on: what was silent was silenced.
		check(t, g.Unguard(vips))
		talk("without a gate")
	})
}
