package ipvs

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/lvs"
)

// network makes five hosts of namespaces, all on one bridge:
//
//	client   10.1.0.2  10.1.0.3  10.1.1.2   fd01::2
//	d1 d2    10.1.9.1  10.1.9.2  10.2.9.1  10.2.9.2   fd01::91  fd02::91  ...   directors
//	s1 s2    10.2.0.1  10.2.0.2   fd02::1  fd02::2                              servers
//
// All of 10.0.0.0/24 and fd00::/64 are addresses of services: of directors, to which the
// client sends, and of servers, for direct routing. back decides how servers answer.
const network = `
ip link add br0 type bridge
ip link set br0 up
for n in client d1 d2 s1 s2; do
  ip netns add $n
  ip link add $n type veth peer name eth0 netns $n
  ip link set $n master br0 up
  printf '%s\n' 'link set lo up' 'link set eth0 up' | ip -n $n -batch -
done
ip -n client -batch - <<END
address add 10.1.0.2/16 dev eth0
address add 10.1.0.3/16 dev eth0
address add 10.1.1.2/16 dev eth0
address add fd01::2/64 dev eth0 nodad
END
for i in 1 2; do
  ip -n d$i -batch - <<END
address add 10.1.9.$i/16 dev eth0
address add 10.2.9.$i/16 dev eth0
address add fd01::9$i/64 dev eth0 nodad
address add fd02::9$i/64 dev eth0 nodad
END
  ip netns exec d$i sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
  ip netns exec s$i sysctl -qw net.ipv6.conf.all.accept_redirects=0 net.ipv6.conf.eth0.accept_redirects=0
  ip -n s$i -batch - <<END
address add 10.2.0.$i/16 dev eth0
address add fd02::$i/64 dev eth0 nodad
END
done
for n in d1 d2 s1 s2; do
  printf '%s\n' 'route add local 10.0.0.0/24 dev lo' 'route add local fd00::/64 dev lo' | ip -n $n -batch -
done
`

// onStage is what there is once in the machine.
var onStage = sync.OnceValue(func() error {
	if out, err := exec.CommandContext(context.Background(), "sh", "-ec", network).CombinedOutput(); err != nil {
		return fmt.Errorf("make the network: %w: %s", err, out)
	}
	for _, name := range []string{"s1", "s2"} {
		err := at(name, func() error {
			l, err := net.Listen("tcp", ":80")
			if err == nil {
				go serve(l, name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
})

// stage makes the network if nobody has, and has the client send to d1, and servers answer so.
func stage(t *testing.T, method lvs.Method) {
	t.Helper()
	if err := onStage(); err != nil {
		t.Fatal(err)
	}
	route(t, "d1", method)
}

// route has the client send to a director, and servers answer by it with NAT, and past it otherwise.
func route(t *testing.T, director string, method lvs.Method) {
	t.Helper()
	host := strings.TrimPrefix(director, "d")
	batch(t, "client", "route replace 10.0.0.0/24 via 10.1.9."+host, "route replace fd00::/64 via fd01::9"+host)
	for _, name := range []string{"s1", "s2"} {
		if method == lvs.NAT {
			batch(t, name, "route replace 10.1.0.0/16 via 10.2.9."+host, "route replace fd01::/64 via fd02::9"+host)
		} else {
			batch(t, name, "route replace 10.1.0.0/16 dev eth0", "route replace fd01::/64 dev eth0")
		}
	}
}

// batch has ip carry commands out in a namespace.
func batch(t *testing.T, name string, commands ...string) {
	t.Helper()
	cmd := exec.Command("ip", "-n", name, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in namespace %s: %v: %v: %s", name, commands, err, out)
	}
}

// at calls f on a thread in a network namespace; the sockets it makes stay there.
func at(name string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(name)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close() // read only
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	return nil
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

// limit bounds what takes no time when it works.
const limit = 10 * time.Second

// connect opens a connection of the client to a service, from an address of its own if one is given.
func connect(t *testing.T, service string, from ...string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: limit}
	for _, a := range from {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(a), 0))
	}
	var c net.Conn
	err := at("client", func() (err error) {
		c, err = d.DialContext(t.Context(), "tcp", service)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // read only at the end
	return c
}

// ask returns the name of the server at the other end.
func ask(c net.Conn) (string, error) {
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, "who?"); err != nil {
		return "", fmt.Errorf("the connection is cut: %w", err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the connection is cut: %w", err)
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// who is ask of what must not fail.
func who(t *testing.T, c net.Conn) string {
	t.Helper()
	name, err := ask(c)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// director is a balancer in a namespace.
type director struct {
	t    *testing.T
	name string
	conn *Conn
	b    *lvs.Balancer
	now  time.Time
}

// direct starts a balancer in a namespace on an empty table. It is stopped when the test ends.
func direct(t *testing.T, name string, cfg lvs.Config) *director {
	t.Helper()
	ns, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() }) // read only
	d := &director{t: t, name: name, now: time.Now()}
	if d.conn, err = Open(t.Context(), Config{Namespace: int(ns)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.conn.Close)
	if err := d.conn.Apply([]lvs.Step{lvs.Flush{}}); err != nil {
		t.Fatal(err)
	}
	if d.b, err = lvs.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.send(lvs.Stop{}) })
	d.send(lvs.Start{})
	return d
}

// send has the balancer take an event in, and does what it says.
func (d *director) send(ev lvs.Event) {
	d.t.Helper()
	for _, a := range d.b.Step(d.now, ev) {
		switch a := a.(type) {
		case lvs.ReadKernel:
			d.send(lvs.Kernel{ID: a.ID, State: d.read()})
		case lvs.Apply:
			if err := d.conn.Apply(a.Steps); err != nil {
				d.t.Fatal(err)
			}
			d.send(lvs.Applied{})
		case lvs.StartCheck, lvs.StopCheck, lvs.Notify, lvs.StoreOverrides, lvs.Respond, lvs.Tell, lvs.Stopped:
		}
	}
}

// audit lets the time pass until the balancer looks at the kernel's table again.
func (d *director) audit() {
	d.t.Helper()
	d.now = d.b.Deadline()
	d.send(lvs.Tick{})
}

// read returns what the kernel has.
func (d *director) read() lvs.State {
	d.t.Helper()
	state, err := d.conn.Read()
	if err != nil {
		d.t.Fatal(err)
	}
	return state
}

// run runs a program in the director's namespace.
func (d *director) run(command string) string {
	d.t.Helper()
	return run(d.t, "ip netns exec "+d.name+" "+command)
}

// pair returns a virtual server of s1 and s2 for services.
func pair(f lvs.Forwarding, s lvs.Service, keys ...lvs.ServiceKey) lvs.VirtualServer {
	v := lvs.VirtualServer{Name: "web", Keys: keys, Service: s, Quorum: 1}
	for _, addr := range servers(keys[0].IPv6) {
		v.Reals = append(v.Reals, lvs.RealServer{Addr: addr, Forwarding: f, Weight: 1})
	}
	return v
}

// servers returns the addresses of s1 and s2.
func servers(six bool) []netip.AddrPort {
	if six {
		return []netip.AddrPort{netip.MustParseAddrPort("[fd02::1]:80"), netip.MustParseAddrPort("[fd02::2]:80")}
	}
	return []netip.AddrPort{netip.MustParseAddrPort("10.2.0.1:80"), netip.MustParseAddrPort("10.2.0.2:80")}
}

// tcp returns the key of a service.
func tcp(addr string) lvs.ServiceKey {
	return lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort(addr))
}
