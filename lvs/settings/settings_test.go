package settings

import (
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lvs"
)

// load reads a file of testdata, which has no errors.
func load(t *testing.T, file string) Settings {
	t.Helper()
	cfg, report := config.Load(file, config.Options{
		FS: os.DirFS("testdata"), Dir: "/", Hostname: "node1",
		Program: func(string) error { return nil }, User: func(string, string) error { return nil },
	})
	if report.HasErrors() {
		t.Fatalf("%s: %v", file, report.Errors())
	}
	s := New(cfg)
	if _, err := lvs.New(s.LVS); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return s
}

// The user of all scripts is that of those that name none. A reload that changes it changes the
// checks that are scripts, and no others.
func TestTheScriptUserIsOfThoseThatNameNone(t *testing.T) {
	with := func(user string) Settings {
		misc := config.Checker{Check: config.MiscCheck{Command: config.Command{Args: []string{"/bin/true"}}}}
		own := config.Checker{Check: config.MiscCheck{Command: config.Command{Args: []string{"/bin/true"}}, User: "nobody"}}
		return New(&config.Config{
			Global: config.Global{ScriptUser: user},
			VirtualServers: []config.VirtualServer{{RealServers: []config.RealServer{
				{Checkers: []config.Checker{misc, own, {Check: config.TCPCheck{}}}},
			}, QuorumUp: config.Command{Args: []string{"/bin/true"}}, QuorumDown: config.Command{Args: []string{"/bin/true"}, User: "nobody"}}},
		})
	}
	one, two := with("root"), with("another")
	root, another := one.LVS.Servers[0].Reals[0].Checks, two.LVS.Servers[0].Reals[0].Checks
	for i, same := range []bool{false, true, true} {
		if (root[i] == another[i]) != same {
			t.Errorf("%s and %s: want the same check: %t", root[i].ID, another[i].ID, same)
		}
	}
	for i, want := range []string{"another", "nobody"} {
		if user := two.Checks[another[i].ID].Check.(config.MiscCheck).User; user != want {
			t.Errorf("%s runs as %q, want %q", another[i].ID, user, want)
		}
		what := []lvs.Notification{lvs.QuorumUp, lvs.QuorumDown}[i]
		if c, _ := two.Script(lvs.Notify{What: what, Server: two.LVS.Servers[0].Name}); c.User != want {
			t.Errorf("the script of %s runs as %q, want %q", what, c.User, want)
		}
	}
}

var comparing = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// TestServers compares what a file makes of the balancer's configuration.
func TestServers(t *testing.T) {
	s := load(t, "shared.conf")
	addr := netip.MustParseAddrPort
	tcp, mark := s.LVS.Servers[0].Reals[0].Checks[0].ID, s.LVS.Servers[2].Reals[0].Checks[0].ID
	misc := s.LVS.Servers[0].Reals[0].Checks[1].ID
	second := s.LVS.Servers[0].Reals[1].Checks
	want := lvs.Config{Servers: []lvs.VirtualServer{
		{
			Name: "10.0.0.1 80 TCP", Keys: []lvs.ServiceKey{lvs.AddressKey(lvs.TCP, addr("10.0.0.1:80"))}, Quorum: 1,
			Service: lvs.Service{Scheduler: "sh", Flags: lvs.SchedFlag2},
			Reals: []lvs.RealServer{
				{Addr: addr("10.9.0.1:80"), Weight: 1, Checks: []lvs.Check{{ID: tcp}, {ID: misc}}},
				{Addr: addr("10.9.0.2:80"), Weight: 1, Checks: second},
			},
		},
		{
			Name: "10.0.0.1 80 UDP", Keys: []lvs.ServiceKey{lvs.AddressKey(lvs.UDP, addr("10.0.0.1:80"))}, Quorum: 1, Follows: true,
			Service: lvs.Service{Scheduler: "wlc", Flags: lvs.OnePacket, Persistence: time.Minute, Granularity: 24},
			Reals: []lvs.RealServer{{
				Addr: addr("10.9.0.1:80"), Forwarding: lvs.Forwarding{Method: lvs.DR}, Weight: 1, Inhibit: true,
				SlowStart: 30 * time.Second, Checks: []lvs.Check{{ID: tcp, Alpha: true}},
			}},
		},
		{
			Name: "fwmark 3", Keys: []lvs.ServiceKey{{FWMark: 3}}, Quorum: 1, Service: lvs.Service{Scheduler: "wlc"},
			Reals: []lvs.RealServer{{
				Addr: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), 0), Forwarding: lvs.Forwarding{Method: lvs.DR}, Weight: 1,
				Checks: []lvs.Check{{ID: mark}},
			}},
		},
	}}
	if diff := cmp.Diff(want, s.LVS, comparing); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestChecksAreShared: what is checked alike is one check, wherever it is written; another
// setting, even one that the text of an address hides, makes it another check.
func TestChecksAreShared(t *testing.T) {
	s := load(t, "shared.conf")
	ids := slices.Sorted(maps.Keys(s.Checks))
	if len(ids) != 5 {
		t.Errorf("%d checks, want 5: %v", len(ids), ids)
	}
	for i, prefix := range []string{"MISC_CHECK /bin/true check #", "TCP_CHECK 10.9.0.1:80 #", "TCP_CHECK 10.9.0.1:80 #", "TCP_CHECK 10.9.0.2:80 #", "TCP_CHECK 10.9.0.2:80 #"} {
		if i < len(ids) && !strings.HasPrefix(string(ids[i]), prefix) {
			t.Errorf("check %q, want %q and a number", ids[i], prefix)
		}
	}
}

// TestScripts finds the scripts of notifications.
func TestScripts(t *testing.T) {
	s := load(t, "shared.conf")
	server, real := "10.0.0.1 80 TCP", netip.MustParseAddrPort("10.9.0.1:80")
	tests := []struct {
		n    lvs.Notify
		want string
	}{
		{lvs.Notify{What: lvs.QuorumUp, Server: server}, "/bin/true web up"},
		{lvs.Notify{What: lvs.QuorumDown, Server: server}, ""},
		{lvs.Notify{What: lvs.RealDown, Server: server, Real: real}, "/bin/true down"},
		{lvs.Notify{What: lvs.RealUp, Server: server, Real: real}, ""},
		{lvs.Notify{What: lvs.RealDown, Server: "10.0.0.1 80 UDP", Real: real}, ""},
		{lvs.Notify{What: lvs.QuorumUp, Server: "gone"}, ""},
	}
	for _, tt := range tests {
		if c, ok := s.Script(tt.n); c.Text != tt.want || ok != (tt.want != "") {
			t.Errorf("%s of %s: %q, %t; want %q", tt.n.What, tt.n.Server, c.Text, ok, tt.want)
		}
	}
}
