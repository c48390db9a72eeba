package stories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

const vetoNode = `cluster edge {
    node n1 10.97.0.11
    node n2 10.97.0.12
    insecure on
}
` + plainARPNode

const plainARPNode = `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 1
    virtual_ipaddress {
        10.97.0.100/24
    }
}
`

const contested = "10.97.0.100"

// TestForeignDevice is a pair without a third member whose address is in use already: by
// a machine that nobody remembers. Adverts and mesh are fine and nobody holds the claim,
// and yet nobody takes it, and the status says why. Once that machine is gone one node
// takes the address.
func TestForeignDevice(t *testing.T) {
	t.Parallel()
	b := newBench(t, "10.97.0")
	n1, n2, x1 := b.machine("n1", 11), b.machine("n2", 12), b.machine("x1", 50)
	b.run("ip", "-n", b.ns("x1"), "addr", "add", contested+"/24", "dev", "eth0")
	n1.solovip(n1.write("a.conf", fmt.Sprintf(vetoNode, 150), 0o644))
	n2.solovip(n2.write("a.conf", fmt.Sprintf(vetoNode, 100), 0o644))
	said := x1.mac() + " answers ARP for " + contested
	refused := func(m *machine) func() bool {
		return func() bool {
			s, ok := m.status()
			return ok && strings.Contains(s.Claims[0].Why, said)
		}
	}
	b.await(10*time.Second, "n1 refuses to take it", refused(n1), n1, n2)
	b.await(10*time.Second, "n2 refuses to take it", refused(n2), n1, n2)
	b.never(6*time.Second, "somebody took an address that is in use", func() bool {
		return n1.has(contested, "") || n2.has(contested, "")
	}, n1, n2)
	for _, m := range []*machine{n1, n2} {
		s, ok := m.status()
		if !ok || s.Claims[0].State != "BACKUP" || s.Claims[0].Holder != "" {
			t.Errorf("%s: %+v, want a BACKUP that knows of no holder", m.name, s.Claims)
		}
		if c := s.Claims[0].Conflicts; len(c) != 1 || c[0].Station != x1.mac() || c[0].Address != contested || c[0].Count < 4 {
			t.Errorf("%s: conflicts %+v, want %s of %s, seen again and again", m.name, c, contested, x1.mac())
		}
		for _, line := range []string{
			"another station has the address while nobody is known to hold the claim",
			"adverts are missing, yet the claim is not taken",
		} {
			if n := m.told(line); n != 1 {
				t.Errorf("%s told %d times, want once: %s\n%s", m.name, n, line, m.tail())
			}
		}
	}
	b.run("ip", "-n", b.ns("x1"), "addr", "del", contested+"/24", "dev", "eth0")
	took := b.await(5*time.Second, "n1 takes it once that machine is gone", func() bool { return n1.has(contested, "") }, n1, n2)
	t.Logf("n1 took it after %v", took.Round(10*time.Millisecond))
	b.never(3*time.Second, "n2 took it too", func() bool { return n2.has(contested, "") }, n1, n2)
}

// TestConflictWhileHeld has a foreign machine announce, second after second, the address
// that a node holds. The node says so once, keeps the claim, and does not answer with a
// storm; in plain VRRP it answers with nothing, as keepalived does.
func TestConflictWhileHeld(t *testing.T) {
	need(t, "arping")
	for _, c := range []struct {
		mode, conf  string
		least, most int64 // announcements of n1 in the window
	}{
		{"veto", vetoNode, 1, 3},
		{"vrrp", plainARPNode, 0, 0},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "10.97.0")
			n1, n2, x1 := b.machine("n1", 11), b.machine("n2", 12), b.machine("x1", 50)
			n1.solovip(n1.write("a.conf", fmt.Sprintf(c.conf, 150), 0o644))
			n2.solovip(n2.write("a.conf", fmt.Sprintf(c.conf, 100), 0o644))
			heard := x1.announcements(n1.mac())
			b.await(10*time.Second, "n1 has it", func() bool { return n1.has(contested, "") }, n1, n2)
			b.await(20*time.Second, "n1 announces when it takes, and 5 s later", func() bool { return heard.Load() >= 10 }, n1, n2)

			const window = 20 * time.Second
			before := heard.Load()
			b.run("ip", "-n", b.ns("x1"), "addr", "add", contested+"/24", "dev", "eth0")
			x1.start("arping", "-q", "-U", "-i", "eth0", "-S", contested, contested)
			b.never(window, "n1 let go, or n2 took it", func() bool {
				return !n1.has(contested, "") || n2.has(contested, "")
			}, n1, n2)
			if n := heard.Load() - before; n < c.least || n > c.most {
				t.Errorf("n1 announced %d times in %v, want %d to %d\n%s", n, window, c.least, c.most, n1.tail())
			} else {
				t.Logf("n1 announced %d times in %v", n, window)
			}
			if n := n1.told("another station speaks for the address"); n != 1 {
				t.Errorf("n1 told of it %d times, want once\n%s", n, n1.tail())
			}
			s, ok := n1.status()
			if !ok || len(s.Claims[0].Conflicts) != 1 || s.Claims[0].Conflicts[0].Station != x1.mac() || s.Claims[0].Conflicts[0].Count < 10 {
				t.Errorf("n1's status has %+v, want a conflict with %s", s.Claims, x1.mac())
			}
		})
	}
}

// TestKilledDaemon kills the holder's daemon without a third member to ask. Its kernel
// keeps the address until its lifetime ends and answers ARP for it, so the other node
// waits: there are never two.
func TestKilledDaemon(t *testing.T) {
	t.Parallel()
	b := newBench(t, "10.97.0")
	n1, n2 := b.machine("n1", 11), b.machine("n2", 12)
	n1.solovip(n1.write("a.conf", fmt.Sprintf(vetoNode, 150), 0o644))
	n2.solovip(n2.write("a.conf", fmt.Sprintf(vetoNode, 100), 0o644))
	b.await(10*time.Second, "n1 has it", func() bool { return n1.has(contested, "") }, n1, n2)
	b.await(10*time.Second, "n2 knows that", func() bool {
		s, ok := n2.status()
		return ok && s.Claims[0].Holder == "n1"
	}, n1, n2)
	n1.kill()
	both := false
	took := b.await(15*time.Second, "n2 takes over from the killed n1", func() bool {
		taken := n2.has(contested, "")
		both = both || taken && n1.has(contested, "")
		return taken
	}, n1, n2)
	if both {
		t.Errorf("n2 took it while n1 still had it\n%s", n2.tail())
	}
	t.Logf("n2 took it after %v", took.Round(10*time.Millisecond))
}

// mac returns the hardware address of the machine's interface.
func (m *machine) mac() string {
	m.b.t.Helper()
	out, err := exec.Command("ip", "-n", m.b.ns(m.name), "-j", "link", "show", "dev", "eth0").Output()
	if err != nil {
		m.b.t.Fatal(err)
	}
	var links []struct{ Address string }
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		m.b.t.Fatalf("link of %s: %v: %s", m.name, err, out)
	}
	return links[0].Address
}

// standing is what these stories read of `solovip status --json`.
type standing struct {
	Claims []struct {
		State, Holder, Why string
		Token              int
		Conflicts          []struct {
			Station, Address string
			Count            int
		}
	}
}

// status asks the machine's daemon how it stands; false when it has no claim yet.
func (m *machine) status() (standing, bool) {
	m.b.t.Helper()
	bin, err := binary()
	if err != nil {
		m.b.t.Fatal(err)
	}
	var s standing
	out, err := exec.Command(bin, "status", "--json", "--run-dir", filepath.Join(m.dir, "run")).Output()
	if err != nil || json.Unmarshal(out, &s) != nil {
		return s, false // it does not listen yet
	}
	return s, len(s.Claims) > 0
}

// told counts the lines of the daemon's log with the given text.
func (m *machine) told(text string) int {
	m.b.t.Helper()
	log, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		m.b.t.Fatal(err)
	}
	return strings.Count(string(log), text)
}

// announcements counts the gratuitous ARPs from a hardware address that the machine
// hears for the contested address, until the test ends.
func (m *machine) announcements(from string) *atomic.Int64 {
	m.b.t.Helper()
	heard := new(atomic.Int64)
	conns := make(chan *packet.Conn)
	go func() {
		defer close(conns)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		conn, err := m.listenARP()
		if err != nil {
			m.b.t.Errorf("listen to ARP on %s: %v", m.name, err)
			return
		}
		conns <- conn
	}()
	conn, ok := <-conns
	if !ok {
		m.b.t.FailNow()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		want, err := net.ParseMAC(from)
		ip := net.ParseIP(contested).To4()
		buffer := make([]byte, 128)
		for err == nil {
			var n int
			if n, _, err = conn.ReadFrom(buffer); err != nil {
				break
			}
			// Behind the Ethernet header: sender's addresses at 8 and 14, target's IP at 24.
			if p := buffer[:n]; n >= 28 && slices.Equal(p[8:14], want) && slices.Equal(p[14:18], ip) && slices.Equal(p[24:28], ip) {
				heard.Add(1)
			}
		}
		if ctx.Err() == nil {
			m.b.t.Errorf("listening to ARP on %s: %v", m.name, err)
		}
	}()
	m.b.t.Cleanup(func() {
		cancel()
		_ = conn.Close() // it was only read
		<-done
	})
	return heard
}

// listenARP opens a socket for ARP in the machine's namespace, which becomes the thread's.
func (m *machine) listenARP() (*packet.Conn, error) {
	ns, err := os.Open("/run/netns/" + m.b.ns(m.name))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return nil, err
	}
	return packet.Listen(eth0, packet.Datagram, unix.ETH_P_ARP, nil)
}
