package vrrp_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/vrrp/rawip"
)

var (
	ourAddr   = netip.MustParseAddr("10.9.0.1")
	theirAddr = netip.MustParseAddr("10.9.0.2")
)

// interopVariant is one way to speak VRRP that both sides are set to.
type interopVariant struct {
	name     string
	version  vrrp.Version
	interval time.Duration
	pass     string
	unicast  bool
}

// TestKeepalived holds a conversation with a real keepalived, in real time: the machine
// with the smallest of shells on one end of a cable, keepalived on the other.
func TestKeepalived(t *testing.T) {
	for _, v := range []interopVariant{
		{"v2 PASS", vrrp.V2, time.Second, "s3cret", false},
		{"v3", vrrp.V3, time.Second / 2, "", false},
		{"v3 unicast", vrrp.V3, time.Second / 2, "", true},
	} {
		t.Run(v.name+"/keepalived is better", func(t *testing.T) {
			t.Parallel()
			keepalivedIsBetter(t, v)
		})
		t.Run(v.name+"/we are better", func(t *testing.T) {
			t.Parallel()
			weAreBetter(t, v)
		})
	}
}

// keepalivedIsBetter: we are its backup, take over when it stops, make way when it is
// back, and take over when it crashes.
func keepalivedIsBetter(t *testing.T, v interopVariant) { //nolint:thelper // a test: a failure is to name the line in it
	c := newCable(t)
	us := c.machine(t, v, 100, true)
	ka := c.keepalived(t, v, 150)
	ka.await(t, "MASTER")
	us.await(t, "hears priority 150")

	stopped := ka.stop(t, syscall.SIGTERM)
	us.awaitAfter(t, "MASTER", stopped, v.interval*156/256) // the skew time

	ka = c.keepalived(t, v, 150)
	ka.await(t, "MASTER")
	us.await(t, "BACKUP")
	us.await(t, "hears priority 150")

	killed := ka.stop(t, syscall.SIGKILL)
	us.awaitAfter(t, "MASTER", killed, v.interval*(2*256+156)/256) // the last advert was up to one interval before
}

// weAreBetter: keepalived is our backup, takes over when we stop, makes way when we are
// back, and takes over when we crash; then, with nopreempt, we leave it alone.
func weAreBetter(t *testing.T, v interopVariant) { //nolint:thelper // a test: a failure is to name the line in it
	c := newCable(t)
	us := c.machine(t, v, 150, true)
	ka := c.keepalived(t, v, 100)
	ka.await(t, "BACKUP")
	us.await(t, "MASTER")

	stopped := us.tell(vrrp.Stop{})
	ka.awaitAfter(t, "MASTER", stopped, v.interval*156/256)

	us.tell(vrrp.Start{})
	us.await(t, "MASTER")
	ka.await(t, "BACKUP")

	crashed := us.crash()
	ka.awaitAfter(t, "MASTER", crashed, v.interval*(2*256+156)/256)

	us = c.machine(t, v, 150, false)
	for range 5 { // longer than our master-down interval
		us.await(t, "hears priority 100")
	}
	if seen := us.log.matching("MASTER"); len(seen) > 0 {
		t.Errorf("with nopreempt we did: %v", seen)
	}
	stopped = ka.stop(t, syscall.SIGTERM)
	us.awaitAfter(t, "MASTER", stopped, v.interval*106/256)
}

// eventLog is what one side did, in order, for the test to wait for.
type eventLog struct {
	mu     sync.Mutex
	lines  []string
	at     []time.Time
	next   int // the first line that no await has passed
	change chan struct{}
}

func (l *eventLog) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	l.at = append(l.at, time.Now())
	select {
	case l.change <- struct{}{}:
	default:
	}
}

// pass returns when the first line not yet passed that holds text was added.
func (l *eventLog) pass(text string) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.next < len(l.lines) {
		l.next++
		if strings.Contains(l.lines[l.next-1], text) {
			return l.at[l.next-1], true
		}
	}
	return time.Time{}, false
}

func (l *eventLog) matching(pattern string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.lines {
		if regexp.MustCompile(pattern).MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

type side struct {
	name string
	log  *eventLog
}

func newSide(t *testing.T, name string) side {
	t.Helper()
	s := side{name, &eventLog{change: make(chan struct{}, 1)}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", s.name, strings.Join(s.log.matching(""), "\n"))
		}
	})
	return s
}

// await waits until a new line of the side's log holds text.
func (s side) await(t *testing.T, text string) time.Time {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		if at, ok := s.log.pass(text); ok {
			return at
		}
		select {
		case <-s.log.change:
		case <-deadline:
			t.Fatalf("%s: no %q in 15 s", s.name, text)
		}
	}
}

// awaitAfter also checks that it took at least as long as the timers say, and not more
// than 1.6 s longer: an interval, for an advert just sent, and the slack of a busy machine.
func (s side) awaitAfter(t *testing.T, text string, from time.Time, least time.Duration) {
	t.Helper()
	took := s.await(t, text).Sub(from)
	t.Logf("%s: %s after %v", s.name, text, took.Round(time.Millisecond))
	if took < least || took > least+1600*time.Millisecond {
		t.Errorf("%s: %s after %v, want %v at the least", s.name, text, took, least)
	}
}

// ourSide is a Machine in a shell that does nothing but adverts.
type ourSide struct {
	side
	events chan vrrp.Event
	ended  chan struct{}
}

// tell gives the machine an event and returns when.
func (o ourSide) tell(ev vrrp.Event) time.Time {
	now := time.Now()
	o.events <- ev
	return now
}

// crash ends the shell without a word on the wire.
func (o ourSide) crash() time.Time {
	close(o.events)
	<-o.ended
	return time.Now()
}

func (c *cable) machine(t *testing.T, v interopVariant, priority uint8, preempt bool) ourSide {
	t.Helper()
	cfg := rawip.Config{Interface: "veth0", Source: ourAddr, VRID: 51}
	if v.unicast {
		cfg.Peers = []netip.Addr{theirAddr}
	}
	c.near.enter(t)
	conn, err := rawip.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	m, err := vrrp.New(vrrp.Config{
		Name: "VI_1", VRID: 51, Version: v.version, Priority: priority, AdvertInterval: v.interval, Preempt: preempt,
		Source: ourAddr, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.100")}, AuthPass: v.pass,
	})
	if err != nil {
		t.Fatal(err)
	}
	us := ourSide{newSide(t, fmt.Sprintf("our %d", priority)), make(chan vrrp.Event), make(chan struct{})}
	go us.run(conn, m)
	us.tell(vrrp.Start{})
	return us
}

// run is the shell: adverts and events in, adverts out, and Grant for every Want.
func (o ourSide) run(conn *rawip.Conn, m *vrrp.Machine) {
	defer close(o.ended)
	defer func() { _ = conn.Close() }()
	adverts := make(chan vrrp.Received)
	go func() {
		for {
			d, err := conn.Receive()
			if err != nil {
				return
			}
			p, err := vrrp.Parse(d.Payload, d.Source, d.Destination)
			if err != nil {
				o.log.add("cannot parse: %v", err)
				continue
			}
			select {
			case adverts <- vrrp.Received{Packet: p, Source: d.Source}:
			case <-o.ended:
				return
			}
		}
	}()
	for {
		var tick <-chan time.Time
		if d := m.Deadline(); !d.IsZero() {
			tick = time.After(time.Until(d))
		}
		select {
		case ev, ok := <-o.events:
			if !ok {
				return
			}
			o.step(conn, m, ev)
		case ev := <-adverts:
			o.step(conn, m, ev)
			o.log.add("hears priority %d", ev.Packet.Priority)
		case <-tick:
			o.step(conn, m, vrrp.Tick{})
		}
	}
}

func (o ourSide) step(conn *rawip.Conn, m *vrrp.Machine, ev vrrp.Event) {
	for _, a := range m.Step(time.Now(), ev) {
		switch a := a.(type) {
		case vrrp.Send:
			for _, dst := range conn.Destinations() {
				b, err := a.Packet.Append(nil, conn.Source(), dst)
				if err == nil {
					err = conn.Send(b, dst)
				}
				if err != nil {
					o.log.add("cannot send: %v", err)
				}
			}
		case vrrp.Want:
			o.step(conn, m, vrrp.Grant{})
		case vrrp.Changed:
			o.log.add("%v -> %v: %s", a.From, a.To, a.Why)
		case vrrp.Discarded:
			o.log.add("discarded: %s", a.Why)
		case vrrp.Unwant, vrrp.Overdue, vrrp.Challenged, vrrp.Announce:
		}
	}
}

// theirSide is a running keepalived.
type theirSide struct {
	side
	cmd  *exec.Cmd
	done chan struct{} // its output has ended
}

// complaints is what keepalived 2.2.7 says about adverts that it does not like.
const complaints = `nvalid|mismatch|unexpected|too (long|short)|wrong version|expect|not present in`

func (c *cable) keepalived(t *testing.T, v interopVariant, priority int) *theirSide {
	t.Helper()
	program, err := exec.LookPath("keepalived")
	if err != nil {
		missing(t, "%v", err)
	}
	extra := ""
	if v.pass != "" {
		extra += "authentication {\n auth_type PASS\n auth_pass " + v.pass + "\n}\n"
	}
	if v.unicast {
		extra += fmt.Sprintf("unicast_src_ip %v\nunicast_peer {\n %v\n}\n", theirAddr, ourAddr)
	}
	text := fmt.Sprintf("vrrp_instance VI_1 {\n state BACKUP\n interface veth0\n virtual_router_id 51\n priority %d\n"+
		" advert_int %g\n version %d\n%svirtual_ipaddress {\n 10.9.0.100/24\n}\n}\n", priority, v.interval.Seconds(), v.version, extra)
	dir := t.TempDir()
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ka := &theirSide{side: newSide(t, fmt.Sprintf("keepalived %d", priority)), done: make(chan struct{})}
	ka.cmd = exec.Command(program, "--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file", file,
		"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid"))
	ka.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := ka.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ka.cmd.Stderr = ka.cmd.Stdout
	c.far.enter(t)
	if err := ka.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ka.done)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			ka.log.add("%s", sc.Text())
		}
	}()
	t.Cleanup(func() {
		ka.stop(t, syscall.SIGTERM)
		if bad := ka.log.matching(complaints); len(bad) > 0 {
			t.Errorf("keepalived complains:\n%s", strings.Join(bad, "\n"))
		}
	})
	return ka
}

// stop signals all of keepalived's processes, waits for their end, and returns when the
// signal was sent.
func (k *theirSide) stop(t *testing.T, sig syscall.Signal) time.Time {
	t.Helper()
	now := time.Now()
	if k.cmd.ProcessState != nil {
		return now
	}
	if err := unix.Kill(-k.cmd.Process.Pid, sig); err != nil {
		t.Errorf("signal keepalived: %v", err)
	}
	<-k.done
	_ = k.cmd.Wait() // its status is that of the signal
	return now
}

// cable is two namespaces joined by a veth pair: ours has ourAddr, keepalived's theirAddr.
type cable struct{ near, far namespace }

type namespace struct{ file *os.File }

func newCable(t *testing.T) *cable {
	t.Helper()
	c := &cable{near: newNamespace(t), far: newNamespace(t)}
	ip := func(ns namespace, args string) {
		t.Helper()
		ns.enter(t)
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	ip(c.near, fmt.Sprintf("link add veth0 type veth peer name veth0 netns /proc/%d/fd/%d", os.Getpid(), c.far.file.Fd()))
	for ns, addr := range map[namespace]netip.Addr{c.near: ourAddr, c.far: theirAddr} {
		ip(ns, fmt.Sprintf("address add %v/24 dev veth0", addr))
		ip(ns, "link set veth0 up")
	}
	return c
}

// newNamespace makes a network namespace. The test's goroutine stays locked to its
// thread, which ends with the test and so never runs anything else.
func newNamespace(t *testing.T) namespace {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		missing(t, "%v", err)
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "a network namespace cannot be made here (needs root): %v", err)
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return namespace{file}
}

func (ns namespace) enter(t *testing.T) {
	t.Helper()
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// missing ends a test that cannot run here: a failure in CI, where all must be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
