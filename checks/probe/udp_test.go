package probe

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/port"
)

func TestUDP(t *testing.T) {
	say := func(packets ...string) func([]byte) [][]byte {
		return func([]byte) [][]byte {
			var all [][]byte
			for _, p := range packets {
				all = append(all, []byte(p))
			}
			return all
		}
	}
	ones := bytes.Repeat([]byte{0xff}, 4)
	for _, row := range []struct {
		name   string
		check  config.UDPCheck
		answer func([]byte) [][]byte
		limit  time.Duration
		why    string // empty: it succeeds
	}{
		{"no reply, and none required", config.UDPCheck{MaxReply: 255}, say(), shortly, ""},
		{"a reply that is not required", config.UDPCheck{MaxReply: 1}, say("anything"), time.Minute, ""},
		{"no reply", config.UDPCheck{MaxReply: 255, RequireReply: true}, say(), shortly, "no answer in time"},
		{"any reply", config.UDPCheck{MaxReply: 255, RequireReply: true}, say("x"), time.Minute, ""},
		{"an empty reply", config.UDPCheck{MaxReply: 255, RequireReply: true}, say(""), time.Minute, ""},
		{"as long as can be", config.UDPCheck{MaxReply: 5, RequireReply: true}, say("12345"), time.Minute, ""},
		{"too long", config.UDPCheck{MaxReply: 5, RequireReply: true}, say("123456"), time.Minute, "a reply of more than 5 bytes"},
		{"too short", config.UDPCheck{MinReply: 3, MaxReply: 5, RequireReply: true}, say("12"), time.Minute, "a reply of 2 bytes in place of 3 or more"},
		{"the reply", config.UDPCheck{MaxReply: 255, RequireReply: true, Reply: []byte("pong"), Mask: ones}, say("pong"), time.Minute, ""},
		{"the beginning", config.UDPCheck{MaxReply: 255, RequireReply: true, Reply: []byte("pong"), Mask: ones}, say("po"), time.Minute, ""},
		{"more behind it", config.UDPCheck{MaxReply: 255, RequireReply: true, Reply: []byte("pong"), Mask: ones}, say("pong!"), time.Minute, ""},
		{
			"another reply",
			config.UDPCheck{MaxReply: 255, RequireReply: true, Reply: []byte("pong"), Mask: ones},
			say("ping"), time.Minute,
			"a reply with 69 in place of 6f in byte 2",
		},
		{
			"half a byte that is not looked at",
			config.UDPCheck{MaxReply: 255, RequireReply: true, Reply: []byte{0x10}, Mask: []byte{0xf0}},
			say("\x1f"), time.Minute, "",
		},
		{
			"the other half",
			config.UDPCheck{MaxReply: 255, RequireReply: true, Reply: []byte{0x10}, Mask: []byte{0xf0}},
			say("\x2f"), time.Minute, "a reply with 2f in place of 10 in byte 1",
		},
		{
			"a payload of its own",
			config.UDPCheck{MaxReply: 255, RequireReply: true, Reply: []byte("keepalived"), Mask: bytes.Repeat(ones, 3)},
			func(heard []byte) [][]byte { return [][]byte{heard} }, time.Minute, "",
		},
		{
			"the payload",
			config.UDPCheck{MaxReply: 255, RequireReply: true, Payload: []byte("ping"), Reply: []byte("ping"), Mask: ones},
			func(heard []byte) [][]byte { return [][]byte{heard} }, time.Minute, "",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			target := answers(t, "127.0.0.1", row.answer, nil)
			got := soon(t, config.Checker{Check: row.check, Target: target}, row.limit)
			verdict(t, got, "udp "+target.String(), row.why)
		})
	}
	for _, addr := range []string{"127.0.0.1", "::1"} {
		target := port.Hold(t, addr)
		got := attempt(t, config.Checker{Check: config.UDPCheck{MaxReply: 255}, Target: target})
		verdict(t, got, "udp "+target.String(), "connection refused")
	}
}

// FuzzUDPReply: what is accepted has a length within the bounds, and no byte that is not as asked for.
func FuzzUDPReply(f *testing.F) {
	f.Add([]byte("pong"), []byte("ping"), []byte{0xff, 0xf0, 0x0f, 0}, 0, 4)
	f.Fuzz(func(t *testing.T, want, reply, mask []byte, least, most int) {
		n := min(len(want), len(mask))
		check := config.UDPCheck{RequireReply: true, Reply: want[:n], Mask: mask[:n], MinReply: least, MaxReply: most}
		fits := len(reply) >= least && len(reply) <= most
		for i := range min(n, len(reply)) {
			fits = fits && want[i]&mask[i] == reply[i]&mask[i]
		}
		if err := udpReply(check, reply); (err == nil) != fits {
			t.Errorf("%v, and it fits: %v", err, fits)
		}
	})
}

// ownNetwork gives the test a network of its own, set up by these commands. Only what this
// goroutine opens is in it.
func ownNetwork(t *testing.T, commands ...string) {
	t.Helper()
	ip := program(t, "ip")
	if os.Getuid() != 0 {
		missing(t, "not root")
	}
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, c := range append([]string{"link set lo up"}, commands...) {
		if out, err := exec.Command(ip, strings.Fields(c)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", c, err, out)
		}
	}
	for _, c := range commands {
		// The kernel does not wait for the routes to IPv6 addresses when it adds them.
		if words := strings.Fields(c); words[0] == "address" && strings.Contains(words[2], ":") {
			addr := netip.MustParsePrefix(words[2]).Addr().String()
			await.That(t, "a route to "+addr, func() bool {
				out, err := exec.Command(ip, "-6", "route", "get", addr).Output()
				return err == nil && strings.HasPrefix(string(out), "local ")
			})
		}
	}
}

// sysctl sets a value in the network of this goroutine.
func sysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// TestUnreachable: what the kernel says about the way is a failure at once, not when the time is
// up, also where it takes it for something that may pass.
func TestUnreachable(t *testing.T) {
	ownNetwork(t, "link add v0 type veth peer name v1", "link set v0 up", "link set v1 up", "address add 10.0.0.1/24 dev v0",
		"route add unreachable 10.1.0.0/16", "link add d0 type veth peer name d1", "link set d0 up", "link set d1 up", "address add 10.2.0.1/24 dev d0")
	sysctl(t, "ipv4/neigh/v0/mcast_solicit", "1")
	sysctl(t, "ipv4/neigh/v0/retrans_time_ms", "20")
	for _, check := range []config.Check{
		config.UDPCheck{MaxReply: 255}, config.DNSCheck{Type: "SOA", Name: "."}, config.PingCheck{},
	} {
		for target, why := range map[string]string{
			"10.0.0.9:7": "no route to host", // nobody answers for it
			"10.1.0.9:7": "no route to host",
			"10.9.0.9:7": "network is unreachable",
		} {
			c := config.Checker{Check: check, Target: netip.MustParseAddrPort(target)}
			if got := soon(t, c, time.Minute); got.OK || !strings.HasSuffix(got.Why, ": "+why) {
				t.Errorf("%s of %s: %+v, want %q", check.Keyword(), target, got, why)
			}
		}
	}
}
