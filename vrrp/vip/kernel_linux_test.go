package vip

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// on returns the address prefix on veth0.
func on(prefix string) Address {
	return Address{Prefix: netip.MustParsePrefix(prefix), Interface: "veth0"}
}

// wantAddresses fails the test unless veth0 has exactly these addresses, in any order.
func wantAddresses(t *testing.T, k *Kernel, want ...string) {
	t.Helper()
	prefixes, err := k.AddressesOn("veth0")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, prefix := range prefixes {
		got = append(got, prefix.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("veth0 has %v, want %v\n%s", got, want, run(t, "ip", "address", "show", "dev", "veth0"))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAddAndDelete(t *testing.T) {
	newPair(t)
	k := openKernel(t)
	vip := on("10.9.0.100/24")
	for range 2 { // the second Add is a refresh
		must(t, k.Add(vip, 0))
		wantAddresses(t, k, "10.9.0.1/24", "10.9.0.100/24")
	}
	if has, err := k.Has(vip); !has || err != nil {
		t.Errorf("Has after Add: %t, %v", has, err)
	}
	for range 2 { // the second finds nothing to delete
		must(t, k.Delete(vip))
		wantAddresses(t, k, "10.9.0.1/24")
	}
	if has, err := k.Has(vip); has || err != nil {
		t.Errorf("Has after Delete: %t, %v", has, err)
	}
}

// What iproute2 shows of our address must be what it shows of keepalived's.
func TestAddLooksLikeKeepalived(t *testing.T) {
	newPair(t)
	k := openKernel(t)
	tests := []struct {
		name    string
		address Address
		want    string
	}{
		{"plain", on("10.9.0.100/24"), "inet 10.9.0.100/24 scope global secondary veth0"},
		{"brd, label and scope", Address{
			Prefix: netip.MustParsePrefix("10.9.0.101/32"), Interface: "veth0", Label: "veth0:1",
			Broadcast: netip.MustParseAddr("10.9.0.255"), Scope: "link",
		}, "inet 10.9.0.101/32 brd 10.9.0.255 scope link veth0:1"},
	}
	for _, test := range tests {
		must(t, k.Add(test.address, 0))
		if shown := run(t, "ip", "address", "show", "dev", "veth0"); !strings.Contains(shown, test.want) {
			t.Errorf("%s: no %q in\n%s", test.name, test.want, shown)
		}
	}
}

// A VIP that somebody put on by hand with another mask would be answered for too.
func TestDeleteTakesEveryPrefixLength(t *testing.T) {
	newPair(t)
	k := openKernel(t)
	must(t, k.Add(on("10.9.0.100/24"), 0))
	run(t, "ip", "address", "add", "10.9.0.100/32", "dev", "veth0")
	run(t, "ip", "address", "add", "10.9.0.100/16", "dev", "veth0")
	must(t, k.Delete(on("10.9.0.100/24")))
	wantAddresses(t, k, "10.9.0.1/24")
}

// Linux deletes all addresses of a subnet with its first one. A VIP is the first of its
// subnet when the host has no address there, or got it later.
func TestDeleteLeavesOtherAddresses(t *testing.T) {
	newPair(t)
	run(t, "sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=0", "net.ipv4.conf.veth0.promote_secondaries=0")
	k := openKernel(t)
	must(t, k.Add(on("10.8.0.100/24"), 0))
	run(t, "ip", "address", "add", "10.8.0.1/24", "dev", "veth0")
	if shown := run(t, "ip", "address", "show", "dev", "veth0"); !strings.Contains(shown, "10.8.0.1/24 scope global secondary") {
		t.Fatalf("the host's address should be second to the VIP here:\n%s", shown)
	}
	must(t, k.Delete(on("10.8.0.100/24")))
	wantAddresses(t, k, "10.9.0.1/24", "10.8.0.1/24")
}

// A worker that was killed left the VIP; its successor, which never added it, takes it off.
func TestDeleteLeavesOtherAddressesOfPredecessor(t *testing.T) {
	newPair(t)
	run(t, "sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=0", "net.ipv4.conf.veth0.promote_secondaries=0")
	run(t, "ip", "address", "add", "10.8.0.100/24", "dev", "veth0")
	run(t, "ip", "address", "add", "10.8.0.1/24", "dev", "veth0")
	k := openKernel(t)
	must(t, k.Delete(on("10.8.0.100/24")))
	wantAddresses(t, k, "10.9.0.1/24", "10.8.0.1/24")
}

// The reverse: a DHCP client or an administrator deletes the host's address, to which
// the VIP is second. The VIP stays.
func TestVIPSurvivesDeletionOfPrimary(t *testing.T) {
	newPair(t)
	run(t, "sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=0", "net.ipv4.conf.veth0.promote_secondaries=0")
	k := openKernel(t)
	must(t, k.Add(on("10.9.0.100/24"), 0))
	run(t, "ip", "address", "delete", "10.9.0.1/24", "dev", "veth0")
	wantAddresses(t, k, "10.9.0.100/24")
}

// The kernel alone takes a VIP off that nobody refreshes, and only that one, although it
// is the first of its subnet.
func TestLifetimeEnds(t *testing.T) {
	newPair(t)
	run(t, "sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=0", "net.ipv4.conf.veth0.promote_secondaries=0")
	k := openKernel(t)
	events := watch(t, k)
	started := time.Now()
	must(t, k.Add(on("10.8.0.100/24"), 900*time.Millisecond))
	run(t, "ip", "address", "add", "10.8.0.1/24", "dev", "veth0")
	events.await(t, AddressEvent{"veth0", netip.MustParsePrefix("10.8.0.100/24"), false})
	late := time.Since(started) - time.Second
	t.Logf("valid_lft 1 s ended %s late", late)
	if late < -20*time.Millisecond { // the kernel rounds lifetimes by a fiftieth of a second
		t.Errorf("the address went %s before its lifetime was over", -late)
	}
	wantAddresses(t, k, "10.9.0.1/24", "10.8.0.1/24")
}

func TestRefreshReplacesLifetime(t *testing.T) {
	newPair(t)
	k := openKernel(t)
	for _, step := range []struct {
		name     string
		lifetime time.Duration
		want     uint32 // seconds
	}{
		{"first", 100 * time.Second, 100},
		{"longer, rounded up", 2000500 * time.Millisecond, 2001},
		{"forever", 0, math.MaxUint32},
		{"shorter", 50 * time.Second, 50},
	} {
		must(t, k.Add(on("10.9.0.100/24"), step.lifetime))
		list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		must(t, err)
		at := slices.IndexFunc(list, func(a netlink.Addr) bool { return a.IP.String() == "10.9.0.100" })
		// Some seconds may pass between the two calls on a busy machine.
		if got := uint32(list[at].ValidLft); got > step.want || got < step.want-5 {
			t.Errorf("%s: valid for %d s, want %d s", step.name, got, step.want)
		}
		if got := list[at].PreferedLft; got != list[at].ValidLft {
			t.Errorf("%s: preferred for %d s, valid for %d s", step.name, got, list[at].ValidLft)
		}
	}
}

func TestMissingInterface(t *testing.T) {
	newNamespace(t)
	k := openKernel(t)
	absent := Address{Prefix: netip.MustParsePrefix("10.9.0.100/24"), Interface: "eth9"}
	if err := k.Add(absent, 0); !errors.Is(err, ErrInterface) || !strings.Contains(err.Error(), "eth9 does not exist") {
		t.Errorf("Add: %v", err)
	}
	if err := k.Announce("eth9", absent.Prefix.Addr()); !errors.Is(err, ErrInterface) {
		t.Errorf("Announce: %v", err)
	}
	if _, err := k.Probe(t.Context(), "eth9", absent.Prefix.Addr()); !errors.Is(err, ErrInterface) {
		t.Errorf("Probe: %v", err)
	}
	if _, err := k.AddressesOn("eth9"); !errors.Is(err, ErrInterface) {
		t.Errorf("AddressesOn: %v", err)
	}
	if _, err := PrimaryIPv4("eth9"); !errors.Is(err, ErrInterface) {
		t.Errorf("PrimaryIPv4: %v", err)
	}
	// A VIP cannot be on an interface that is gone.
	if err := k.Delete(absent); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if has, err := k.Has(absent); has || err != nil {
		t.Errorf("Has: %t, %v", has, err)
	}
}

func TestErrorsNameTheRemedy(t *testing.T) {
	newPair(t)
	k := openKernel(t)
	dropCapabilities(t)
	if err := k.Add(on("10.9.0.100/24"), 0); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("Add without capabilities: %v", err)
	}
	if err := k.Delete(on("10.9.0.1/24")); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("Delete without capabilities: %v", err)
	}
	if _, err := Open(); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("Open without capabilities: %v", err)
	}
}

// dropCapabilities takes all capabilities from the test's thread, which newNamespace
// locked and which ends with the test.
func dropCapabilities(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	must(t, unix.Capset(&header, &none[0]))
}

func TestPrimaryIPv4(t *testing.T) {
	tests := []struct {
		name      string
		addresses [][]string // arguments of ip address add
		except    []netip.Addr
		want      string // empty: ErrInterface
	}{
		{"none", nil, nil, ""},
		{"the first of two subnets", [][]string{{"10.1.0.5/24"}, {"10.2.0.5/24"}}, nil, "10.1.0.5"},
		{"not a secondary", [][]string{{"10.1.0.5/24"}, {"10.1.0.4/24"}}, nil, "10.1.0.5"},
		{"global before link scope", [][]string{{"10.1.0.5/24", "scope", "link"}, {"10.2.0.5/24"}}, nil, "10.2.0.5"},
		{"link scope when it is all there is", [][]string{{"169.254.0.5/16", "scope", "link"}}, nil, "169.254.0.5"},
		{
			"not the VIP that a predecessor left",
			[][]string{{"10.1.0.100/24"}, {"10.2.0.5/24"}},
			[]netip.Addr{netip.MustParseAddr("10.1.0.100")},
			"10.2.0.5",
		},
		{"only that VIP", [][]string{{"10.1.0.100/24"}}, []netip.Addr{netip.MustParseAddr("10.1.0.100")}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			newNamespace(t)
			run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
			for _, arguments := range test.addresses {
				run(t, "ip", append([]string{"address", "add", "dev", "veth0"}, arguments...)...)
			}
			got, err := PrimaryIPv4("veth0", test.except...)
			if test.want == "" {
				if !errors.Is(err, ErrInterface) || !strings.Contains(err.Error(), "ip address add") {
					t.Errorf("got %s, %v", got, err)
				}
				return
			}
			if err != nil || got.String() != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestLocalAddresses(t *testing.T) {
	newPair(t)
	run(t, "ip", "address", "add", "2001:db8::1/64", "dev", "veth0", "nodad")
	got, err := LocalAddresses()
	must(t, err)
	for _, want := range []string{"127.0.0.1", "10.9.0.1", "2001:db8::1"} {
		if !slices.Contains(got, netip.MustParseAddr(want)) {
			t.Errorf("no %s in %v", want, got)
		}
	}
}

// On a host with many addresses that come and go most dumps are cut through by a change.
func TestWholeRepeatsInterruptedDumps(t *testing.T) {
	other := errors.New("other")
	tests := []struct {
		name    string
		results []error
		want    error
	}{
		{"whole at once", []error{nil}, nil},
		{"whole at last", []error{netlink.ErrDumpInterrupted, netlink.ErrDumpInterrupted, nil}, nil},
		{"another error ends it", []error{netlink.ErrDumpInterrupted, other}, other},
		{"never whole is unknown", slices.Repeat([]error{netlink.ErrDumpInterrupted}, maxDumps), netlink.ErrDumpInterrupted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			err := whole(func() error {
				calls++
				return test.results[calls-1]
			})
			if !errors.Is(err, test.want) || calls != len(test.results) {
				t.Errorf("%v after %d calls", err, calls)
			}
		})
	}
}

// What a renewal costs per VIP on an interface that has 500.
func BenchmarkRefresh(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Fatal(err)
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "veth1"}); err != nil {
		b.Fatal(err)
	}
	k, err := Open()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	address := on("10.0.0.1/8")
	for range 500 {
		if err := k.Add(address, time.Hour); err != nil {
			b.Fatal(err)
		}
		address.Prefix = netip.PrefixFrom(address.Prefix.Addr().Next(), 8)
	}
	for b.Loop() {
		if err := k.Add(on("10.0.0.1/8"), time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}
