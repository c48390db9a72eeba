package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
)

// probes are what a fault may let through or not. Each sends one thing from one host to
// another and reports whether it arrived within a time.
func probes() []probe {
	return []probe{
		{"vrrp", func(t *testing.T, from, to *host, within time.Duration) bool {
			return datagram(t, "ip4:112", 0, from, to, within)
		}},
		{"mesh", func(t *testing.T, from, to *host, within time.Duration) bool {
			return datagram(t, "udp4", meshPort, from, to, within)
		}},
		{"other", func(t *testing.T, from, to *host, within time.Duration) bool {
			return datagram(t, "udp4", 9999, from, to, within)
		}},
		{"witness", connects},
		{"arp", answersARP},
	}
}

type probe struct {
	name string
	pass func(t *testing.T, from, to *host, within time.Duration) bool
}

// Every kind of fault stops what it should, the way it should, and nothing else; and it
// ends. The traffic is looked at between n1, which has the fault, and n2.
func TestFaultsStopWhatTheyShould(t *testing.T) {
	tests := []struct {
		name    string
		step    scenario.Step
		in, out string // what still arrives at n1, and from n1
	}{
		{"nothing", scenario.Step{}, "vrrp mesh other witness arp", "vrrp mesh other witness arp"},
		{"vrrp", scenario.Step{Traffic: scenario.VRRPAdverts}, "mesh other witness arp", "mesh other witness arp"},
		{"vrrp in", scenario.Step{Traffic: scenario.VRRPAdverts, Way: scenario.In}, "mesh other witness arp", "vrrp mesh other witness arp"},
		{"vrrp out", scenario.Step{Traffic: scenario.VRRPAdverts, Way: scenario.Out}, "vrrp mesh other witness arp", "mesh other witness arp"},
		{"vrrp of a stranger", scenario.Step{Traffic: scenario.VRRPAdverts, Peer: "w1"}, "vrrp mesh other witness arp", "vrrp mesh other witness arp"},
		{"mesh with n2", scenario.Step{Traffic: scenario.MeshTraffic, Peer: "n2"}, "vrrp other witness arp", "vrrp other witness arp"},
		{"witness", scenario.Step{Traffic: scenario.WitnessTraffic}, "vrrp mesh other arp", "vrrp mesh other arp"},
		// An answer is needed to connect, and to learn a hardware address.
		{"all ip", scenario.Step{Traffic: scenario.IPTraffic}, "arp", "arp"},
		{"all ip in", scenario.Step{Traffic: scenario.IPTraffic, Way: scenario.In}, "arp", "vrrp mesh other arp"},
		{"arp", scenario.Step{Traffic: scenario.ARPTraffic}, "", ""},
		{"everything", scenario.Step{Traffic: scenario.AllTraffic}, "", ""},
		{"unasked", scenario.Step{Traffic: scenario.UnaskedTraffic, Way: scenario.In}, "arp", "vrrp mesh other witness arp"},
	}
	inPrivateNetwork(t, func(n *network) {
		n1, n2 := n.hosts["n1"], n.hosts["n2"]
		for _, tt := range tests {
			if tt.step.Traffic != "" {
				if err := (&player{net: n}).drop(n1, tt.step); err != nil {
					t.Fatal(err)
				}
			}
			forget(t, n1, n2)
			if in := passing(t, n2, n1, tt.in); in != tt.in {
				t.Errorf("%s: to n1 come %q, want %q", tt.name, in, tt.in)
			}
			forget(t, n1, n2)
			if out := passing(t, n1, n2, tt.out); out != tt.out {
				t.Errorf("%s: from n1 come %q, want %q", tt.name, out, tt.out)
			}
			if err := n1.allow(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSwitchFaults(t *testing.T) {
	all := "vrrp mesh other witness arp"
	inPrivateNetwork(t, func(n *network) {
		n1, n2, w1 := n.hosts["n1"], n.hosts["n2"], n.hosts["w1"]
		check := func(what string, from, to *host, want string) {
			t.Helper()
			forget(t, from, to)
			if got := passing(t, from, to, want); got != want {
				t.Errorf("%s: from %s to %s come %q, want %q", what, from.Name, to.Name, got, want)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(n.setIsolated(true, "n1", "n2"))
		check("cut", n1, n2, "")
		check("cut", n2, n1, "")
		check("cut", n1, w1, all)
		check("cut", w1, n2, all)
		must(n.setIsolated(false, "n1", "n2"))
		check("joined", n1, n2, all)
		must(n1.setPort(false, ""))
		check("unplugged", n1, w1, "")
		must(n1.setPort(true, ""))
		// The kernel takes its time to notice a carrier.
		for deadline := time.Now().Add(patience); !answersARP(t, n1, w1, brief) && time.Now().Before(deadline); {
		}
		check("plugged", n1, w1, all)
		must(n1.setInterface(false, ""))
		check("down", w1, n1, "")
		must(n1.setInterface(true, ""))
		for deadline := time.Now().Add(patience); !answersARP(t, n1, w1, brief) && time.Now().Before(deadline); {
		}
		check("up", n1, w1, all)
	})
}

// Of a share of the traffic so much is lost as was said, and of the other way nothing.
func TestShareOfTraffic(t *testing.T) {
	inPrivateNetwork(t, func(n *network) {
		n1, n2 := n.hosts["n1"], n.hosts["n2"]
		if err := n1.drop(scenario.IPTraffic, scenario.In, netip.Addr{}, 30); err != nil {
			t.Fatal(err)
		}
		const sent, batches = 1000, 5 // in parts that a receive buffer holds
		// count waits for each datagram for as long as it may take.
		count := func(from, to *host, within time.Duration) (arrived int) {
			var receiver net.PacketConn
			inside(t, to, func() (err error) {
				receiver, err = net.ListenPacket("udp4", fmt.Sprintf("%v:9999", to.Addr))
				return err
			})
			defer receiver.Close()
			for batch := range batches {
				inside(t, from, func() error {
					sender, err := net.Dial("udp4", receiver.LocalAddr().String())
					if err != nil {
						return err
					}
					defer sender.Close()
					for range sent / batches {
						if _, err := sender.Write([]byte("hello")); err != nil {
							return err
						}
					}
					return nil
				})
				for arrived < (batch+1)*sent/batches {
					if err := receiver.SetReadDeadline(time.Now().Add(within)); err != nil {
						t.Fatal(err)
					}
					if _, _, err := receiver.ReadFrom(make([]byte, 64)); err != nil {
						break
					}
					arrived++
				}
			}
			return arrived
		}
		// Ten times the standard deviation, 14, on either side.
		if got := count(n2, n1, brief); got < 560 || got > 840 {
			t.Errorf("%d of %d came in, want about 700", got, sent)
		}
		forget(t, n1, n2)
		if got := count(n1, n2, patience); got != sent {
			t.Errorf("%d of %d went out, want all", got, sent)
		}
	})
}

// inPrivateNetwork calls f with the usual hosts wired up, on a thread in a fresh network
// namespace, which plays the switch.
func inPrivateNetwork(t *testing.T, f func(*network)) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		n, err := newNetwork(scenario.TwoNodes(), 24)
		if err != nil {
			return err
		}
		defer n.close()
		f(n)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// passing returns what comes from one host to another. For what is wanted it waits as long
// as a machine with much to do may take.
func passing(t *testing.T, from, to *host, want string) string {
	t.Helper()
	wanted := strings.Fields(want)
	names := ""
	for _, p := range probes() {
		within := brief
		if slices.Contains(wanted, p.name) {
			within = patience
		}
		if p.pass(t, from, to, within) {
			names += " " + p.name
		}
	}
	return names[min(1, len(names)):]
}

// How long a probe may take that is to arrive, and one that is not: on a machine of one's own
// it takes microseconds.
const patience, brief = 10 * time.Second, 150 * time.Millisecond

// datagram sends one datagram and reports whether it arrived.
func datagram(t *testing.T, proto string, port int, from, to *host, within time.Duration) bool {
	t.Helper()
	address := func(h *host, port int) string {
		if proto == "udp4" {
			return fmt.Sprintf("%v:%d", h.Addr, port)
		}
		return h.Addr.String()
	}
	var receiver net.PacketConn
	inside(t, to, func() (err error) {
		receiver, err = net.ListenPacket(proto, address(to, port))
		return err
	})
	defer receiver.Close()
	inside(t, from, func() error {
		sender, err := net.Dial(proto, address(to, port))
		if err != nil {
			return err
		}
		defer sender.Close()
		_, _ = sender.Write([]byte("hello")) // a firewall's refusal shows by what arrives
		return nil
	})
	if err := receiver.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, _, err := receiver.ReadFrom(make([]byte, 64))
	return err == nil
}

// connects opens a TCP connection to the witness's port.
func connects(t *testing.T, from, to *host, within time.Duration) bool {
	t.Helper()
	var listener net.Listener
	inside(t, to, func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprintf("%v:%d", to.Addr, witnessPort))
		return err
	})
	defer listener.Close()
	ok := false
	inside(t, from, func() error {
		conn, err := net.DialTimeout("tcp4", listener.Addr().String(), within)
		if err == nil {
			ok = true
			return conn.Close()
		}
		return nil
	})
	return ok
}

// answersARP asks for a host's own address as the oracle asks for the VIP.
func answersARP(t *testing.T, from, to *host, within time.Duration) bool {
	t.Helper()
	var voice *arpVoice
	inside(t, from, func() (err error) {
		voice, err = newARPVoice(iface, netip.MustParseAddr("10.77.0.51"), to.Addr)
		return err
	})
	defer voice.conn.Close()
	voice.nodeOf = func(mac net.HardwareAddr) string { return mac.String() }
	voice.announce = func(string) {}
	const number = 0x01020304
	voice.ask(number)
	seq, node, err := voice.listen(time.Now().Add(within))
	return err == nil && seq == number && node == to.cables[0].mac.String()
}

// forget empties the hosts' ARP caches, so that one probe does not help the next.
func forget(t *testing.T, hosts ...*host) {
	t.Helper()
	for _, h := range hosts {
		inside(t, h, func() error { return flushNeighbours() })
	}
}

func inside(t *testing.T, h *host, f func() error) {
	t.Helper()
	if err := h.inside(f); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
}

func flushNeighbours() error {
	link, err := netlink.LinkByName(iface)
	if err != nil {
		return err
	}
	neighbours, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, n := range neighbours {
		if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}
