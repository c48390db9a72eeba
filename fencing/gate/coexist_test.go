package gate

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/internal/boottime"
)

// The gate beside rules like those of firewalls: their verdicts do not lead past it, it
// lets through what is armed, and it leaves their tables as they are, whichever came first.
func TestBesideTheRulesOfOthers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.nft")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules in testdata: %v", err)
	}
	for _, file := range files {
		for _, first := range []string{"theirs", "ours"} {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".nft")+" "+first+" first", func(t *testing.T) {
				besideRules(t, file, first == "ours")
			})
		}
	}
}

func besideRules(t *testing.T, file string, oursFirst bool) {
	t.Helper()
	l := newLink(t)
	if !oursFirst {
		nft(t, "-f", file)
	}
	g := open(t)
	if oursFirst {
		nft(t, "-f", file)
	}
	theirs := theirTables(t)
	vips := []netip.Addr{vip, vip6}
	check(t, g.Guard(vips))
	deadline := boottime.Now().Add(300 * time.Millisecond)
	check(t, g.Arm(deadline, vips))
	l.hold(vip)
	l.hold(vip6)
	l.hold(vip2) // not guarded: the control
	l.listen()
	l.ask(vip, vip6, vip2)
	l.talk(vip) // a stream that their rules know as established
	until(deadline.Add(lateAtMost + 100*time.Millisecond))
	for _, kind := range []string{"arp 10.9.0.100", "ping 10.9.0.100", "udp 10.9.0.100", "nd fd09::100", "ping fd09::100"} {
		l.wantSilence(kind, deadline)
	}
	l.waitFor("arp 10.9.0.101", deadline.Add(100*time.Millisecond))
	l.waitFor("ping 10.9.0.101", deadline.Add(100*time.Millisecond))
	check(t, g.Arm(boottime.Now().Add(time.Minute), vips))
	l.waitFor("udp 10.9.0.100", boottime.Now())
	check(t, g.Check())
	check(t, g.Unguard(vips))
	check(t, g.Close())
	if now := theirTables(t); now != theirs {
		t.Errorf("their rules were\n%s\nand are\n%s", theirs, now)
	}
}

// theirTables lists the rules of others, without their counters.
func theirTables(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for line := range strings.Lines(nft(t, "list", "tables")) {
		if name := strings.TrimSpace(line); !strings.HasSuffix(name, "solovip_test") {
			all.WriteString(nft(t, append([]string{"-s", "list"}, strings.Fields(name)...)...))
		}
	}
	return all.String()
}

// A container's port that is published on the VIP is reached while the VIP is armed, and
// not after, although its traffic is forwarded and both ways translated; what the
// container goes on sending does not leave either. On other addresses it is reached.
func TestPublishedPortOfAContainer(t *testing.T) {
	l := newLink(t)
	l.container("testdata/docker.nft")
	g := open(t)
	check(t, g.Guard([]netip.Addr{vip}))
	deadline := boottime.Now().Add(400 * time.Millisecond)
	check(t, g.Arm(deadline, []netip.Addr{vip}))
	l.hold(vip)
	l.listen()
	for _, a := range []netip.Addr{vip, holderAddr} {
		l.inClient(func() {
			c, err := net.Dial("udp4", netip.AddrPortFrom(a, 9080).String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			l.every(func() { _, _ = c.Write([]byte("hello")) })
		})
	}
	until(deadline.Add(300 * time.Millisecond))
	l.wantSilence("udp 10.9.0.100", deadline)
	l.waitFor("udp 10.9.0.1", deadline.Add(200*time.Millisecond))
}

// container makes a namespace behind a bridge of the holder's, as Docker does, in which a
// program answers each datagram with one each millisecond, for ever; and loads rules.
func (l *link) container(rules string) {
	l.t.Helper()
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	holder, err := netns.Get()
	must(err)
	defer holder.Close()
	inside, err := netns.New()
	must(err)
	l.t.Cleanup(func() { _ = inside.Close() })
	must(netns.Set(holder))
	out, err := exec.Command("sysctl", "-qw", "net.ipv4.ip_forward=1").CombinedOutput()
	if err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	must(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "docker0"}}))
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(inside)}))
	bridge, err := netlink.LinkByName("docker0")
	must(err)
	port, err := netlink.LinkByName("veth0")
	must(err)
	must(netlink.LinkSetMaster(port, bridge))
	gateway, err := netlink.ParseAddr("172.17.0.1/16")
	must(err)
	must(netlink.AddrAdd(bridge, gateway))
	must(netlink.LinkSetUp(bridge))
	must(netlink.LinkSetUp(port))
	nft(l.t, "-f", rules)

	ready := make(chan error)
	l.wg.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread is in the wrong namespace
		conn, err := serveInside(inside)
		ready <- err
		if err != nil {
			return
		}
		l.wg.Go(func() { <-l.stop; _ = conn.Close() })
		known := map[string]bool{}
		for buf := make([]byte, 64); ; {
			_, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return // closed
			}
			if !known[from.String()] {
				known[from.String()] = true
				l.wg.Go(func() { l.every(func() { _, _ = conn.WriteToUDP([]byte("still here"), from) }) })
			}
		}
	})
	must(<-ready)
}

// serveInside opens the container's socket; the calling thread stays in the container.
func serveInside(ns netns.NsHandle) (*net.UDPConn, error) {
	if err := netns.Set(ns); err != nil {
		return nil, err
	}
	eth, err := netlink.LinkByName("eth0")
	if err != nil {
		return nil, err
	}
	addr, err := netlink.ParseAddr("172.17.0.2/16")
	if err != nil {
		return nil, err
	}
	if err := netlink.AddrAdd(eth, addr); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(eth); err != nil {
		return nil, err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.IPv4(172, 17, 0, 1)}); err != nil {
		return nil, err
	}
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(172, 17, 0, 2), Port: 9000})
}
