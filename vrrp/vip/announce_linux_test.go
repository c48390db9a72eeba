package vip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// vip100 is the address most tests here are about.
var vip100 = netip.MustParseAddr("10.9.0.100")

// tap is an eavesdropper on veth0 for ARP frames, Ethernet header included.
type tap struct{ conn *packet.Conn }

func newTap(t *testing.T) tap {
	t.Helper()
	iface, err := net.InterfaceByName("veth0")
	must(t, err)
	conn, err := packet.Listen(iface, packet.Raw, unix.ETH_P_ARP, nil)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return tap{conn}
}

// next returns the next frame sent in the name of addr; nil, and a failed test, when none
// comes. It may be called from any goroutine.
func (c tap) next(t *testing.T, addr netip.Addr) []byte {
	t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Error(err)
	}
	buffer := make([]byte, 2000)
	for {
		n, _, err := c.conn.ReadFrom(buffer)
		if err != nil {
			t.Errorf("no frame that announces %s: %v", addr, err)
			return nil
		}
		p, err := parseARP(buffer[14:n])
		if err == nil && p.senderIP == addr {
			return bytes.Clone(buffer[:n])
		}
	}
}

// macOfVeth returns the address of the namespace's veth0.
func macOfVeth(t *testing.T) MAC {
	t.Helper()
	iface, err := net.InterfaceByName("veth0")
	must(t, err)
	return MAC(iface.HardwareAddr)
}

// awaitCarrier waits until veth0 lets packets through.
func awaitCarrier(t *testing.T, k *Kernel) {
	t.Helper()
	watch(t, k).awaitLink(t, "veth0", true, true)
}

// The same announcement, bit for bit, as a real keepalived's on the same interface.
func TestAnnounceIsKeepalivedsFrame(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	ear := newTap(t)
	near.enter(t)
	k := openKernel(t)
	awaitCarrier(t, k)

	must(t, k.Announce("veth0", vip100))
	ours := ear.next(t, vip100)
	mac := macOfVeth(t)
	want := slices.Concat(broadcastMAC[:], mac[:], []byte{0x08, 0x06}, gratuitousARP(mac, vip100).marshal())
	if !bytes.Equal(ours, want) {
		t.Errorf("frame\ngot  % x\nwant % x", ours, want)
	}

	startKeepalived(t, `
vrrp_instance VI_1 {
    interface veth0
    virtual_router_id 51
    priority 255
    advert_int 1
    virtual_ipaddress {
        10.9.0.100/24
    }
}
`)
	if theirs := ear.next(t, vip100); !bytes.Equal(ours, theirs) {
		t.Errorf("frame\nours        % x\nkeepalived's % x", ours, theirs)
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

// An interface that went down and came up again is announced on without reopening anything.
func TestAnnounceAfterLinkFlap(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	ear := newTap(t)
	near.enter(t)
	k := openKernel(t)
	awaitCarrier(t, k)
	must(t, k.Announce("veth0", vip100))
	run(t, "ip", "link", "set", "veth0", "down")
	if err := k.Announce("veth0", vip100); !errors.Is(err, ErrInterface) {
		t.Errorf("announced on an interface that is down: %v", err)
	}
	if _, err := k.Probe(t.Context(), "veth0", vip100); !errors.Is(err, ErrInterface) {
		t.Errorf("probed on an interface that is down: %v", err)
	}
	run(t, "ip", "link", "set", "veth0", "up")
	awaitCarrier(t, k)
	ear.next(t, vip100)
	must(t, k.Announce("veth0", vip100))
	ear.next(t, vip100)
}

func TestInterfaceWithoutARP(t *testing.T) {
	newNamespace(t)
	k := openKernel(t)
	if err := k.Announce("lo", vip100); err != nil {
		t.Errorf("Announce: %v", err)
	}
	if owners, err := k.Probe(t.Context(), "lo", vip100); err != nil || owners != nil {
		t.Errorf("Probe: %v, %v", owners, err)
	}
}

// Who answers for an address is found out, and a question changes nobody's ARP cache.
func TestProbe(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	owner := macOfVeth(t)
	near.enter(t)
	k := openKernel(t)
	awaitCarrier(t, k)
	must(t, k.Add(on("10.9.0.3/24"), 0)) // our own address is no other's

	tests := []struct {
		addr string
		want []MAC
	}{
		{"10.9.0.2", []MAC{owner}},
		{"10.9.0.100", nil},
		{"10.9.0.3", nil},
	}
	for _, test := range tests {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		got, err := k.Probe(ctx, "veth0", netip.MustParseAddr(test.addr))
		cancel()
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, %v; want %v", test.addr, got, err, test.want)
		}
	}
	far.enter(t)
	if neighbours := run(t, "ip", "neighbour"); strings.Contains(neighbours, "10.9.") {
		t.Errorf("the probes left entries:\n%s", neighbours)
	}
}

// Two stations that have the address are both named, whether they answer with a reply
// or speak up with an announcement; malformed and other packets in between are passed over.
func TestProbeNamesAllOwners(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	wire := newTap(t)
	near.enter(t)
	k := openKernel(t)
	awaitCarrier(t, k)
	first, second := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	answers := [][]byte{
		{1, 2, 3},
		gratuitousARP(MAC{2, 0, 0, 0, 0, 9}, netip.MustParseAddr("10.9.0.9")).marshal(),
		gratuitousARP(second, vip100).marshal(),
		arp{op: arpReply, senderMAC: first, senderIP: vip100, targetMAC: macOfVeth(t), targetIP: netip.IPv4Unspecified()}.marshal(),
	}
	go func() {
		// The probe of RFC 5227 comes from 0.0.0.0.
		wire.next(t, netip.IPv4Unspecified())
		for _, answer := range answers {
			frame := slices.Concat(broadcastMAC[:], second[:], []byte{0x08, 0x06}, answer)
			if _, err := wire.conn.WriteTo(frame, &packet.Addr{HardwareAddr: broadcastMAC[:]}); err != nil {
				t.Errorf("answer: %v", err)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	got, err := k.Probe(ctx, "veth0", vip100)
	if want := []MAC{first, second}; err != nil || !slices.Equal(got, want) {
		t.Errorf("owners %v, %v; want %v", got, err, want)
	}
}
