package split

import (
	"bufio"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everything is what can pass between the node and its peer.
var everything = []string{
	"vrrp in", "vrrp out", "vrrp6 in", "mesh udp", "mesh udp6", "mesh tcp", "witness tcp", "ssh tcp", "web tcp", "web tcp6", "arp",
}

func cut(length time.Duration, way Way, block ...Traffic) Cut {
	return Cut{
		Block: block, Way: way, For: length, Peers: []netip.Addr{peerAddr, peerAddr6},
		MeshPort: meshPort, WitnessPorts: []uint16{witnessPort}, SSH: []uint16{sshPort}, Links: []string{"n0"},
	}
}

func TestDropsWhatItSays(t *testing.T) {
	l := newLink(t)
	l.wantOpen(everything...)
	for _, tt := range []struct {
		name string
		cut  Cut
		shut []string
	}{
		{"adverts", cut(time.Minute, Both, VRRP), []string{"vrrp in", "vrrp out", "vrrp6 in"}},
		{"adverts that come in", cut(time.Minute, In, VRRP), []string{"vrrp in", "vrrp6 in"}},
		{"adverts that go out", cut(time.Minute, Out, VRRP), []string{"vrrp out"}},
		{"mesh and witness", cut(time.Minute, In, Mesh, Witness), []string{"mesh udp", "mesh udp6", "mesh tcp", "witness tcp"}},
		{"ARP", cut(time.Minute, Both, ARP), []string{"arp"}},
		{"IP", cut(time.Minute, Both, IP), []string{
			"vrrp in", "vrrp out", "vrrp6 in", "mesh udp", "mesh udp6", "mesh tcp", "witness tcp", "web tcp", "web tcp6",
		}},
		{"everything", cut(time.Minute, Both, All), []string{
			"vrrp in", "vrrp out", "vrrp6 in", "mesh udp", "mesh udp6", "mesh tcp", "witness tcp", "web tcp", "web tcp6", "arp",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := l.with(t)
			check(t, tt.cut.Apply())
			l.wantShut(tt.shut...)
			l.wantOpen(slices.DeleteFunc(slices.Clone(everything), func(way string) bool { return slices.Contains(tt.shut, way) })...)
			check(t, End())
			l.wantOpen(tt.shut...)
		})
	}
}

// The neighbour is found anew while all but ARP and its like is dropped: otherwise an SSH
// session over IPv6 would end with its neighbour entry.
func TestNeighboursAreFoundWithoutIP(t *testing.T) {
	l := newLink(t)
	check(t, cut(time.Minute, Both, IP).Apply())
	l.forgetNeighbours()
	l.wantOpen("ssh tcp", "ssh tcp6")
	check(t, End())
	check(t, cut(time.Minute, Both, ARP).Apply())
	l.forgetNeighbours()
	l.wantShut("ssh tcp", "ssh tcp6")
}

func needNft(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("nft")
	need(t, err == nil, "nft")
}

// What is printed before is what the kernel has after: the same rules, by whichever of the
// two ways they came there.
func TestTextIsWhatTheKernelHas(t *testing.T) {
	needNft(t)
	for _, c := range []Cut{
		cut(time.Minute, Both, VRRP), cut(90*time.Second, In, Mesh, Witness), cut(time.Hour, Out, IP), cut(30*time.Second, Both, All),
	} {
		newLink(t)
		check(t, c.Apply())
		want := normal(c.Text())
		if diff := cmp.Diff(want, normal(nft(t, "", "-y", "-p", "list", "ruleset"))); diff != "" {
			t.Errorf("%s: what is printed (-) and what is in the kernel (+):\n%s", c, diff)
		}
		newLink(t)
		nft(t, c.Text(), "-f", "-")
		if diff := cmp.Diff(want, normal(nft(t, "", "-y", "-p", "list", "ruleset"))); diff != "" {
			t.Errorf("%s: what is printed (-) and what nft makes of it (+):\n%s", c, diff)
		}
		if left, err := InForce(); err != nil || left <= 0 || left > c.For {
			t.Errorf("%s: in force for %v (%v)", c, left, err)
		}
	}
}

// normal takes away in what two listings of the same rules differ: what is left of a
// timeout, the order of elements, white space.
func normal(text string) string {
	text = regexp.MustCompile(` expires [0-9a-z]+`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`(?s)elements = \{[^}]*\}`).ReplaceAllStringFunc(text, func(all string) string {
		words := strings.Split(strings.TrimSuffix(strings.TrimPrefix(all, "elements = {"), "}"), ",")
		for i := range words {
			words[i] = strings.TrimSpace(words[i])
		}
		slices.Sort(words)
		return "elements = { " + strings.Join(words, ", ") + " }"
	})
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func nft(t *testing.T, in string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nft", args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

// Whoever made the cut is gone, by SIGKILL: it holds for its time, and then all is open
// without anybody's doing.
func TestEndsByItself(t *testing.T) {
	l := newLink(t)
	const length = 4 * time.Second // a busy machine gets to the second cut in that
	cmd := again(t, "/proc/self/exe", "apply", length.String())
	begun := time.Now()
	start(t, cmd)
	check(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	if err := cut(time.Minute, Both, Mesh).Apply(); !errors.Is(err, ErrInForce) {
		t.Errorf("a second cut: %v", err)
	}
	if l.passes("mesh udp", 100*time.Millisecond) && time.Since(begun) < length {
		t.Error("it does not outlive its maker")
	}
	l.wantOpen("mesh udp")
	if lasted := time.Since(begun); lasted < length-100*time.Millisecond {
		t.Errorf("open after %v, %v were asked for", lasted, length)
	}
	if left, err := InForce(); left != 0 || err != nil {
		t.Errorf("in force for %v (%v)", left, err)
	}
	// The empty tables that are left are in nobody's way.
	check(t, cut(time.Minute, Both, Mesh).Apply())
	l.wantShut("mesh udp")
	check(t, End())
	needNft(t)
	if rules := nft(t, "", "list", "ruleset"); rules != "" {
		t.Errorf("left behind:\n%s", rules)
	}
}

func TestFindsTheOperatorsSession(t *testing.T) {
	l := newLink(t)
	sshd := filepath.Join(t.TempDir(), "sshd") // what counts is the process's name
	self, err := os.Executable()
	check(t, err)
	check(t, os.Symlink(self, sshd))
	start(t, again(t, sshd, "listen", "2222"))
	client := l.dialFromPeer("tcp", "10.9.0.1:2222")
	defer client.Close()

	found, err := FindSSH("192.0.2.7 51000 10.9.0.1 2022")
	check(t, err)
	if want := []uint16{22, 2022, 2222}; !slices.Equal(found.Ports, want) {
		t.Errorf("ports %d, want %d", found.Ports, want)
	}
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.7"), peerAddr}; !slices.Equal(found.Remotes, want) {
		t.Errorf("other sides %v, want %v", found.Remotes, want)
	}
	session := SSH{Remotes: []netip.Addr{peerAddr}}
	if err := session.Survives(cut(time.Minute, Both, All)); err == nil || !strings.Contains(err.Error(), "say ip in place of all") {
		t.Errorf("a cut of ARP with the session's own neighbour: %v", err)
	}
	check(t, session.Survives(cut(time.Minute, Both, IP)))
	for _, wrong := range []string{"a b c d", "10.0.0.1 5 10.0.0.2 ssh"} {
		if _, err := FindSSH(wrong); err == nil {
			t.Errorf("SSH_CONNECTION=%q is understood", wrong)
		}
	}

	c := cut(time.Minute, Both, IP)
	c.SSH = found.Ports
	check(t, c.Apply())
	if _, err := client.Write([]byte("still here\n")); err != nil {
		t.Error(err)
	}
	check(t, client.SetReadDeadline(time.Now().Add(patience)))
	if line, err := bufio.NewReader(client).ReadString('\n'); line != "still here\n" {
		t.Errorf("the session says %q (%v)", line, err)
	}
}

func TestRefuses(t *testing.T) {
	good := cut(time.Minute, Both, All)
	check(t, good.Validate())
	for name, change := range map[string]func(*Cut){
		"nothing to drop":   func(c *Cut) { c.Block = nil },
		"nobody":            func(c *Cut) { c.Peers = nil },
		"unknown traffic":   func(c *Cut) { c.Block = []Traffic{"heartbeat"} },
		"unknown direction": func(c *Cut) { c.Way = "up" },
		"no length":         func(c *Cut) { c.For = 0 },
		"for ever":          func(c *Cut) { c.For = Longest + 1 },
		"itself":            func(c *Cut) { c.Peers = []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
		"a group":           func(c *Cut) { c.Peers = []netip.Addr{netip.MustParseAddr("224.0.0.18")} },
		"ARP of nobody":     func(c *Cut) { c.Links = nil },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s is allowed", name)
		}
	}
}
