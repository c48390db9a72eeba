package vip

import (
	"net/netip"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/await"
)

// Addresses on an interface with the virtual router's own hardware address, as use_vmac makes
// one: hundreds go on, are announced by that address, and end by their lifetime.
func TestAddressesOfAVirtualMAC(t *testing.T) {
	const iface = "vrrp.77"
	virtual := MAC{0, 0, 0x5e, 0, 1, 77}
	near, far := newPair(t)
	far.enter(t)
	ear := newTap(t)
	near.enter(t)
	run(t, "ip", "link", "add", "link", "veth0", "name", iface, "address", "00:00:5e:00:01:4d", "type", "macvlan", "mode", "private")
	run(t, "ip", "link", "set", iface, "up")
	k := openKernel(t)
	watch(t, k).awaitLink(t, iface, true, true)
	const many = 300
	lifetime := 20 * time.Second // long enough to look at them all
	vips := make([]Address, 0, many)
	for a := netip.MustParseAddr("10.9.1.1"); len(vips) < many; a = a.Next() {
		vips = append(vips, Address{Prefix: netip.PrefixFrom(a, 32), Interface: iface})
	}
	for _, a := range vips {
		must(t, k.Add(a, lifetime))
	}
	if on, err := k.AddressesOn(iface); err != nil || len(on) != many {
		t.Errorf("%d addresses are on, %v; want %d", len(on), err, many)
	}
	for _, a := range []Address{vips[0], vips[many-1]} {
		must(t, k.Announce(iface, a.Prefix.Addr()))
		frame := ear.next(t, a.Prefix.Addr())
		if frame == nil {
			continue
		}
		if source := MAC(frame[6:12]); source != virtual {
			t.Errorf("%v is announced from %v, want %v", a.Prefix, source, virtual)
		}
		if p, err := parseARP(frame[14:]); err != nil || p.senderMAC != virtual {
			t.Errorf("%v is announced as %v, %v", a.Prefix, p.senderMAC, err)
		}
	}
	for _, a := range vips {
		must(t, k.Add(a, time.Second)) // the last renewal
	}
	await.That(t, "all are gone after the end of their lifetime", func() bool {
		on, err := k.AddressesOn(iface)
		must(t, err)
		return len(on) == 0
	})
}
