package gate

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/solovip/solovip/internal/boottime"
)

// vmac is the virtual router's own hardware address (RFC 9568 section 7.3), of VRID 77.
func vmac() net.HardwareAddr { return net.HardwareAddr{0, 0, 0x5e, 0, 1, 77} }

// addMACVLAN gives the holder an interface with the virtual router's hardware address, as
// use_vmac does, and has its own interface answer for its own addresses alone.
func (l *link) addMACVLAN(name string) {
	l.t.Helper()
	parent, err := netlink.LinkByName("h0")
	check(l.t, err)
	check(l.t, netlink.LinkAdd(&netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: parent.Attrs().Index, HardwareAddr: vmac()},
		Mode:      netlink.MACVLAN_MODE_PRIVATE,
	}))
	made, err := netlink.LinkByName(name)
	check(l.t, err)
	check(l.t, netlink.LinkSetUp(made))
	check(l.t, os.WriteFile("/proc/sys/net/ipv4/conf/h0/arp_ignore", []byte("1"), 0))
	for _, conf := range []string{"all", name} { // answers come back by h0's route
		check(l.t, os.WriteFile("/proc/sys/net/ipv4/conf/"+conf+"/rp_filter", []byte("0"), 0))
	}
}

// Addresses on an interface of the virtual router's own fall silent like others, all two
// hundred of them at the same deadline.
func TestVIPsOfAVirtualMACFallSilent(t *testing.T) {
	l := newLink(t)
	g := open(t)
	l.addMACVLAN("vrrp.77")
	there, err := netlink.NewHandleAt(l.client)
	check(t, err)
	defer there.Close()
	var vips []netip.Addr
	for a := netip.MustParseAddr("10.9.0.20"); len(vips) < 200; a = a.Next() {
		vips = append(vips, a)
	}
	check(t, g.Guard(vips))
	check(t, g.Arm(boottime.Now().Add(5*time.Second), vips)) // until all are on
	for _, a := range vips {
		l.holdOn("vrrp.77", a)
		check(t, there.NeighSet(&netlink.Neigh{LinkIndex: l.index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: vmac()}))
	}
	l.listen()
	asked := []netip.Addr{vips[0], vips[99], vips[199]}
	l.ask(asked...)
	l.talk(vips[0])
	deadline := renewed(t, g, vips)
	until(deadline.Add(300 * time.Millisecond))
	for _, a := range asked {
		l.wantSilence("arp "+a.String(), deadline)
		l.wantSilence("ping "+a.String(), deadline)
	}
	l.wantSilence("udp "+vips[0].String(), deadline)
	// They have expired, which is as if somebody had removed them: the gate is made anew, whole.
	again := boottime.Now()
	check(t, g.Arm(again.Add(time.Minute), vips))
	for _, a := range asked {
		l.waitFor("arp "+a.String(), again)
	}
	nft(t, "flush", "ruleset")
	check(t, g.Restore())
	if on := strings.Count(nft(t, "list", "set", "inet", "solovip_test", "armed"), "expires"); on != len(vips) {
		t.Errorf("%d of %d addresses are armed after a flush of all rules", on, len(vips))
	}
}
