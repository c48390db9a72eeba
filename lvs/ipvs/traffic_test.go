package ipvs

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lvs"
)

// TestVMTraffic balances connections between namespaces, by NAT and by direct routing. A
// connection that is there goes on when its server is drained, and when a reload
// changes the service around it; what is new goes where it should.
//
//	client 10.1.0.2 ---- 10.1.0.1 here 10.2.0.1 ---- bridge ---- 10.2.0.11, .12 servers
//	       10.2.0.9 ---------------------------------+  the way back, with direct routing
func TestVMTraffic(t *testing.T) {
	vm.Test(t, &machine, func(t *testing.T) {
		buildNetwork(t)
		for _, method := range []lvs.Method{lvs.NAT, lvs.DR} {
			t.Run(method.String(), func(t *testing.T) { traffic(t, method) })
		}
	})
}

// vip is the address that clients connect to.
const vip = "10.0.0.1:80"

func buildNetwork(t *testing.T) {
	t.Helper()
	for _, command := range []string{
		"ip link set lo up", "ip link add vip0 type dummy", "ip link set vip0 up", "ip address add 10.0.0.1/32 dev vip0",
		"ip link add br0 type bridge", "ip link set br0 up", "ip address add 10.2.0.1/24 dev br0",
		"ip netns add client", "ip link add c0 type veth peer name eth0 netns client", "ip link set c0 up",
		"ip address add 10.1.0.1/24 dev c0", "ip -n client link set lo up", "ip -n client link set eth0 up",
		"ip -n client address add 10.1.0.2/24 dev eth0", "ip -n client route add 10.0.0.0/24 via 10.1.0.1",
		"ip link add c1 type veth peer name eth1 netns client", "ip link set c1 master br0 up", "ip -n client link set eth1 up",
		"ip -n client address add 10.2.0.9/24 dev eth1",
	} {
		run(t, command)
	}
	for i := 1; i <= 2; i++ {
		ns := fmt.Sprintf("s%d", i)
		for _, command := range []string{
			"ip netns add " + ns, "ip link add v" + ns + " type veth peer name eth0 netns " + ns, "ip link set v" + ns + " master br0 up",
			"ip -n " + ns + " link set lo up", "ip -n " + ns + " link set eth0 up",
			fmt.Sprintf("ip -n %s address add 10.2.0.1%d/24 dev eth0", ns, i),
			"ip -n " + ns + " address add 10.0.0.1/32 dev lo",
		} {
			run(t, command)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// inside calls f on a thread in a network namespace; the sockets it makes stay there.
func inside(t *testing.T, name string, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(name)
		if err == nil {
			err = netns.Set(ns)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("network namespace %s: %v", name, err)
	}
}

// serve answers each line with the name of the server.
func serve(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed by the test
		}
		go func() {
			defer c.Close()
			for s := bufio.NewScanner(c); s.Scan(); {
				if _, err := fmt.Fprintln(c, name); err != nil {
					return
				}
			}
		}()
	}
}

// connect opens a connection of the client.
func connect(t *testing.T) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	inside(t, "client", func() { c, err = net.DialTimeout("tcp4", vip, 10*time.Second) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // read only at the end
	return c
}

// who returns the name of the server at the other end.
func who(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c, "who?"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatalf("the connection is cut: %v", err)
	}
	return line[:len(line)-1]
}

// driven is a balancer on the kernel.
type driven struct {
	t    *testing.T
	conn *Conn
	b    *lvs.Balancer
}

func (d driven) send(ev lvs.Event) {
	d.t.Helper()
	for _, a := range d.b.Step(time.Now(), ev) {
		switch a := a.(type) {
		case lvs.ReadKernel:
			state, err := d.conn.Read()
			if err != nil {
				d.t.Fatal(err)
			}
			d.send(lvs.Kernel{ID: a.ID, State: state})
		case lvs.Apply:
			if err := d.conn.Apply(a.Steps); err != nil {
				d.t.Fatal(err)
			}
			d.send(lvs.Applied{})
		case lvs.StartCheck, lvs.StopCheck, lvs.Notify, lvs.StoreOverrides, lvs.Respond, lvs.Tell, lvs.Stopped:
		}
	}
}

func traffic(t *testing.T, method lvs.Method) {
	t.Helper()
	servers := map[string]netip.AddrPort{"s1": netip.MustParseAddrPort("10.2.0.11:80"), "s2": netip.MustParseAddrPort("10.2.0.12:80")}
	for name := range servers {
		back := "10.2.0.1" // through the balancer
		if method == lvs.DR {
			back = "10.2.0.9" // past it
		}
		run(t, "ip -n "+name+" route replace 10.1.0.0/24 via "+back)
		inside(t, name, func() {
			l, err := net.Listen("tcp4", ":80")
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = l.Close() }) // ends serve
			go serve(l, name)
		})
	}
	key := lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort(vip))
	cfg := lvs.Config{Servers: []lvs.VirtualServer{{
		Name: "web", Keys: []lvs.ServiceKey{key}, Service: lvs.Service{Scheduler: "rr"}, Quorum: 1,
		Reals: []lvs.RealServer{
			{Addr: servers["s1"], Forwarding: lvs.Forwarding{Method: method}, Weight: 1},
			{Addr: servers["s2"], Forwarding: lvs.Forwarding{Method: method}, Weight: 1},
		},
	}}}
	b, err := lvs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := driven{t, open(t), b}
	d.send(lvs.Start{})

	seen := map[string]int{}
	var long net.Conn // to s1
	for range 4 {
		c := connect(t)
		name := who(t, c)
		if seen[name]++; name == "s1" {
			long = c
		}
	}
	if seen["s1"] != 2 || seen["s2"] != 2 {
		t.Fatalf("four connections went to %v, want two to each", seen)
	}
	counts, err := d.conn.Traffic()
	if s1 := counts[Key{key, servers["s1"]}]; err != nil || s1.Active+s1.Inactive < 2 { // those of a former service count too
		t.Errorf("connections %v, %v; want two to s1 at least", counts, err)
	}

	d.send(lvs.Operate{Real: servers["s1"], Override: lvs.Override{Kind: lvs.Drain}})
	for range 4 {
		if name := who(t, connect(t)); name != "s2" {
			t.Errorf("a new connection went to %s, which is drained", name)
		}
	}
	if name := who(t, long); name != "s1" {
		t.Errorf("the connection to s1 goes to %s after it was drained", name)
	}

	cfg.Servers[0].Service.Scheduler = "wlc"
	cfg.Servers[0].Reals[1].Weight = 5
	d.send(lvs.Reconfigure{Config: cfg})
	if name := who(t, long); name != "s1" {
		t.Errorf("the connection to s1 goes to %s after the reload", name)
	}
	d.send(lvs.Operate{Real: servers["s1"]})
	d.send(lvs.Operate{Real: servers["s2"], Override: lvs.Override{Kind: lvs.Disable}})
	if name := who(t, connect(t)); name != "s1" {
		t.Errorf("a new connection went to %s, which is disabled", name)
	}
	d.send(lvs.Stop{})
}
