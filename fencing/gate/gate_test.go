package gate

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/boottime"
)

func open(tb testing.TB) *Gate {
	tb.Helper()
	g, err := Open("solovip_test", slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// until waits for an instant of the boot clock.
func until(at time.Time) { <-time.After(at.Sub(boottime.Now())) }

const (
	lateAtMost  = 20 * time.Millisecond  // a tick that comes late on a busy machine
	earlyAtMost = 280 * time.Millisecond // the last slack; in good time it is 18 ms
)

// wantSilence asserts that what was heard ended at the deadline. The caller has waited
// long enough after it.
func (l *link) wantSilence(kind string, deadline time.Time) {
	l.t.Helper()
	heard := l.answers(kind)
	if len(heard) == 0 {
		l.t.Errorf("%s: never heard", kind)
		return
	}
	last := heard[len(heard)-1].Sub(deadline)
	l.t.Logf("%s: %d heard, the last %v after the deadline", kind, len(heard), last)
	if last > lateAtMost {
		l.t.Errorf("%s: heard %v after the deadline", kind, last)
	}
	if last < -earlyAtMost {
		l.t.Errorf("%s: silent %v before the deadline", kind, -last)
	}
}

// renewed renews as a daemon does that is frozen after the third time. It returns the last deadline.
func renewed(t *testing.T, g *Gate, vips []netip.Addr) (deadline time.Time) {
	t.Helper()
	for range 3 {
		until(boottime.Now().Add(150 * time.Millisecond))
		deadline = boottime.Now().Add(500 * time.Millisecond)
		check(t, g.Arm(deadline, vips))
	}
	return deadline
}

// A daemon that renews and is then frozen: its VIPs fall silent at the last
// deadline, in every way they can speak, and not before.
func TestVIPsFallSilentAtTheDeadline(t *testing.T) {
	l := newLink(t)
	g := open(t)
	vips := []netip.Addr{vip, vip6, vipLL}
	check(t, g.Guard(vips))
	check(t, g.Arm(boottime.Now().Add(500*time.Millisecond), vips))
	for _, a := range vips {
		l.hold(a)
	}
	l.hold(vip2) // not guarded: the control
	l.listen()
	l.ask(vip, vip6, vipLL, vip2)
	l.talk(vip)
	deadline := renewed(t, g, vips)
	until(deadline.Add(500 * time.Millisecond))
	for _, kind := range []string{"arp 10.9.0.100", "ping 10.9.0.100", "udp 10.9.0.100", "nd fd09::100", "ping fd09::100", "nd fe80::100", "ping fe80::100"} {
		l.wantSilence(kind, deadline)
	}
	l.waitFor("arp 10.9.0.101", deadline.Add(400*time.Millisecond))
	l.waitFor("ping 10.9.0.101", deadline.Add(400*time.Millisecond))
}

// VIPs of one claim on several interfaces: Linux answers for them on all, so all fall
// silent on all.
func TestVIPsOfSeveralInterfaces(t *testing.T) {
	l := newLink(t)
	g := open(t)
	check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	vips := []netip.Addr{vip, vip2}
	check(t, g.Guard(vips))
	deadline := boottime.Now().Add(400 * time.Millisecond)
	check(t, g.Arm(deadline, vips))
	l.holdOn("lo", vip)
	l.holdOn("br0", vip2)
	l.listen()
	l.ask(vip, vip2)
	until(deadline.Add(200 * time.Millisecond))
	for _, kind := range []string{"arp 10.9.0.100", "ping 10.9.0.100", "arp 10.9.0.101", "ping 10.9.0.101"} {
		l.wantSilence(kind, deadline)
	}
}

// A link-local VIP is silenced on its own interface only: another claim may have the same
// address elsewhere.
func TestLinkLocalVIPsOfSeveralInterfaces(t *testing.T) {
	l := newLink(t)
	g := open(t)
	elsewhere := vipLL.WithZone("vlan7")
	both := []netip.Addr{vipLL, elsewhere}
	check(t, g.Guard(both))
	check(t, g.Arm(boottime.Now().Add(time.Minute), []netip.Addr{elsewhere}))
	l.hold(vipLL)
	l.hold(vip2)
	l.listen()
	l.ask(vipLL, vip2)
	l.waitFor("ping 10.9.0.101", boottime.Now().Add(50*time.Millisecond))
	for _, kind := range []string{"nd fe80::100", "ping fe80::100"} {
		if n := len(l.answers(kind)); n > 0 {
			t.Errorf("%s: heard %d times, armed was the one of another interface", kind, n)
		}
	}
	check(t, g.Arm(boottime.Now().Add(time.Minute), both))
	l.waitFor("nd fe80::100", time.Time{})
	l.waitFor("ping fe80::100", time.Time{})
	check(t, g.Check())
}

// A deadline can be brought forward as well as moved back.
func TestAnEarlierDeadlineReplacesALaterOne(t *testing.T) {
	l := newLink(t)
	g := open(t)
	vips := []netip.Addr{vip}
	check(t, g.Guard(vips))
	check(t, g.Arm(boottime.Now().Add(time.Minute), vips))
	l.hold(vip)
	l.listen()
	l.ask(vip)
	deadline := boottime.Now().Add(400 * time.Millisecond)
	check(t, g.Arm(deadline, vips))
	until(deadline.Add(300 * time.Millisecond))
	l.wantSilence("arp 10.9.0.100", deadline)
	l.wantSilence("ping 10.9.0.100", deadline)
}

// Shut silences by the time it returns, and only what it is told to. A later Arm opens
// again, also when the element has run out by itself before.
func TestShutAndArmAgain(t *testing.T) {
	l := newLink(t)
	g := open(t)
	both := []netip.Addr{vip, vip2}
	check(t, g.Guard(both))
	check(t, g.Arm(boottime.Now().Add(time.Minute), both))
	l.hold(vip)
	l.hold(vip2)
	l.listen()
	l.ask(vip, vip2)
	l.waitFor("ping 10.9.0.100", time.Time{})

	check(t, g.Shut([]netip.Addr{vip}))
	shut := boottime.Now()
	l.waitFor("ping 10.9.0.101", shut.Add(100*time.Millisecond))
	for _, kind := range []string{"arp 10.9.0.100", "ping 10.9.0.100"} {
		if a := l.answers(kind); a[len(a)-1].After(shut.Add(time.Millisecond)) {
			t.Errorf("%s: heard %v after Shut", kind, a[len(a)-1].Sub(shut))
		}
	}
	check(t, g.Shut([]netip.Addr{vip})) // once more is no mistake

	soon := boottime.Now().Add(100 * time.Millisecond)
	check(t, g.Arm(soon, []netip.Addr{vip}))
	l.waitFor("ping 10.9.0.100", shut.Add(2*time.Millisecond))
	until(soon.Add(50 * time.Millisecond))
	check(t, g.Arm(boottime.Now().Add(time.Minute), []netip.Addr{vip}))
	l.waitFor("ping 10.9.0.100", soon.Add(lateAtMost))
	l.waitFor("ping 10.9.0.101", soon.Add(lateAtMost))

	check(t, g.Unguard(both))
	l.waitFor("ping 10.9.0.100", boottime.Now())
	check(t, g.Close())
	if left := nft(t, "list", "tables"); left != "" {
		t.Errorf("left after Close: %s", left)
	}
}

// A guarded host that does not hold the VIP reaches it where it is.
func TestAStandbyReachesTheHolder(t *testing.T) {
	l := newLink(t)
	g := open(t)
	check(t, g.Guard([]netip.Addr{clientAddr})) // the other side plays the holder
	l.listen()
	nft(t, "add", "table", "inet", "seen")
	nft(t, "add", "chain", "inet", "seen", "in", "{ type filter hook input priority 0; }")
	nft(t, "add", "rule", "inet", "seen", "in", "ip", "saddr", clientAddr.String(), "counter")
	l.talkTo(clientAddr)
	await.That(t, "the holder's answers arrive", func() bool {
		return !strings.Contains(nft(t, "list", "chain", "inet", "seen", "in"), "packets 0 ")
	})
}

// Nobody finds a hushed address that is put on by hand, by ARP or neighbour discovery; what is
// sent to it all the same is answered, as a server behind IPVS has to. Another gate that opens
// keeps it so, and so does a repair; it speaks while it is armed, and when it is hushed no more.
func TestHushedAddressesAreNotFound(t *testing.T) {
	l := newLink(t)
	g := open(t)
	vips := []netip.Addr{vip, vip6, vipLL}
	check(t, g.Hush(vips))
	for _, a := range vips {
		l.hold(a)
	}
	l.listen()
	l.ask(vip, vip6, vipLL, holderAddr)
	questions := []string{"arp 10.9.0.100", "nd fd09::100", "nd fe80::100"}
	silent := func(when string) {
		t.Helper()
		since := boottime.Now()
		l.waitFor("ping 10.9.0.1", since.Add(50*time.Millisecond))
		for _, kind := range questions {
			if heard := l.answers(kind); len(heard) > 0 && heard[len(heard)-1].After(since) {
				t.Errorf("%s: %s: heard", when, kind)
			}
		}
	}
	silent("from the start")
	for _, kind := range []string{"ping 10.9.0.100", "ping fd09::100", "ping fe80::100"} {
		l.waitFor(kind, time.Time{})
	}
	g = open(t)
	silent("opened again")
	nft(t, "flush", "ruleset")
	check(t, g.Restore())
	silent("put back")
	check(t, g.Check())

	check(t, g.Guard(vips))
	deadline := boottime.Now().Add(400 * time.Millisecond)
	check(t, g.Arm(deadline, vips))
	until(deadline.Add(100 * time.Millisecond))
	for _, kind := range questions {
		l.wantSilence(kind, deadline)
	}
	check(t, g.Unguard(vips))
	silent("held no more")
	check(t, g.Hush([]netip.Addr{vip2}))
	for _, kind := range questions {
		l.waitFor(kind, boottime.Now())
	}
	check(t, g.Check())
	check(t, g.Close())
}

// What removes the tables under us is noticed and put right, by Restore or by the next
// renewal; the deadline is still kept.
func TestRulesThatOthersRemovedComeBack(t *testing.T) {
	repair := map[string]func(g *Gate, deadline time.Time) error{
		"restore": func(g *Gate, _ time.Time) error { return g.Restore() },
		"arm":     func(g *Gate, deadline time.Time) error { return g.Arm(deadline, []netip.Addr{vip}) },
	}
	for name, repair := range repair {
		t.Run(name, func(t *testing.T) {
			l := newLink(t)
			g := open(t)
			check(t, g.Guard([]netip.Addr{vip, vip2}))
			deadline := boottime.Now().Add(700 * time.Millisecond)
			check(t, g.Arm(deadline, []netip.Addr{vip}))
			check(t, g.Check())
			l.hold(vip)
			l.hold(vip2)
			l.listen()
			nft(t, "flush", "ruleset")
			if err := g.Check(); !errors.Is(err, ErrGone) {
				t.Fatalf("Check after a flush: %v", err)
			}
			check(t, repair(g, deadline))
			check(t, g.Check())
			l.ask(vip, vip2)
			until(deadline.Add(200 * time.Millisecond))
			l.wantSilence("ping 10.9.0.100", deadline)
			l.wantSilence("arp 10.9.0.100", deadline)
			if n := len(l.answers("ping 10.9.0.101")); n > 0 {
				t.Errorf("the VIP that was shut answered %d times", n)
			}
		})
	}
}

// While the machine is suspended the kernel's timeouts stand still, here played by longer
// ones. Restore has the gate follow the boot clock: what has run out is shut, and the rest
// shuts in time.
func TestRestoreFollowsTheBootClock(t *testing.T) {
	l := newLink(t)
	g := open(t)
	vips := []netip.Addr{vip, vip2}
	check(t, g.Guard(vips))
	soon := boottime.Now().Add(300 * time.Millisecond)
	later := soon.Add(700 * time.Millisecond)
	check(t, g.Arm(soon, []netip.Addr{vip}))
	check(t, g.Arm(later, []netip.Addr{vip2}))
	for _, table := range []string{"inet", "arp"} {
		for _, a := range vips {
			nft(t, "delete", "element", table, "solovip_test", "armed", "{ "+a.String()+" }")
			nft(t, "add", "element", table, "solovip_test", "armed", "{ "+a.String()+" timeout 1h }")
		}
	}
	l.hold(vip)
	l.hold(vip2)
	l.listen()
	l.ask(vip, vip2)
	l.waitFor("ping 10.9.0.100", soon.Add(lateAtMost)) // open for too long
	check(t, g.Restore())
	restored := boottime.Now()
	until(later.Add(200 * time.Millisecond))
	for _, kind := range []string{"arp 10.9.0.100", "ping 10.9.0.100"} {
		if heard := l.answers(kind); heard[len(heard)-1].After(restored.Add(lateAtMost)) {
			t.Errorf("%s: heard %v after Restore", kind, heard[len(heard)-1].Sub(restored))
		}
	}
	l.wantSilence("ping 10.9.0.101", later)
	l.wantSilence("arp 10.9.0.101", later)
}

func TestCheckFindsDamage(t *testing.T) {
	damage := map[string][]string{
		"no table":     {"delete", "table", "arp", "solovip_test"},
		"no rules":     {"flush", "table", "inet", "solovip_test"},
		"no VIPs":      {"flush", "set", "inet", "solovip_test", "vips"},
		"none hushed":  {"flush", "set", "arp", "solovip_test", "hushed"},
		"switched off": {"add", "table", "arp", "solovip_test", "{ flags dormant; }"},
	}
	for name, cmd := range damage {
		t.Run(name, func(t *testing.T) {
			newLink(t)
			g := open(t)
			check(t, g.Guard([]netip.Addr{vip}))
			check(t, g.Hush([]netip.Addr{vip2}))
			check(t, g.Check())
			nft(t, cmd...)
			if err := g.Check(); !errors.Is(err, ErrGone) {
				t.Fatalf("Check: %v", err)
			}
			check(t, g.Restore())
			check(t, g.Check())
		})
	}
}

// A daemon that died left VIPs on the interface. Its successor opens the gate anew:
// they are silent from before that on, without a gap.
func TestASuccessorKeepsVIPsShut(t *testing.T) {
	l := newLink(t)
	g := open(t)
	vips := []netip.Addr{vip, vip6}
	check(t, g.Guard(vips))
	l.hold(vip)
	l.hold(vip6)
	l.listen()
	l.ask(vip, vip6)
	l.ask(holderAddr)
	for range 5 {
		g = open(t)
		l.waitFor("ping 10.9.0.1", boottime.Now().Add(20*time.Millisecond))
	}
	for _, kind := range []string{"arp 10.9.0.100", "ping 10.9.0.100", "nd fd09::100", "ping fd09::100"} {
		if n := len(l.answers(kind)); n > 0 {
			t.Errorf("%s: heard %d times", kind, n)
		}
	}
	check(t, g.Check())
	if err := g.Close(); err == nil || !strings.Contains(err.Error(), "10.9.0.100 fd09::100") {
		t.Errorf("Close with guarded VIPs: %v", err)
	}
	check(t, g.Arm(boottime.Now().Add(time.Minute), vips))
	l.waitFor("ping fd09::100", time.Time{})
}

func TestArmRefuses(t *testing.T) {
	newLink(t)
	g := open(t)
	check(t, g.Guard([]netip.Addr{vip}))
	check(t, g.Arm(boottime.Now().Add(time.Minute), []netip.Addr{vip}))
	rows := []struct {
		name  string
		until time.Time
		addr  netip.Addr
		late  bool
	}{
		{"a deadline that has passed", boottime.Now().Add(-time.Millisecond), vip, true},
		{"a deadline that is too near", boottime.Now().Add(8 * time.Millisecond), vip, true},
		{"no deadline", time.Time{}, vip, true},
		{"wall time", time.Now().Add(time.Minute), vip, false},
		{"a VIP that is not guarded", boottime.Now().Add(time.Minute), vip2, false},
		{"no address", boottime.Now().Add(time.Minute), netip.Addr{}, false},
		{"an address with a zone that needs none", boottime.Now().Add(time.Minute), netip.MustParseAddr("fd09::100%h0"), false},
		{"a link-local address without its interface", boottime.Now().Add(time.Minute), netip.MustParseAddr("fe80::1"), false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := g.Arm(row.until, []netip.Addr{row.addr}); err == nil || errors.Is(err, ErrLate) != row.late {
				t.Errorf("Arm: %v", err)
			}
		})
	}
	for _, name := range []string{"", "Solo", "a b", "x;y", strings.Repeat("a", 65)} {
		if _, err := Open(name, nil); err == nil {
			t.Errorf("Open(%q) is accepted", name)
		}
	}
}

// More VIPs than one message holds, each named twice, take one transaction.
func TestThousandsOfVIPs(t *testing.T) {
	newLink(t)
	g := open(t)
	many := vipsFrom(2500)
	for i := range byte(200) { // the same one on several interfaces
		many = append(many, netip.AddrFrom16([16]byte{0xfe, 0x80, 15: 1}).WithZone(fmt.Sprintf("eth%d", i)))
	}
	many = append(many, many...)
	check(t, g.Guard(many))
	check(t, g.Arm(boottime.Now().Add(time.Minute), many))
	check(t, g.Arm(boottime.Now().Add(time.Minute), many))
	check(t, g.Check())
	check(t, g.Shut(many))
	check(t, g.Unguard(many))
	check(t, g.Close())
}

func vipsFrom(n int) []netip.Addr {
	var all []netip.Addr
	for a := netip.MustParseAddr("10.64.0.1"); len(all) < n; a = a.Next() {
		all = append(all, a)
	}
	return all
}

func BenchmarkArm(b *testing.B) {
	for name, n := range map[string]int{"1": 1, "100": 100, "500": 500} {
		b.Run(name, func(b *testing.B) {
			newLink(b)
			g := open(b)
			vips := vipsFrom(n)
			check(b, g.Guard(vips))
			for b.Loop() {
				check(b, g.Arm(boottime.Now().Add(time.Minute), vips))
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	newLink(b)
	g := open(b)
	check(b, g.Guard(vipsFrom(100)))
	for b.Loop() {
		check(b, g.Check())
	}
}
