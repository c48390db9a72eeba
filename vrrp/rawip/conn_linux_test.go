package rawip

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

var (
	group   = netip.MustParseAddr("224.0.0.18")
	nearIP  = netip.MustParseAddr("10.9.0.1")
	farIP   = netip.MustParseAddr("10.9.0.2")
	absent  = netip.MustParseAddr("10.9.0.99")
	advert  = []byte{0x31, 51, 100, 1, 0, 100, 0, 0, 10, 9, 0, 100}
	another = []byte{0x31, 52, 100, 1, 0, 100, 0, 0, 10, 9, 0, 100}
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustOpen opens a Conn in the goroutine's namespace and closes it when the test ends.
func mustOpen(t *testing.T, config Config) *Conn {
	t.Helper()
	c, err := Open(config)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() }) // may have been closed by the test
	return c
}

// receive returns the next datagram; the test fails when none comes.
func receive(t *testing.T, c *Conn) Datagram {
	t.Helper()
	must(t, c.socket.SetReadDeadline(time.Now().Add(10*time.Second)))
	d, err := c.Receive()
	must(t, err)
	return d
}

// wantNothing checks that what is queued on the socket holds no datagram for the
// instance. It is meaningful after a packet sent later has arrived elsewhere.
func wantNothing(t *testing.T, c *Conn) {
	t.Helper()
	must(t, c.socket.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	if d, err := c.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("received %+v, %v", d, err)
	}
}

// sendUntilHeard repeats an advert until the link is up and the other side has it.
func sendUntilHeard(t *testing.T, from *Conn, to *Conn, dst netip.Addr) Datagram {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if err := from.Send(advert, dst); err != nil && !errors.Is(err, ErrInterface) {
			t.Fatal(err)
		}
		must(t, to.socket.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		d, err := to.Receive()
		if err == nil {
			return d
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	t.Fatal("no advert came in 10 s")
	return Datagram{}
}

func TestMulticast(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	receiver := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	near.enter(t)
	sender := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	if sender.Source() != nearIP || !slices.Equal(sender.Destinations(), []netip.Addr{group}) {
		t.Errorf("from %s to %s", sender.Source(), sender.Destinations())
	}
	got := sendUntilHeard(t, sender, receiver, group)
	if !bytes.Equal(got.Payload, advert) || got.Source != nearIP || got.Destination != group || got.TTL != 255 ||
		got.Interface != receiver.InterfaceIndex() || got.Interface == 0 || !got.TTLAllowed() {
		t.Errorf("received %+v", got)
	}
	wantNothing(t, sender) // its own advert
}

// What goes out is marked as keepalived marks it: TTL 255, internetwork control.
func TestHeaderOnTheWire(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	receiver := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	plain, err := net.ListenPacket("ip4:112", "0.0.0.0")
	must(t, err)
	defer func() { _ = plain.Close() }()
	wire, err := ipv4.NewRawConn(plain)
	must(t, err)
	near.enter(t)
	for _, ttl := range []int{0, 7} {
		sender := mustOpen(t, Config{Interface: "veth0", VRID: 51, TTL: ttl})
		sendUntilHeard(t, sender, receiver, group)
		must(t, wire.SetReadDeadline(time.Now().Add(10*time.Second)))
		header, _, _, err := wire.ReadFrom(make([]byte, 100))
		must(t, err)
		if want := (map[int]int{0: 255, 7: 7})[ttl]; header.TTL != want || header.TOS != 0xc0 {
			t.Errorf("ttl %d: header %+v", ttl, header)
		}
	}
}

// Instances on one interface each hear their own VRID.
func TestOtherVRIDsStayOut(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	ours := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	other := mustOpen(t, Config{Interface: "veth0", VRID: 52})
	near.enter(t)
	sender := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	sendUntilHeard(t, sender, ours, group)
	must(t, sender.Send(another, group))
	must(t, sender.Send([]byte{0x31}, group))
	must(t, sender.Send(nil, group))
	must(t, sender.Send(append(slices.Clone(advert), 99), group)) // marks the end
	if got := receive(t, ours); got.Payload[len(got.Payload)-1] != 99 {
		t.Errorf("received %+v", got)
	}
	if got := receive(t, other); got.Payload[1] != 52 {
		t.Errorf("received %+v", got)
	}
	wantNothing(t, other)
}

func TestUnicast(t *testing.T) {
	near, far := newPair(t)
	run(t, "ip", "address", "add", "10.9.0.3/24", "dev", "veth0")
	far.enter(t)
	receiver := mustOpen(t, Config{Interface: "veth0", VRID: 51, Peers: []netip.Addr{nearIP}})
	multicast := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	near.enter(t)
	second := netip.MustParseAddr("10.9.0.3")
	tests := []struct {
		name   string
		config Config
		want   netip.Addr
	}{
		{"primary address", Config{Interface: "veth0"}, nearIP},
		{"unicast_src_ip", Config{Interface: "veth0", Source: second}, second},
		{"no interface", Config{Source: second}, second},
	}
	for _, test := range tests {
		test.config.VRID, test.config.Peers = 51, []netip.Addr{farIP, absent}
		sender := mustOpen(t, test.config)
		if sender.Source() != test.want || !slices.Equal(sender.Destinations(), test.config.Peers) {
			t.Errorf("%s: from %s to %s", test.name, sender.Source(), sender.Destinations())
		}
		got := sendUntilHeard(t, sender, receiver, farIP)
		if !bytes.Equal(got.Payload, advert) || got.Source != test.want || got.Destination != farIP || got.TTL != 255 {
			t.Errorf("%s: received %+v", test.name, got)
		}
	}
	wantNothing(t, multicast)
	// And multicast does not reach the unicast instance.
	sender := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	sendUntilHeard(t, sender, multicast, group)
	wantNothing(t, receiver)
}

// mcast_src_ip: another of the interface's addresses than its first.
func TestMulticastSource(t *testing.T) {
	near, far := newPair(t)
	run(t, "ip", "address", "add", "10.9.0.3/24", "dev", "veth0")
	far.enter(t)
	receiver := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	near.enter(t)
	second := netip.MustParseAddr("10.9.0.3")
	sender := mustOpen(t, Config{Interface: "veth0", VRID: 51, Source: second})
	if got := sendUntilHeard(t, sender, receiver, group); got.Source != second {
		t.Errorf("received %+v", got)
	}
}

// Somebody on another network cannot take part, though routing would let the packet in.
func TestPacketsByAnotherInterfaceAreDropped(t *testing.T) {
	near, far := newPair(t)
	run(t, "ip", "link", "add", "side0", "type", "veth", "peer", "name", "side0", "netns", far.path())
	run(t, "ip", "address", "add", "10.5.0.1/24", "dev", "side0")
	run(t, "ip", "link", "set", "side0", "up")
	far.enter(t)
	run(t, "ip", "address", "add", "10.5.0.2/24", "dev", "side0")
	run(t, "ip", "link", "set", "side0", "up")
	bound := mustOpen(t, Config{Interface: "veth0", VRID: 51, Peers: []netip.Addr{nearIP}})
	free := mustOpen(t, Config{Source: farIP, VRID: 51, Peers: []netip.Addr{nearIP}})
	multicast := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	elsewhere := mustOpen(t, Config{Interface: "side0", VRID: 51})
	near.enter(t)
	run(t, "ip", "route", "add", "10.9.0.2/32", "via", "10.5.0.2", "dev", "side0")
	side := mustOpen(t, Config{Interface: "side0", VRID: 51, Peers: []netip.Addr{farIP}})
	if got := sendUntilHeard(t, side, free, farIP); got.Interface != elsewhere.InterfaceIndex() {
		t.Errorf("received %+v", got)
	}
	wantNothing(t, bound)
	sideGroup := mustOpen(t, Config{Interface: "side0", VRID: 51})
	sendUntilHeard(t, sideGroup, elsewhere, group)
	wantNothing(t, multicast)
}

func TestCloseEndsReceive(t *testing.T) {
	newPair(t)
	c := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	ended := make(chan error)
	go func() {
		_, err := c.Receive()
		ended <- err
	}()
	must(t, c.Close())
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Receive: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Receive still waits")
	}
	if err := c.Send(advert, group); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
}

// A cable that is pulled and plugged in again needs no new Conn on either side.
func TestConnOutlivesLinkFlap(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	receiver := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	near.enter(t)
	sender := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	unicast := mustOpen(t, Config{Interface: "veth0", VRID: 51, Peers: []netip.Addr{farIP}})
	sendUntilHeard(t, sender, receiver, group)
	run(t, "ip", "link", "set", "veth0", "down")
	if err := sender.Send(advert, group); !errors.Is(err, ErrInterface) {
		t.Errorf("multicast on an interface that is down: %v", err)
	}
	if err := unicast.Send(advert, farIP); !errors.Is(err, ErrInterface) {
		t.Errorf("unicast on an interface that is down: %v", err)
	}
	run(t, "ip", "link", "set", "veth0", "up")
	sendUntilHeard(t, sender, receiver, group)
	far.enter(t)
	run(t, "ip", "link", "set", "veth0", "down")
	run(t, "ip", "link", "set", "veth0", "up")
	sendUntilHeard(t, sender, receiver, group)
}

func TestSendFailsWhenTheGroundIsGone(t *testing.T) {
	newPair(t)
	run(t, "ip", "address", "add", "10.9.0.3/24", "dev", "veth0")
	source := netip.MustParseAddr("10.9.0.3")
	sender := mustOpen(t, Config{Interface: "veth0", Source: source, VRID: 51})
	unicast := mustOpen(t, Config{Interface: "veth0", Source: source, VRID: 51, Peers: []netip.Addr{farIP}})
	for _, step := range []string{
		"ip address delete 10.9.0.3/24 dev veth0", // others are left, but the source is gone
		"ip address delete 10.9.0.1/24 dev veth0",
		"ip link delete veth0",
	} {
		words := strings.Fields(step)
		run(t, words[0], words[1:]...)
		if err := sender.Send(advert, group); !errors.Is(err, ErrInterface) {
			t.Errorf("%s: multicast: %v", step, err)
		}
		if err := unicast.Send(advert, farIP); !errors.Is(err, ErrInterface) {
			t.Errorf("%s: unicast: %v", step, err)
		}
	}
}

// A peer that is off answers no ARP, and its packets pile up in the kernel: the instance
// must not wait for it.
func TestSendNeverWaits(t *testing.T) {
	newPair(t)
	sender := mustOpen(t, Config{Interface: "veth0", VRID: 51, Peers: []netip.Addr{absent}})
	started := time.Now()
	for range 5000 {
		_ = sender.Send(advert, absent) // full queues are what the test is about
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("5000 packets took %s", took)
	}
}

func TestFirewallIsNamed(t *testing.T) {
	newPair(t)
	sender := mustOpen(t, Config{Interface: "veth0", VRID: 51})
	run(t, "nft", "add table ip t; add chain ip t out { type filter hook output priority 0; }; add rule ip t out ip protocol 112 drop")
	if err := sender.Send(advert, group); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "firewall") ||
		strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("Send: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	newPair(t)
	run(t, "ip", "link", "add", "down0", "type", "veth", "peer", "name", "bare0")
	run(t, "ip", "link", "set", "bare0", "up")
	tests := []struct {
		name      string
		config    Config
		want      string
		retryable bool
	}{
		{"no such interface", Config{Interface: "eth9"}, "eth9 does not exist", true},
		{"interface is down", Config{Interface: "down0"}, "ip link set down0 up", true},
		{"no address", Config{Interface: "bare0"}, "ip address add", true},
		{"source is elsewhere", Config{Interface: "veth0", Source: absent}, "10.9.0.99 is not on this host", true},
		{"unicast source is elsewhere", Config{Source: absent, Peers: []netip.Addr{farIP}}, "unicast_src_ip", true},
		{"nonsense", Config{Interface: "veth0", TTL: 999}, "ttl 999", false},
	}
	for _, test := range tests {
		test.config.VRID = 51
		_, err := Open(test.config)
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrInterface) != test.retryable {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestOpenNamesTheCapability(t *testing.T) {
	newPair(t)
	runtime.LockOSThread() // newPair has done so: the thread ends with the test
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	must(t, unix.Capset(&header, &none[0]))
	if _, err := Open(Config{Interface: "veth0", VRID: 51}); !errors.Is(err, unix.EPERM) || errors.Is(err, ErrInterface) ||
		!strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("Open: %v", err)
	}
}

// Adverts of a real keepalived 2.2.7 come in.
func TestKeepalivedAdverts(t *testing.T) {
	tests := []struct {
		name     string
		lines    string // of its vrrp_instance
		peers    []netip.Addr
		wantTo   netip.Addr
		wantByte byte // version and type
		wantSize int
	}{
		{"v2 multicast", "version 2\nauthentication {\n auth_type PASS\n auth_pass abcd\n}", nil, group, 0x21, 20},
		{"v3 multicast", "version 3", nil, group, 0x31, 12},
		{"v2 unicast", "version 2\nunicast_src_ip 10.9.0.2\nunicast_peer {\n 10.9.0.1\n}", []netip.Addr{farIP}, nearIP, 0x21, 20},
		{"v3 unicast", "version 3\nunicast_src_ip 10.9.0.2\nunicast_peer {\n 10.9.0.1\n}", []netip.Addr{farIP}, nearIP, 0x31, 12},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			near, far := newPair(t)
			near.enter(t)
			c := mustOpen(t, Config{Interface: "veth0", VRID: 51, Peers: test.peers})
			far.enter(t)
			startKeepalived(t, "vrrp_instance VI_1 {\n interface veth0\n virtual_router_id 51\n priority 255\n advert_int 1\n"+
				test.lines+"\nvirtual_ipaddress {\n 10.9.0.100/24\n}\n}\n")
			d := receive(t, c)
			if d.Source != farIP || d.Destination != test.wantTo || d.TTL != 255 || d.Interface != c.InterfaceIndex() ||
				len(d.Payload) != test.wantSize || d.Payload[0] != test.wantByte || d.Payload[1] != 51 {
				t.Errorf("received %+v", d)
			}
		})
	}
}

// startKeepalived runs keepalived in the goroutine's namespace until the test ends.
func startKeepalived(t *testing.T, config string) {
	t.Helper()
	if _, err := exec.LookPath("keepalived"); err != nil {
		missing(t, "%v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "keepalived.conf")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	var output bytes.Buffer
	command := exec.Command("keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", file,
		"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid"))
	command.Stdout, command.Stderr = &output, &output
	must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(unix.SIGTERM) // fails only when it has ended
		if err := command.Wait(); err != nil || t.Failed() {
			t.Logf("keepalived: %v\n%s", err, &output)
		}
	})
}
