package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/lab/split"
	"github.com/solovip/solovip/node"
)

// alone puts the calling goroutine into a network namespace of its own, in which there is a
// way to 192.0.2.0/24.
func alone(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, for network namespaces")
		}
		t.Skip("needs root, for network namespaces")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "far"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr("192.0.2.1/24")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"eth0", "far", "lo"} {
		found, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(found); err != nil {
			t.Fatal(err)
		}
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		t.Fatal(err)
	}
}

func TestSplitRefuses(t *testing.T) {
	alone(t)
	t.Setenv("SSH_CONNECTION", "192.0.2.2 51000 192.0.2.1 22")
	for _, c := range []struct{ args, err string }{
		{"", "say what to drop: --block vrrp,mesh,witness"},
		{"--block vrrp --for 5s", "say between this host and whom: --peer HOST"},
		{"--block vrrp --peer 192.0.2.2", "say for how long: --for 30s"},
		{"--block vrrp --peer 192.0.2.2 --for 0s", "not 0s"},
		{"--block vrrp --peer 192.0.2.2 --for 11m", "give --long too"},
		{"--block vrrp --peer 192.0.2.2 --for 25h --long", "not 25h"},
		{"--block carp --peer 192.0.2.2 --for 5s", "there are: vrrp, mesh, witness, ip, arp, all"},
		{"--block vrrp --peer 192.0.2.2 --for 5s --direction up", "there are: both, in, out"},
		{"--block vrrp --peer 192.0.2.1 --for 5s", "192.0.2.1 is this host itself"},
		{"--block vrrp --peer nobody.invalid --for 5s", "no name of the configuration"},
		{"--block all --peer 192.0.2.2 --for 5s", "say ip in place of all"}, // the session comes from there
		{"--block vrrp --peer 192.0.2.2 --for 5s -f /nowhere/x.conf", "/nowhere/x.conf has errors"},
		{"--block vrrp,mesh --peer 192.0.2.2 --for 5s", "Nothing was done: give --yes"}, // nobody can be asked
	} {
		code, _, errOut := solovip(t, append([]string{"split", "--run-dir", t.TempDir()}, strings.Fields(c.args)...)...)
		if code != exitUsage || !strings.Contains(errOut, c.err) {
			t.Errorf("split %s: exit code %d, %q; want %d and %q", c.args, code, errOut, exitUsage, c.err)
		}
	}
	if left, err := split.InForce(); left != 0 || err != nil {
		t.Errorf("something is cut all the same, for %v (%v)", left, err)
	}
}

// What is dropped, and between whom, comes from the configuration.
func TestSplitDryRun(t *testing.T) {
	alone(t)
	file := filepath.Join(t.TempDir(), "solovip.conf")
	const conf = `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {
        192.0.2.100/24 dev eth0
    }
}
cluster edge {
    node lb01 192.0.2.1
    node lb02 192.0.2.2
    mesh_port 7000
    key_file /etc/solovip/mesh.key
}
witness {
    endpoints http://192.0.2.3:2400 http://192.0.2.4:2400
}
`
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := solovip(t, strings.Fields("split --block mesh,witness --direction in --peer lb02 --peer fd00::2 --for 90s --dry-run -f "+file)...)
	want := `table inet solovip_split {
	set from4 {
		type ipv4_addr
		flags timeout
		elements = { 192.0.2.2 timeout 1m30s }
	}

	set from6 {
		type ipv6_addr
		flags timeout
		elements = { fd00::2 timeout 1m30s }
	}

	chain input {
		type filter hook input priority -500; policy accept;
		tcp dport 22 accept
		tcp sport 22 accept
		ip saddr @from4 tcp sport 7000 drop
		ip6 saddr @from6 tcp sport 7000 drop
		ip saddr @from4 tcp dport 7000 drop
		ip6 saddr @from6 tcp dport 7000 drop
		ip saddr @from4 udp sport 7000 drop
		ip6 saddr @from6 udp sport 7000 drop
		ip saddr @from4 udp dport 7000 drop
		ip6 saddr @from6 udp dport 7000 drop
		ip saddr @from4 tcp sport 2400 drop
		ip6 saddr @from6 tcp sport 2400 drop
		ip saddr @from4 tcp dport 2400 drop
		ip6 saddr @from6 tcp dport 2400 drop
	}
}
`
	if code != 0 || errOut != "" || out != want {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, errOut, out)
	}
	if left, err := split.InForce(); left != 0 || err != nil {
		t.Errorf("something is cut all the same, for %v (%v)", left, err)
	}
}

// A split from its beginning to its end, beside a node that notices it.
func TestSplitTellsWhatTheNodeMakesOfIt(t *testing.T) {
	alone(t)
	var said, errOut await.Log
	dir := noticing(t, &said)
	args := strings.Fields("solovip split --yes --block vrrp --peer 192.0.2.2 --for 2s --run-dir " + dir)
	if code := run(t.Context(), args, &said, &errOut); code != 0 || errOut.String() != "" {
		t.Errorf("exit code %d, stderr %q", code, &errOut)
	}
	out := said.String()
	for _, want := range []string{"--- before\nSAFE", "\ncut off; the kernel ends it at ", "s\nDEGRADED", "\nover after 2", "s\nSAFE", "--- after\nSAFE"} {
		at := strings.Index(out, want)
		if at < 0 {
			t.Fatalf("%q does not come, or not in its place, in what is left of the output:\n%s", want, out)
		}
		out = out[at:]
	}
}

func TestSplitEndsAtOnce(t *testing.T) {
	alone(t)
	cut := split.Cut{
		Block: []split.Traffic{split.VRRP}, Way: split.Both, For: time.Minute, Peers: []netip.Addr{netip.MustParseAddr("192.0.2.2")},
	}
	if err := cut.Apply(); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := solovip(t, strings.Fields("split --yes --block vrrp --peer 192.0.2.2 --for 1s --run-dir "+t.TempDir())...)
	if code != exitFailed || !strings.Contains(errOut, "'solovip split --end'") {
		t.Errorf("a second cut: exit code %d, %q", code, errOut)
	}
	code, out, errOut := solovip(t, "split", "--end")
	word, ended := strings.CutPrefix(strings.TrimSuffix(out, "\n"), "ended: it had another ")
	if left, err := time.ParseDuration(word); code != 0 || errOut != "" || !ended || err != nil || left > cut.For || left < cut.For-deadline {
		t.Errorf("exit code %d, %q, %q; want nearly all of %v to be left", code, out, errOut, cut.For)
	}
	const none = "no cut is in force\n"
	if code, out, errOut := solovip(t, "split", "--end"); code != 0 || out != none || errOut != "" {
		t.Errorf("exit code %d, %q, %q; want %q", code, out, errOut, none)
	}
}

// noticing runs the control socket of a node that notices a cut one look after the command has
// said that there is one, and its end one look after that.
func noticing(t *testing.T, said *await.Log) (dir string) {
	t.Helper()
	snap := lease(node.Safe)
	noticed := false
	s := control.Server{Snapshot: func() node.Snapshot { // never called twice at once
		now := *snap.Load()
		if noticed {
			now.Safety = node.Degraded
		}
		noticed = strings.Contains(said.String(), "\ncut off") && !strings.Contains(said.String(), "\nover")
		return now
	}}
	dir = t.TempDir()
	serveAs(t, dir, s)
	return dir
}
