package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"github.com/solovip/solovip/internal/await"
)

// observe starts Observe of veth0 in the test's namespace and ends it with the test.
func observe(t *testing.T, k *Kernel, addrs ...netip.Addr) <-chan sighting {
	t.Helper()
	seen := make(chan sighting, 100)
	here := currentNamespace(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		here.enter(t)
		ended <- k.Observe(ctx, "veth0", addrs, func(addr netip.Addr, station MAC) { seen <- sighting{addr, station} })
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Observe: %v", err)
			}
		case <-time.After(await.Patience):
			t.Error("Observe does not end with its context")
		}
	})
	return seen
}

// speak broadcasts an ARP packet from the goroutine's namespace, with what stands
// between the Ethernet addresses and it.
func speak(t *testing.T, wire tap, p arp, between ...byte) {
	t.Helper()
	if len(between) == 0 {
		between = []byte{0x08, 0x06}
	}
	frame := slices.Concat(broadcastMAC[:], p.senderMAC[:], between, p.marshal())
	if _, err := wire.conn.WriteTo(frame, &packet.Addr{HardwareAddr: broadcastMAC[:]}); err != nil {
		t.Fatal(err)
	}
}

// A second station that speaks for one of the addresses is reported, once a second; what
// this host says itself, on whichever interface, and what others say of other addresses,
// or on another VLAN, is not.
func TestObserve(t *testing.T) {
	near, far := newPair(t)
	far.enter(t)
	wire := newTap(t)
	stranger := macOfVeth(t)
	near.enter(t)
	k := openKernel(t)
	awaitCarrier(t, k)
	run(t, "ip", "link", "add", "other0", "address", "02:00:00:00:00:07", "type", "veth", "peer", "name", "other1")
	vip101 := netip.MustParseAddr("10.9.0.101")
	seen := observe(t, k, vip100, vip101)

	// Until the socket is there nothing is seen.
	first := sighting{vip101, MAC{2, 0, 0, 0, 0, 1}}
	for begun := false; !begun; {
		speak(t, wire, gratuitousARP(first.station, first.addr))
		select {
		case got := <-seen:
			if got != first {
				t.Fatalf("saw %v, want %v", got, first)
			}
			begun = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	for range 5 {
		speak(t, wire, gratuitousARP(first.station, first.addr)) // within the second
	}
	must(t, k.Announce("veth0", vip100)) // our own
	speak(t, wire, gratuitousARP(MAC{2, 0, 0, 0, 0, 7}, vip100))
	speak(t, wire, gratuitousARP(stranger, netip.MustParseAddr("10.9.0.2")))
	speak(t, wire, probeARP(stranger, vip100)) // a question claims nothing
	speak(t, wire, gratuitousARP(MAC{2, 0, 0, 0, 0, 9}, vip100), 0x81, 0x00, 0, 42, 0x08, 0x06)
	reply := arp{op: arpReply, senderMAC: stranger, senderIP: vip100, targetMAC: macOfVeth(t), targetIP: netip.MustParseAddr("10.9.0.1")}
	speak(t, wire, reply)
	select {
	case got := <-seen:
		if want := (sighting{vip100, stranger}); got != want {
			t.Errorf("saw %v, want %v", got, want)
		}
	case <-time.After(await.Patience):
		t.Error("a reply in the name of the address was not reported")
	}
	far.enter(t)
	// arping asks in the name of the address, as a host that has it does.
	run(t, "arping", "-c", "1", "-i", "veth0", "-S", "10.9.0.101", "10.9.0.1")
	select {
	case got := <-seen:
		if want := (sighting{vip101, stranger}); got != want {
			t.Errorf("saw %v of arping, want %v", got, want)
		}
	case <-time.After(await.Patience):
		t.Error("arping was not reported")
	}
}

// Observe ends when the interface goes, so that its caller can begin again.
func TestObserveInterface(t *testing.T) {
	near, _ := newPair(t)
	near.enter(t)
	k := openKernel(t)
	awaitCarrier(t, k)
	nobody := func(netip.Addr, MAC) { t.Error("somebody was seen") }
	if err := k.Observe(t.Context(), "eth9", []netip.Addr{vip100}, nobody); !errors.Is(err, ErrInterface) {
		t.Errorf("on an interface that does not exist: %v", err)
	}
	if err := k.Observe(t.Context(), "veth0", []netip.Addr{netip.MustParseAddr("fe80::1")}, nobody); err == nil {
		t.Error("an IPv6 address was accepted")
	}
	ended := make(chan error)
	go func() {
		near.enter(t)
		ended <- k.Observe(t.Context(), "veth0", []netip.Addr{vip100}, nobody)
	}()
	down := time.NewTicker(50 * time.Millisecond) // also before Observe has begun: then it says so
	defer down.Stop()
	limit := time.After(await.Patience)
	for {
		run(t, "ip", "link", "set", "veth0", "down")
		select {
		case err := <-ended:
			if !errors.Is(err, ErrInterface) {
				t.Errorf("the interface went down: %v", err)
			}
			return
		case <-down.C:
		case <-limit:
			t.Fatal("Observe does not notice that the interface is down")
		}
	}
}

// However many stations speak, only so many are remembered, and a quarrel that goes on
// is reported again.
func TestSightings(t *testing.T) {
	seen, now := sightings{}, time.Unix(1000, 0)
	station := func(i int) sighting {
		s := sighting{addr: vip100, station: MAC{2}}
		binary.BigEndian.PutUint32(s.station[2:], uint32(i))
		return s
	}
	reported := 0
	for i := range 10 * maxSightings {
		if seen.fresh(now, station(i)) {
			reported++
		}
	}
	if reported != maxSightings || len(seen) != maxSightings {
		t.Errorf("%d reported and %d remembered, want %d", reported, len(seen), maxSightings)
	}
	if seen.fresh(now.Add(sightingEvery-1), station(0)) {
		t.Error("reported twice in a second")
	}
	if !seen.fresh(now.Add(sightingEvery), station(0)) || !seen.fresh(now.Add(sightingEvery), station(10*maxSightings)) {
		t.Error("not reported a second later")
	}
}
