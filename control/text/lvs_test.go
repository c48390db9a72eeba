package text

import (
	"net/netip"
	"testing"

	"github.com/solovip/solovip/internal/golden"
	"github.com/solovip/solovip/lvs"
)

func TestLVS(t *testing.T) {
	addr := netip.MustParseAddrPort
	const hour = 3600_000
	s := lvs.Snapshot{
		Known: true, Repairs: 2, Foreign: []string{"TCP 10.0.0.77:80"}, Master: true,
		Servers: []lvs.ServerStatus{
			{
				Name: "10.0.0.1 80 TCP", Services: []string{"TCP 10.0.0.1:80", "TCP 10.0.0.1:443"}, Scheduler: "wrr", Quorum: true, SinceMS: 3 * hour, Weight: 12, Needed: 2,
				Sorry: "10.9.0.9:80",
				Reals: []lvs.RealStatus{
					{Addr: addr("10.9.0.1:80"), Up: true, SinceMS: 3 * hour, Weight: 8, Target: 8, InTable: true, Connections: &lvs.Connections{Active: 120, Inactive: 7}},
					{Addr: addr("10.9.0.2:80"), Up: true, SinceMS: 40_000, Weight: 2, Target: 4, InTable: true, Growing: true, Connections: &lvs.Connections{}},
					{Addr: addr("10.9.0.3:80"), Up: true, SinceMS: 3 * hour, InTable: true, Override: "drain", Connections: &lvs.Connections{Active: 1}},
					{Addr: addr("10.9.0.4:80"), SinceMS: 90_000, Target: 4, Why: "connect 10.9.0.4:80: connection refused"},
					{Addr: addr("10.9.0.5:80"), Up: true, SinceMS: 90_000, Weight: 9, Target: 9, InTable: true, Override: "weight"},
				},
			},
			{
				Name: "fwmark 7", Services: []string{"mark 7"}, Scheduler: "rr", SinceMS: 2000, Needed: 1, Sorry: "127.0.0.1:80", SorryUsed: true, Suspended: true,
				Reals: []lvs.RealStatus{{Addr: addr("10.9.0.1:0"), SinceMS: 2000, Target: 1, Why: "not checked yet"}},
			},
		},
	}
	golden.File(t, "testdata/lvs.list", LVS(s, 80))
	golden.File(t, "testdata/lvs.status", LVSStatus(s, 80))
	trouble := lvs.Snapshot{Trouble: "the kernel has no IPVS: load the module ip_vs (modprobe ip_vs)", Backup: true}
	golden.File(t, "testdata/lvs-trouble.status", LVSStatus(trouble, 80))
}
