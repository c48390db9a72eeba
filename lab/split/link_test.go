package split

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	meshPort    = 7946
	witnessPort = 2379
	webPort     = 80

	patience = 10 * time.Second       // for what has to come
	brief    = 120 * time.Millisecond // for what must not
)

var (
	nodeAddr, peerAddr   = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")
	nodeAddr6, peerAddr6 = netip.MustParseAddr("fd09::1"), netip.MustParseAddr("fd09::2")
)

// again starts this test binary for TestMain.
func again(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "SPLIT_TEST=yes")
	return cmd
}

// start starts a process in the caller's namespace, and returns when it says that it is ready.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%v says %q (%v)", cmd.Args, line, err)
	}
}

// TestMain lets the test binary be another process too: one that makes a cut and then
// stands still, or one that listens and says again what it hears.
func TestMain(m *testing.M) {
	if os.Getenv("SPLIT_TEST") == "" {
		os.Exit(m.Run())
	}
	if err := beAnother(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func beAnother(what, arg string) error {
	switch what {
	case "apply":
		length, err := time.ParseDuration(arg)
		if err != nil {
			return err
		}
		if err := cut(length, Both, Mesh).Apply(); err != nil {
			return err
		}
		fmt.Println("ready")
		select {}
	case "listen":
		l, err := net.Listen("tcp", ":"+arg)
		if err != nil {
			return err
		}
		fmt.Println("ready")
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		_, err = io.Copy(conn, conn)
		return err
	}
	return fmt.Errorf("what is %q?", what)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func need(t *testing.T, cond bool, what string) {
	t.Helper()
	if cond {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

// link is two fresh network namespaces joined by a veth pair: the node's, in which the
// test's own thread is, and the peer's, where services listen.
type link struct {
	t          *testing.T
	node, peer netns.NsHandle
}

// newLink moves the calling goroutine for good onto a thread of its own.
func newLink(t *testing.T) *link {
	t.Helper()
	need(t, os.Geteuid() == 0, "root, for network namespaces")
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	peer, err := netns.New()
	check(t, err)
	node, err := netns.New()
	check(t, err)
	l := &link{t: t, node: node, peer: peer}
	check(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "n0"}, PeerName: "p0", PeerNamespace: netlink.NsFd(peer),
	}))
	l.setUp("n0", nodeAddr, nodeAddr6)
	l.inPeer(func() {
		l.setUp("p0", peerAddr, peerAddr6)
		for _, port := range []int{meshPort, witnessPort, sshPort, webPort} {
			listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
			check(t, err)
			t.Cleanup(func() { _ = listener.Close() })
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_ = conn.Close() // that it was accepted says it
				}
			}()
		}
		datagrams, err := net.ListenPacket("udp", fmt.Sprintf(":%d", meshPort))
		check(t, err)
		t.Cleanup(func() { _ = datagrams.Close() })
		go func() {
			buf := make([]byte, 64)
			for {
				n, from, err := datagrams.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = datagrams.WriteTo(buf[:n], from) // an answer that is dropped is what is tested
			}
		}()
	})
	t.Cleanup(func() { _, _ = node.Close(), peer.Close() })
	return l
}

// with returns the link for a subtest, whose thread enters the node's namespace.
func (l *link) with(t *testing.T) *link {
	t.Helper()
	runtime.LockOSThread()
	check(t, netns.Set(l.node))
	return &link{t: t, node: l.node, peer: l.peer}
}

func (l *link) setUp(name string, addrs ...netip.Addr) {
	l.t.Helper()
	for _, name := range []string{"lo", name} {
		found, err := netlink.LinkByName(name)
		check(l.t, err)
		check(l.t, netlink.LinkSetUp(found))
		if name == "lo" {
			continue
		}
		for _, a := range addrs {
			bits := map[bool]int{true: 24, false: 64}[a.Is4()]
			check(l.t, netlink.AddrAdd(found, &netlink.Addr{
				IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}, Flags: unix.IFA_F_NODAD,
			}))
		}
	}
}

// inPeer calls f with the thread in the peer's namespace. Sockets that f opens stay there.
func (l *link) inPeer(f func()) {
	l.t.Helper()
	check(l.t, netns.Set(l.peer))
	defer func() { check(l.t, netns.Set(l.node)) }()
	f()
}

func (l *link) dialFromPeer(network, address string) (conn net.Conn) {
	l.t.Helper()
	l.inPeer(func() {
		var err error
		conn, err = net.Dial(network, address)
		check(l.t, err)
	})
	return conn
}

func (l *link) forgetNeighbours() {
	l.t.Helper()
	forget := func() {
		for _, family := range []string{"-4", "-6"} {
			if out, err := exec.Command("ip", family, "neigh", "flush", "all").CombinedOutput(); err != nil {
				l.t.Fatalf("ip neigh flush: %v: %s", err, out)
			}
		}
	}
	forget()
	l.inPeer(forget)
}

func (l *link) wantOpen(ways ...string) {
	l.t.Helper()
	for _, way := range ways {
		if !l.passes(way, patience) {
			l.t.Errorf("%s does not pass", way)
		}
	}
}

func (l *link) wantShut(ways ...string) {
	l.t.Helper()
	for _, way := range ways {
		if l.passes(way, brief) {
			l.t.Errorf("%s passes", way)
		}
	}
}

// passes reports whether something gets through within a time, by whatever attempt.
func (l *link) passes(way string, within time.Duration) bool {
	l.t.Helper()
	for deadline := time.Now().Add(within); ; {
		if l.attempt(way) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// attempt tries once. It never takes longer than the brief time.
func (l *link) attempt(way string) bool {
	l.t.Helper()
	ports := map[string]int{"mesh": meshPort, "witness": witnessPort, "ssh": sshPort, "web": webPort}
	what, how, _ := strings.Cut(way, " ")
	switch {
	case what == "arp":
		ctx, cancel := context.WithTimeout(l.t.Context(), 10*brief)
		defer cancel()
		return exec.CommandContext(ctx, "arping", "-c", "1", "-w", "1", "-i", "n0", peerAddr.String()).Run() == nil
	case strings.HasPrefix(what, "vrrp"):
		return l.advert(what, how == "in")
	}
	to := netip.AddrPortFrom(peerAddr, uint16(ports[what]))
	if strings.HasSuffix(how, "6") {
		to = netip.AddrPortFrom(peerAddr6, uint16(ports[what]))
	}
	conn, err := net.DialTimeout(how[:3], to.String(), brief)
	if err != nil {
		return false
	}
	defer conn.Close()
	if how[:3] == "tcp" {
		return true
	}
	check(l.t, conn.SetDeadline(time.Now().Add(brief)))
	_, _ = conn.Write([]byte("here")) // dropped in our own output: an error at once
	n, _ := conn.Read(make([]byte, 16))
	return n == 4
}

// advert sends a packet of protocol 112, by multicast over IPv4, and reports whether it arrives.
func (l *link) advert(what string, in bool) bool {
	l.t.Helper()
	from, to := nodeAddr, netip.MustParseAddr("224.0.0.18")
	network, device := "ip4:112", "p0"
	if in {
		from, device = peerAddr, "n0"
	}
	if what == "vrrp6" {
		network, from, to = "ip6:112", peerAddr6, nodeAddr6
	}
	var sender, receiver net.PacketConn
	send := func() {
		var err error
		sender, err = net.ListenPacket(network, from.String())
		check(l.t, err)
	}
	receive := func() {
		var err error
		receiver, err = net.ListenPacket(network, "")
		check(l.t, err)
		if to.IsMulticast() {
			ifi, err := net.InterfaceByName(device)
			check(l.t, err)
			check(l.t, ipv4.NewPacketConn(receiver).JoinGroup(ifi, &net.IPAddr{IP: to.AsSlice()}))
		}
	}
	if in {
		receive()
		l.inPeer(send)
	} else {
		l.inPeer(receive)
		send()
	}
	defer sender.Close()
	defer receiver.Close()
	if to.IsMulticast() {
		l.multicastBy(sender, map[bool]string{true: "p0", false: "n0"}[in], in)
	}
	_, _ = sender.WriteTo([]byte("advert"), &net.IPAddr{IP: to.AsSlice()}) // dropped in our own output: an error at once
	check(l.t, receiver.SetReadDeadline(time.Now().Add(brief)))
	n, _, _ := receiver.ReadFrom(make([]byte, 64))
	return n > 0
}

func (l *link) multicastBy(sender net.PacketConn, device string, inPeer bool) {
	l.t.Helper()
	set := func() {
		ifi, err := net.InterfaceByName(device)
		check(l.t, err)
		check(l.t, ipv4.NewPacketConn(sender).SetMulticastInterface(ifi))
	}
	if inPeer {
		l.inPeer(set)
	} else {
		set()
	}
}
