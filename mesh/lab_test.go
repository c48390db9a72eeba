package mesh

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/boottime"
)

// The lab is a switch and some hosts, each a network namespace of its own. The test
// binary runs itself three deep: the test proper; in a new namespace, the switch (a
// bridge), which runs the same test again, now for real; and one process with a
// namespace for each host, which runs one Mesh and does as it is told over a pipe.
// Nothing has a name outside, and all is gone when the processes are.
const (
	labEnv  = "SOLOVIP_MESH_LAB"  // the name of the test that is to be run for real
	hostEnv = "SOLOVIP_MESH_HOST" // set in the processes of hosts
)

func TestMain(m *testing.M) {
	for _, e := range []Event{ReportSeen{}, Asked{}, Answered{}, MemberChanged{}} {
		gob.Register(e)
	}
	if os.Getenv(hostEnv) != "" {
		runHost()
		return
	}
	os.Exit(m.Run())
}

// order is what a host is told to do; one of its fields is set.
type order struct {
	Number  int
	Shell   string
	Start   *hostConfig
	Publish *arbiter.Report
	Ask     *arbiter.Request
	Counts  bool
	Stop    bool
}

// hostConfig is the part of a Config that can be sent.
type hostConfig struct {
	Name  string
	Bind  netip.AddrPort
	Peers []Peer
}

// note is what a host tells: an event, or that it has done an order.
type note struct {
	At     time.Time // boot clock
	Event  Event
	Done   int
	Err    string
	Counts *Counts
}

// runHost is a host's process: it does as it is told until it is told no more.
func runHost() {
	var mu sync.Mutex // guards out
	out := gob.NewEncoder(os.Stdout)
	tell := func(n note) {
		n.At = boottime.Now()
		mu.Lock()
		defer mu.Unlock()
		if out.Encode(n) != nil {
			os.Exit(1) // the test is gone
		}
	}
	h := &host{tell: tell}
	for in := gob.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		var o order
		if in.Decode(&o) != nil {
			os.Exit(0) // the test is over
		}
		done := note{Done: o.Number}
		if err := h.do(o, &done); err != nil {
			done.Err = err.Error()
		}
		tell(done)
	}
}

// host is the one Mesh of a host's process.
type host struct {
	tell  func(note)
	mesh  *Mesh
	stop  context.CancelFunc
	ended chan error
}

func (h *host) do(o order, done *note) error {
	switch {
	case o.Shell != "":
		return shell(o.Shell)
	case o.Start != nil:
		return h.start(*o.Start)
	case o.Publish != nil:
		return h.mesh.Publish(*o.Publish)
	case o.Ask != nil:
		h.mesh.Ask(*o.Ask)
	case o.Counts:
		counts := h.mesh.Counts()
		done.Counts = &counts
	case o.Stop:
		h.stop()
		return <-h.ended
	}
	return nil
}

func (h *host) start(c hostConfig) error {
	cfg := Config{
		Name: c.Name, Cluster: "edge", Key: testKey, Bind: c.Bind, Peers: c.Peers,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("host", c.Name),
	}
	cfg.Deliver = func(e Event) {
		if a, ok := e.(Asked); ok {
			h.mesh.Answer(arbiter.Answer{ID: a.Request.ID, To: a.Request.From, Claim: a.Request.Claim, Yes: true})
		}
		h.tell(note{Event: e})
	}
	var err error
	if h.mesh, err = New(cfg); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop, h.ended = stop, make(chan error, 1)
	go func() { h.ended <- h.mesh.Run(ctx) }()
	return nil
}

func shell(script string) error {
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return nil
}

// inLab runs body in a new lab.
func inLab(t *testing.T, body func(t *testing.T, l *lab)) {
	t.Helper()
	if os.Getenv(labEnv) == t.Name() {
		for _, line := range []string{"ip link set lo up", "ip link add br0 type bridge", "ip link set br0 up"} {
			if err := shell(line); err != nil {
				t.Fatal(err)
			}
		}
		body(t, &lab{hosts: make(map[string]*labHost)})
		return
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			noLab(t, err)
		}
	}
	runtime.LockOSThread() // Pdeathsig follows the thread that started the process
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), labEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("in the lab:\n%s", out)
	if errors.Is(err, syscall.EPERM) {
		noLab(t, err)
	}
	if err != nil {
		t.Errorf("in the lab: %v", err)
	}
}

// noLab skips the test where there can be no lab; never in CI.
func noLab(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no network namespaces: %v", err)
	}
	t.Skipf("no network namespaces: %v", err)
}

// lab is the switch, as the test that runs in it sees it.
type lab struct {
	hosts map[string]*labHost
	peers []Peer
	ipv6  bool
}

// labHost is a host of the lab.
type labHost struct {
	*recorder[note]
	lab   *lab
	name  string
	addr  netip.Addr
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *gob.Encoder
	count int
}

// boot connects hosts of these names, with addresses, and starts a Mesh on each.
func (l *lab) boot(t *testing.T, names ...string) {
	t.Helper()
	for i, name := range names {
		addr := netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)})
		if l.ipv6 {
			addr = netip.AddrFrom16([16]byte{0: 0xfd, 1: 9, 15: byte(i + 1)})
		}
		l.peers = append(l.peers, Peer{name, addr})
	}
	for i := range names {
		h := l.connect(t, i)
		h.addAddress(t)
		h.startMesh(t)
	}
	for _, h := range l.hosts {
		h.awaitAll(t, 0)
	}
}

// connect makes the i-th host, and a cable from it to the switch.
func (l *lab) connect(t *testing.T, i int) *labHost {
	t.Helper()
	h := &labHost{recorder: newRecorder[note](), lab: l, name: l.peers[i].Name, addr: l.peers[i].Addr}
	h.cmd = exec.Command("/proc/self/exe")
	h.cmd.Env = append(os.Environ(), hostEnv+"="+h.name)
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.kill() })
	h.out = gob.NewEncoder(h.in)
	go func() {
		for dec := gob.NewDecoder(bufio.NewReader(stdout)); ; {
			var n note
			if dec.Decode(&n) != nil {
				return
			}
			h.record(n)
		}
	}()
	l.hosts[h.name] = h
	cable := fmt.Sprintf("ip link add v%d type veth peer name eth0 netns %d; ip link set v%d master br0 up",
		h.cmd.Process.Pid, h.cmd.Process.Pid, h.cmd.Process.Pid)
	if err := shell(cable); err != nil {
		t.Fatal(err)
	}
	h.do(t, order{Shell: "ip link set lo up; ip link set eth0 up"})
	return h
}

// do has the host carry out an order.
func (h *labHost) do(t *testing.T, o order) note {
	t.Helper()
	h.count++
	o.Number = h.count
	if err := h.out.Encode(o); err != nil {
		t.Fatalf("%s: %v", h.name, err)
	}
	done := h.await(t, 0, h.name+" does as told", func(n note) bool { return n.Done == o.Number })
	if done.Err != "" {
		t.Fatalf("%s: %s", h.name, done.Err)
	}
	return done
}

func (h *labHost) addAddress(t *testing.T) {
	t.Helper()
	h.do(t, order{Shell: fmt.Sprintf("ip addr add %s/24 dev eth0 nodad", h.addr)})
}

func (h *labHost) startMesh(t *testing.T) {
	t.Helper()
	peers := slices.DeleteFunc(slices.Clone(h.lab.peers), func(p Peer) bool { return p.Name == h.name })
	h.do(t, order{Start: &hostConfig{Name: h.name, Bind: netip.AddrPortFrom(h.addr, meshPort), Peers: peers}})
	h.publish(t, 1)
}

func (h *labHost) publish(t *testing.T, incarnation uint64) {
	t.Helper()
	h.do(t, order{Publish: &arbiter.Report{
		Incarnation: incarnation, Mode: arbiter.ModeVeto,
		Witness: strings.HasPrefix(h.name, "w"),
	}})
}

// awaitAll waits until the host hears all others directly and has them alive.
func (h *labHost) awaitAll(t *testing.T, mark int) {
	t.Helper()
	for _, p := range h.lab.peers {
		if p.Name != h.name {
			h.awaitEvent(t, mark, h.name+" hears "+p.Name, report(p.Name, ""))
			h.awaitEvent(t, mark, h.name+" has "+p.Name+" alive", alive(p.Name, true))
		}
	}
}

func (h *labHost) awaitEvent(t *testing.T, mark int, what string, want func(Event) bool) note {
	t.Helper()
	return h.await(t, mark, what, func(n note) bool { return n.Event != nil && want(n.Event) })
}

// cut drops what the host gets from another and, when both, sends to it.
func (h *labHost) cut(t *testing.T, from *labHost, both bool) {
	t.Helper()
	rules := "table inet cut { chain in { type filter hook input priority 0; ip saddr " + from.addr.String() + " drop; }; "
	if both {
		rules += "chain out { type filter hook output priority 0; ip daddr " + from.addr.String() + " drop; }; "
	}
	h.do(t, order{Shell: "nft '" + rules + "}'"})
}

// isolate drops all that the host gets or sends.
func (h *labHost) isolate(t *testing.T) note {
	t.Helper()
	return h.do(t, order{Shell: "nft 'table inet cut { chain in { type filter hook input priority 0; iif eth0 drop; }; " +
		"chain out { type filter hook output priority 0; oif eth0 drop; }; }'"})
}

// lose drops some of all that the host gets.
func (h *labHost) lose(t *testing.T, percent int) note {
	t.Helper()
	return h.do(t, order{Shell: fmt.Sprintf("nft 'table inet cut { chain in { type filter hook input priority 0; "+
		"iif eth0 numgen random mod 100 < %d drop; }; }'", percent)})
}

func (h *labHost) heal(t *testing.T) note {
	t.Helper()
	return h.do(t, order{Shell: "nft delete table inet cut"})
}

func (h *labHost) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// kill ends the host at once: its processes and its namespace.
func (h *labHost) kill() {
	_ = h.cmd.Process.Kill() // it may be dead already
	_ = h.cmd.Wait()         // killed is no news
}

// plug moves the host's cable to another bridge.
func (h *labHost) plug(t *testing.T, bridge string) {
	t.Helper()
	if err := shell(fmt.Sprintf("ip link set v%d master %s", h.cmd.Process.Pid, bridge)); err != nil {
		t.Fatal(err)
	}
}
