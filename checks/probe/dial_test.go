package probe

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/solovip/solovip/config"
)

// TestBindIfAndMark: bind_if and fwmark are those of the packets.
func TestBindIfAndMark(t *testing.T) {
	ownNetwork(t, "link add v0 type veth peer name v1",
		"rule add priority 10 lookup local", "rule del priority 0", "rule add priority 5 fwmark 7 unreachable")
	target := listen(t, "127.0.0.1:0", closeIt)
	for _, row := range []struct {
		name string
		c    config.Checker
		why  string // empty: it succeeds
	}{
		{"nothing", config.Checker{}, ""},
		{"the interface", config.Checker{Iface: "lo"}, ""},
		{"another interface", config.Checker{Iface: "v0"}, "unreachable"},
		{"another mark", config.Checker{FWMark: 8}, ""},
		{"the mark", config.Checker{FWMark: 7}, "network is unreachable"},
		{"all of it", config.Checker{FWMark: 8, Iface: "lo", Bind: netip.MustParseAddrPort("127.0.0.9:1024")}, ""},
	} {
		row.c.Target, row.c.Check = target, config.TCPCheck{}
		got := attempt(t, row.c)
		if got.OK != (row.why == "") || !strings.Contains(got.Why, row.why) {
			t.Errorf("%s: %+v, want %q", row.name, got, row.why)
		}
	}
}
