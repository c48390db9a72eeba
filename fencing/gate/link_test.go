package gate

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/boottime"
)

// need skips the test when cond is false, and fails it in CI.
func need(tb testing.TB, cond bool, what string) {
	tb.Helper()
	if cond {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatalf("needs %s", what)
	}
	tb.Skipf("needs %s", what)
}

// link is two fresh network namespaces joined by a veth pair: the holder's, in which
// the test's own thread is, and a client's, which asks and listens.
type link struct {
	t      testing.TB
	client netns.NsHandle
	mac    [2]net.HardwareAddr // of the holder, of the client
	index  int                 // of the client's interface

	stop chan struct{}
	wg   sync.WaitGroup

	// mu guards heard.
	mu    sync.Mutex
	heard map[string][]time.Time // what came from the holder, by kind and address
}

var (
	holderAddr, clientAddr = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")
	vip, vip2              = netip.MustParseAddr("10.9.0.100"), netip.MustParseAddr("10.9.0.101")
	vip6                   = netip.MustParseAddr("fd09::100")
	vipLL                  = netip.MustParseAddr("fe80::100%h0")
)

// newLink moves the calling goroutine for good onto a thread of its own.
func newLink(tb testing.TB) *link {
	tb.Helper()
	need(tb, os.Geteuid() == 0, "root, for network namespaces")
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	client, err := netns.New()
	must(err)
	holder, err := netns.New()
	must(err)
	l := &link{t: tb, client: client, stop: make(chan struct{}), heard: map[string][]time.Time{}}
	tb.Cleanup(func() {
		close(l.stop)
		l.wg.Wait()
		_ = client.Close()
		_ = holder.Close()
	})
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "h0"}, PeerName: "c0"}))
	h0, err := netlink.LinkByName("h0")
	must(err)
	c0, err := netlink.LinkByName("c0")
	must(err)
	must(netlink.LinkSetNsFd(c0, int(client)))
	l.mac = [2]net.HardwareAddr{h0.Attrs().HardwareAddr, c0.Attrs().HardwareAddr}
	there, err := netlink.NewHandleAt(client)
	must(err)
	defer there.Close()
	here, err := netlink.NewHandle()
	must(err)
	defer here.Close()
	for _, side := range []struct {
		h    *netlink.Handle
		name string
		addr string
		six  string
	}{{here, "h0", "10.9.0.1/24", "fd09::1/64"}, {there, "c0", "10.9.0.2/24", "fd09::2/64"}} {
		for _, name := range []string{"lo", side.name} {
			ln, err := side.h.LinkByName(name)
			must(err)
			must(side.h.LinkSetUp(ln))
		}
		ln, _ := side.h.LinkByName(side.name)
		l.index = ln.Attrs().Index // the client's is the last
		for _, a := range []string{side.addr, side.six} {
			addr, err := netlink.ParseAddr(a)
			must(err)
			addr.Flags |= unix.IFA_F_NODAD
			must(side.h.AddrAdd(ln, addr))
		}
	}
	// The client knows the way to the VIPs, so that a data packet does not depend on ARP.
	for _, a := range []netip.Addr{vip, vip2, vip6, vipLL} {
		must(there.NeighSet(&netlink.Neigh{
			LinkIndex: l.index, State: netlink.NUD_PERMANENT,
			IP: a.AsSlice(), HardwareAddr: l.mac[0],
		}))
	}
	return l
}

// hold puts a VIP on the holder's interface.
func (l *link) hold(a netip.Addr) {
	l.t.Helper()
	l.holdOn("h0", a)
}

func (l *link) holdOn(iface string, a netip.Addr) {
	l.t.Helper()
	ln, err := netlink.LinkByName(iface)
	if err != nil {
		l.t.Fatal(err)
	}
	addr := &netlink.Addr{
		IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())},
		Flags: unix.IFA_F_NODAD,
	}
	if err := netlink.AddrAdd(ln, addr); err != nil {
		l.t.Fatal(err)
	}
}

// inClient runs f in a goroutine of the client's namespace.
func (l *link) inClient(f func()) {
	started := make(chan error)
	l.wg.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread is in the wrong namespace
		err := netns.Set(l.client)
		started <- err
		if err == nil {
			f()
		}
	})
	if err := <-started; err != nil {
		l.t.Fatal(err)
	}
}

// packetSocket opens a raw socket on the client's interface.
func (l *link) packetSocket() int {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		l.t.Error(err)
		return -1
	}
	proto := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff})
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: l.index}); err != nil {
		l.t.Error(err)
	}
	return fd
}

// listen notes every frame that comes from the holder, with the kernel's own time of
// arrival, so that a busy test machine does not make the holder look late.
func (l *link) listen() {
	l.inClient(func() {
		fd := l.packetSocket()
		defer unix.Close(fd)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})
		toBoot := time.Until(boottime.Now())
		frame, oob := make([]byte, 2048), make([]byte, 128)
		for {
			n, on, _, _, err := unix.Recvmsg(fd, frame, oob, 0)
			if err != nil { // nothing for a while
				select {
				case <-l.stop:
					return
				default:
					continue
				}
			}
			kind := l.classify(frame[:n])
			if kind == "" {
				continue
			}
			cm, err := unix.ParseSocketControlMessage(oob[:on])
			if err != nil || len(cm) == 0 {
				l.t.Error("a frame without a time")
				return
			}
			sec := int64(binary.NativeEndian.Uint64(cm[0].Data))
			nsec := int64(binary.NativeEndian.Uint64(cm[0].Data[8:]))
			l.mu.Lock()
			l.heard[kind] = append(l.heard[kind], time.Unix(sec, nsec).Add(toBoot))
			l.mu.Unlock()
		}
	})
}

// classify names what the holder said, as "kind address"; empty: not the holder's.
func (l *link) classify(f []byte) string {
	if len(f) < 42 || string(f[6:12]) == string(l.mac[1]) {
		return ""
	}
	from := func(b []byte) string { a, _ := netip.AddrFromSlice(b); return a.String() }
	switch ether := binary.BigEndian.Uint16(f[12:]); {
	case ether == 0x0806:
		return "arp " + from(f[28:32])
	case ether == 0x0800 && f[23] == unix.IPPROTO_ICMP:
		return "ping " + from(f[26:30])
	case ether == 0x0800 && f[23] == unix.IPPROTO_UDP:
		return "udp " + from(f[26:30])
	case ether == 0x86dd && f[20] == unix.IPPROTO_ICMPV6 && len(f) >= 78 && f[54] == ndAdvertise:
		return "nd " + from(f[62:78])
	case ether == 0x86dd && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 129: // echo reply
		return "ping " + from(f[22:38])
	}
	return ""
}

// answers returns when the holder was heard so.
func (l *link) answers(kind string) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[kind]
}

// waitFor waits until the holder was heard so after the given instant.
func (l *link) waitFor(kind string, after time.Time) {
	l.t.Helper()
	await.That(l.t, kind+" is heard", func() bool {
		a := l.answers(kind)
		return len(a) > 0 && a[len(a)-1].After(after)
	})
}

// every does something each millisecond until the test ends.
func (l *link) every(f func()) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			f()
		}
	}
}

// ask sends each millisecond an ARP request (or neighbour solicitation) and a ping.
func (l *link) ask(addrs ...netip.Addr) {
	for _, a := range addrs {
		l.inClient(func() {
			network, msg := "ip4:icmp", []byte{8, 0, 0xf7, 0xfe, 0, 1, 0, 0}
			if a.Is6() {
				network, msg = "ip6:ipv6-icmp", []byte{128, 0, 0, 0, 0, 1, 0, 0} // the kernel adds the checksum
			}
			there := a
			if a.Zone() != "" {
				there = a.WithZone("c0")
			}
			ping, err := net.Dial(network, there.String())
			if err != nil {
				l.t.Error(err)
				return
			}
			defer ping.Close()
			fd := l.packetSocket()
			defer unix.Close(fd)
			question := l.question(a)
			l.every(func() {
				_, _ = unix.Write(fd, question)
				_, _ = ping.Write(msg) // refused by nobody, lost at the gate
			})
		})
	}
}

// question is the frame that asks who has the address.
func (l *link) question(a netip.Addr) []byte {
	if a.Is4() {
		f := append([]byte{255, 255, 255, 255, 255, 255}, l.mac[1]...)
		f = append(f, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
		f = append(f, l.mac[1]...)
		f = append(f, clientAddr.AsSlice()...)
		f = append(f, 0, 0, 0, 0, 0, 0)
		return append(f, a.AsSlice()...)
	}
	src, target := netip.MustParseAddr("fd09::2").As16(), a.As16()
	body := append([]byte{ndSolicit, 0, 0, 0, 0, 0, 0, 0}, target[:]...)
	body = append(append(body, 1, 1), l.mac[1]...)
	sum := uint32(len(body)) + unix.IPPROTO_ICMPV6
	for _, b := range [][]byte{src[:], target[:], body} {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(body[2:], ^uint16(sum))
	f := append(append([]byte{}, l.mac[0]...), l.mac[1]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255)
	return append(append(append(f, src[:]...), target[:]...), body...)
}

// talk makes a program on the holder send a datagram from the VIP each millisecond,
// unasked, as a stream would.
func (l *link) talk(a netip.Addr) {
	l.t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9000)),
		net.UDPAddrFromAddrPort(netip.AddrPortFrom(clientAddr, 9000)))
	if err != nil {
		l.t.Fatal(err)
	}
	l.wg.Go(func() {
		defer c.Close()
		l.every(func() { _, _ = c.Write([]byte("still here")) }) // EPERM once the gate is shut
	})
}

// talkTo pings an address of the client's from the holder's namespace.
func (l *link) talkTo(a netip.Addr) {
	l.t.Helper()
	c, err := net.Dial("ip4:icmp", a.String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.wg.Go(func() {
		defer c.Close()
		l.every(func() { _, _ = c.Write([]byte{8, 0, 0xf7, 0xfe, 0, 1, 0, 0}) })
	})
}

// nft runs the tool in the holder's namespace.
func nft(tb testing.TB, args ...string) string {
	tb.Helper()
	path, err := exec.LookPath("nft")
	need(tb, err == nil, "nft")
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("nft %v: %v: %s", args, err, out)
	}
	return string(out)
}
