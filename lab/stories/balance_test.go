package stories_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// The machines in which virtual servers are balanced: here there may be no IPVS. Each has an
// end after some minutes of its own time, so the stories are told in two.
var (
	balancers = vmtest.Shared{Name: "balancers", Machine: balancingMachine()}
	directors = vmtest.Shared{Name: "directors", Machine: balancingMachine()}
)

func balancingMachine() vm.Machine {
	return vm.Machine{
		Modules:  []string{"ip_vs", "veth", "bridge"},
		Spare:    []string{"ip_vs_rr", "ip_vs_wrr", "ip_vs_wlc", "nf_conntrack", "iptable_nat", "nft_masq"},
		Programs: []string{"ip", "ipvsadm", "/usr/sbin/keepalived", "/usr/sbin/nginx", "/bin/bash"},
		Env:      []string{binaryEnv + "=/solovip"},
	}
}

// balanced tells a story in one of the machines, which has the binary under test.
func balanced(t *testing.T, machine *vmtest.Shared, story func(t *testing.T)) {
	t.Helper()
	if os.Getenv(binaryEnv) == "" {
		bin, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		machine.Files = map[string]string{"/solovip": bin}
	}
	vmtest.Test(t, machine, story)
}

// inside calls f on a thread in the machine's namespace; the sockets it makes stay there.
func (m *machine) inside(f func()) {
	m.b.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(m.b.ns(m.name))
		if err == nil {
			err = netns.Set(ns)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		m.b.t.Fatalf("network namespace of %s: %v", m.name, err)
	}
}

// farm is real servers on one machine.
type farm struct {
	m       *machine
	servers map[string]*http.Server
}

// newFarm makes a farm on a machine.
func newFarm(m *machine) *farm { return &farm{m, map[string]*http.Server{}} }

// up starts servers, each at an address of its own.
func (f *farm) up(addrs ...string) {
	f.m.b.t.Helper()
	for _, addr := range addrs {
		host, _, _ := strings.Cut(addr, ":")
		_ = exec.Command("ip", "-n", f.m.b.ns(f.m.name), "addr", "add", host+"/24", "dev", "eth0").Run() // it may be there
		f.serve(addr)
	}
}

// serve starts a server that answers with the machine's name, at an address or with any.
func (f *farm) serve(addr string) {
	f.m.b.t.Helper()
	var l net.Listener
	var err error
	f.m.inside(func() { l, err = net.Listen("tcp4", addr) })
	if err != nil {
		f.m.b.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, f.m.name) })}
	f.servers[addr] = s
	f.m.b.t.Cleanup(func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }() // until it is closed
}

// carries puts addresses on the machine for direct routing: it takes what is sent to them, and
// tells nobody that they are its own.
func (m *machine) carries(addrs ...string) {
	m.b.t.Helper()
	for _, addr := range addrs {
		m.b.run("ip", "-n", m.b.ns(m.name), "addr", "add", addr+"/32", "dev", "lo")
	}
	m.b.run("ip", "netns", "exec", m.b.ns(m.name), "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
}

// down ends servers, with their connections.
func (f *farm) down(addrs ...string) {
	for _, addr := range addrs {
		_ = f.servers[addr].Close()
	}
}

// table returns what `ipvsadm -Sn` says on the machine, sorted.
func (m *machine) table() []string {
	m.b.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", m.b.ns(m.name), "ipvsadm", "-Sn").CombinedOutput()
	if err != nil {
		m.b.t.Fatalf("ipvsadm: %v: %s", err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// look is how often these stories look at something.
const look = 300 * time.Millisecond

// become waits until the table is as expected.
func (m *machine) become(what string, table []string) {
	m.b.t.Helper()
	tick, late := time.NewTicker(look), time.After(20*time.Second)
	defer tick.Stop()
	for {
		is := m.table()
		if slices.Equal(is, table) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			m.b.t.Fatalf("%s: the table is\n%s\nwant\n%s\n%s", what, strings.Join(is, "\n"), strings.Join(table, "\n"), m.tail())
		}
	}
}

// checker starts the real keepalived for virtual servers.
func (m *machine) checker(conf string) {
	m.b.t.Helper()
	m.start("/usr/sbin/keepalived", "-n", "-l", "-D", "-C", "-f", conf, "-p", filepath.Join(m.dir, "k.pid"), "-c", filepath.Join(m.dir, "c.pid"))
}

// said returns what the machine's scripts were told: in order, of each real server and each quorum.
func (m *machine) said() map[string][]string {
	m.b.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "said"))
	if err != nil {
		m.b.t.Fatal(err)
	}
	said := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		about := strings.Join(words[1:3], " ")
		said[about] = append(said[about], strings.Join(words, " "))
	}
	return said
}

// order returns what the machine's scripts were told of a virtual server, in a few words and in order.
func (m *machine) order(server string) (words []string) {
	m.b.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "said"))
	if err != nil {
		m.b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[1] == server {
			words = append(words, strings.Join(f[2:4], " "))
		}
	}
	return words
}

// inOrder is what the scripts of tellConf's second virtual server are told: each is waited for.
var inOrder = []string{"12 up", "quorum up", "12 down", "quorum down", "12 up", "quorum up", "12 down", "quorum down"}

// tellScript writes down how it was called: its arguments, and what of its environment is not the
// shell's own.
const tellScript = `#!/bin/sh
echo "$# $* $(env | grep -vE '^(PWD|SHLVL|_|OLDPWD)=' | sort | tr '\n' ' ')" >>@DIR@/said
`

const tellConf = `global_defs {
    router_id d
    script_user root
    lvs_timeouts tcp 600
}
virtual_server 10.2.0.100 80 {
    delay_loop 0.4
    lb_algo wrr
    lb_kind NAT
    protocol TCP
    quorum 2
    hysteresis 1
    quorum_up "@DIR@/tell web quorum up"
    quorum_down "@DIR@/tell web quorum down"
    sorry_server 10.2.0.99 80
    retry 1
    delay_before_retry 0.2
    connect_timeout 1
    real_server 10.2.0.11 80 {
        weight WEIGHT
        notify_up "@DIR@/tell web 11 up"
        notify_down "@DIR@/tell web 11 down"
        TCP_CHECK {
        }
    }
    real_server 10.2.0.12 80 {
        notify_up "@DIR@/tell web 12 up"
        notify_down "@DIR@/tell web 12 down"
        HTTP_GET {
            url {
                path /
                status_code 200
            }
        }
    }
    real_server 10.2.0.13 80 {
        inhibit_on_failure
        notify_up "@DIR@/tell web 13 up"
        notify_down "@DIR@/tell web 13 down"
        TCP_CHECK {
        }
    }
}
virtual_server 10.2.0.100 81 {
    delay_loop 0.4
    lb_algo rr
    lb_kind DR
    protocol TCP
    persistence_timeout 60
    alpha
    omega
    quorum_up "@DIR@/tell other quorum up"
    quorum_down "@DIR@/tell other quorum down"
    real_server 10.2.0.12 81 {
        notify_up "@DIR@/tell other 12 up"
        notify_down "@DIR@/tell other 12 down"
        TCP_CHECK {
            connect_port 80
            connect_timeout 1
            retry 0
        }
    }
}
`

const moreConf = `
virtual_server fwmark 7 {
    delay_loop 1
    lb_algo wlc
    lb_kind NAT
    real_server 10.2.0.14 80 {
        weight 3
    }
}
`

// TestVMTablesAsKeepalived tells one story to keepalived and to solovip. After each step the
// kernel has the same table, line by line, and in the end the same scripts were called in the
// same way.
func TestVMTablesAsKeepalived(t *testing.T) {
	balanced(t, &balancers, func(t *testing.T) {
		b := newBench(t, "10.2.0")
		s := newFarm(b.machine("s", 10))
		const first, second, third = "10.2.0.11:80", "10.2.0.12:80", "10.2.0.13:80"
		s.up(first, second, third)
		theirs, ours := b.machine("k", 2), b.machine("d", 1)
		conf := func(m *machine, weight, more string) {
			m.write("a.conf", strings.ReplaceAll(tellConf, "WEIGHT", weight)+more, 0o644)
		}
		reload := func(weight, more string) {
			for _, m := range []*machine{theirs, ours} {
				conf(m, weight, more)
				m.signal(syscall.SIGHUP)
			}
		}
		for _, m := range []*machine{theirs, ours} {
			m.write("tell", tellScript, 0o755)
			conf(m, "1", "")
		}
		theirs.checker(filepath.Join(theirs.dir, "a.conf"))
		ours.solovip(filepath.Join(ours.dir, "a.conf"))
		before := []string{}
		for _, step := range []struct {
			what    string
			do      func()
			changes bool
		}{
			{"at the start", func() {}, true},
			{"one server is down", func() { s.down(third) }, true},
			{"two are down", func() { s.down(second) }, true},
			{"all are down", func() { s.down(first) }, true},
			{"one is up, too little for quorum", func() { s.up(third) }, false},
			{"two are up, too little for quorum and enough for the other", func() { s.up(second) }, true},
			{"all are up", func() { s.up(first) }, true},
			{"reloaded with another weight and another service", func() { reload("5", moreConf) }, true},
			{"reloaded back", func() { reload("1", "") }, true},
			{"reloaded with an error", func() { // keepalived would use what it can read
				conf(ours, "9", moreConf+"virtual_server 10.2.0.100 82 {")
				ours.signal(syscall.SIGHUP)
			}, false},
			{"stopped", func() { ours.stop(); theirs.stop() }, true},
		} {
			step.do()
			before = agree(t, step.what, ours, theirs, before, step.changes)
		}
		if got := ours.order("other"); !slices.Equal(got, inOrder) {
			t.Errorf("our scripts were called in the order %q, want %q", got, inOrder)
		}
		// keepalived does not wait for its scripts: what it calls in one instant may write in any order.
		want, is := theirs.said(), ours.said()
		if len(want) == 0 {
			t.Error("keepalived called no script")
		}
		if d := cmp.Diff(want, is); d != "" {
			t.Errorf("the scripts were called so (-keepalived +ours):\n%s", d)
		}
	})
}

// agree waits until both machines have the same table and keep it: another one than before
// if the step changes it.
func agree(t *testing.T, what string, ours, theirs *machine, before []string, changes bool) []string {
	t.Helper()
	const still = 1200 * time.Millisecond // longer than anything takes in these configurations
	tick, late := time.NewTicker(look), time.After(30*time.Second)
	defer tick.Stop()
	var was []string
	for since := time.Now(); ; {
		is, want := ours.table(), theirs.table()
		if !slices.Equal(is, want) || !slices.Equal(is, was) || changes == slices.Equal(is, before) {
			since, was = time.Now(), is
		}
		if time.Since(since) >= still {
			t.Logf("%s:\n%s", what, strings.Join(is, "\n"))
			return is
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: the table is\n%s\nkeepalived's is\n%s\n%s", what, strings.Join(is, "\n"), strings.Join(want, "\n"), ours.tail())
		}
	}
}
