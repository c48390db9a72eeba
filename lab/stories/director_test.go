package stories_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// bare is a machine whose kernel has no IPVS.
var bare = vmtest.Shared{Name: "bare", Machine: vm.Machine{
	Modules: []string{"veth", "bridge"}, Programs: []string{"ip", "/usr/sbin/nginx"}, Env: []string{binaryEnv + "=/solovip"},
}}

// command returns what the command of a machine's solovip prints, and its exit code.
func (m *machine) command(args ...string) (string, int) {
	m.b.t.Helper()
	bin, err := binary()
	if err != nil {
		m.b.t.Fatal(err)
	}
	out, err := exec.Command(bin, append(args, "--run-dir", filepath.Join(m.dir, "run"))...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.b.t.Fatal(err)
	}
	if exit != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

// must returns what the command prints, which has to succeed.
func (m *machine) must(args ...string) string {
	m.b.t.Helper()
	out, code := m.command(args...)
	if code != 0 {
		m.b.t.Fatalf("solovip %s: exit code %d: %s\n%s", strings.Join(args, " "), code, out, m.tail())
	}
	return out
}

// connection is a connection of a client that stays.
type connection struct {
	net.Conn
	answers *bufio.Reader
}

// connect opens a connection from the machine.
func (m *machine) connect(addr string) (connection, error) {
	m.b.t.Helper()
	var c net.Conn
	var err error
	m.inside(func() { c, err = net.DialTimeout("tcp4", addr, 2*time.Second) })
	if err != nil {
		return connection{}, err
	}
	m.b.t.Cleanup(func() { _ = c.Close() }) // the story may have closed it
	return connection{c, bufio.NewReader(c)}, nil
}

// ask returns who answers on the connection.
func (c connection) ask() (string, error) {
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}

// fetch returns who answers a new connection from the machine; empty: nobody.
func (m *machine) fetch(addr string) string {
	m.b.t.Helper()
	c, err := m.connect(addr)
	if err != nil {
		return ""
	}
	defer c.Close()
	who, _ := c.ask() // nobody
	return who
}

const directorConf = `global_defs {
    router_id d
}
vrrp_instance VI_1 {
    interface eth0
    state BACKUP
    virtual_router_id 21
    priority 100
    advert_int 1
    virtual_ipaddress {
        10.2.0.100/32 dev eth0
    }
}
`

const directedConf = `virtual_server 10.2.0.100 80 {
    delay_loop 1
    lb_algo rr
    lb_kind DR
    protocol TCP
    retry 0
    real_server 10.2.0.11 80 {
        TCP_CHECK {
            connect_timeout 1
        }
    }
    real_server 10.2.0.12 80 {
        TCP_CHECK {
            connect_timeout 1
        }
    }
}
`

// directed is a director with a virtual address, two real servers and a client.
func directed(t *testing.T, conf string) (d, c *machine, second *farm) {
	t.Helper()
	b := newBench(t, "10.2.0")
	d, c, second = b.machine("d", 1), b.machine("c", 9), newFarm(b.machine("s2", 12))
	for _, s := range []*farm{newFarm(b.machine("s1", 11)), second} {
		s.m.carries("10.2.0.100")
		s.serve(":80")
	}
	d.solovip(d.write("a.conf", conf, 0o644))
	return d, c, second
}

const (
	service  = "-A -t 10.2.0.100:80 -s rr"
	toFirst  = "-a -t 10.2.0.100:80 -r 10.2.0.11:80 -g -w 1"
	toSecond = "-a -t 10.2.0.100:80 -r 10.2.0.12:80 -g -w 1"
)

// TestVMWorkerForVirtualServersDies kills it, freezes it, and has the program started anew. All
// the time the address answers, and the table is as it was: the server that was down
// does not come back on the way. The connection that is there goes on.
func TestVMWorkerForVirtualServersDies(t *testing.T) {
	balanced(t, &balancers, func(t *testing.T) {
		d, c, s2 := directed(t, directorConf+directedConf)
		d.become("both are up", []string{service, toFirst, toSecond})
		d.b.await(20*time.Second, "the director has the address", func() bool { return d.has("10.2.0.100", "") }, d)
		s2.down(":80")
		table := []string{service, toFirst}
		d.become("the second is down", table)
		d.b.await(10*time.Second, "that is written down", func() bool {
			text, _ := os.ReadFile(filepath.Join(d.dir, "run/lvs/results.json")) // not there yet
			return strings.Contains(string(text), `"Up":false`)
		}, d)
		there, err := c.connect("10.2.0.100:80")
		if err != nil {
			t.Fatal(err, d.tail())
		}
		vrrp := d.number("run/control.lock")
		for _, step := range []struct {
			what string
			do   func(worker int)
		}{
			{"killed", func(worker int) { _ = syscall.Kill(worker, syscall.SIGKILL) }},
			{"frozen", func(worker int) { _ = syscall.Kill(worker, syscall.SIGSTOP) }},
			{"the program is started anew", func(int) { d.must("node", "--take-over"); vrrp = d.number("run/control.lock") }},
		} {
			before := d.number("run/lvs/control.lock")
			step.do(before)
			ok := false
			d.b.never(4*time.Second, step.what+": an address, the table or the connection went", func() bool {
				who, err := there.ask()
				ok = ok || d.number("run/lvs/control.lock") != before
				return !d.has("10.2.0.100", "") || !slices.Equal(d.table(), table) || err != nil || who != "s1"
			}, d)
			if !ok || lives(before) || d.number("run/control.lock") != vrrp {
				t.Errorf("%s: the worker was replaced: %t; the other one is as it was: %t\n%s", step.what, ok, d.number("run/control.lock") == vrrp, d.tail())
			}
		}
		s2.serve(":80")
		d.become("checks go on", []string{service, toFirst, toSecond})
		d.stop()
		if table := d.table(); len(table) > 0 || d.has("10.2.0.100", "") {
			t.Errorf("left by an orderly stop: %v, the address: %t", table, d.has("10.2.0.100", ""))
		}
	})
}

// TestVMOperators has virtual servers alone in the file, and operators who drain, weigh and
// disable. What they say is kept over a restart and shown.
func TestVMOperators(t *testing.T) {
	balanced(t, &balancers, func(t *testing.T) {
		d, c, _ := directed(t, directedConf)
		d.b.run("ip", "-n", d.b.ns("d"), "addr", "add", "10.2.0.100/32", "dev", "eth0") // somebody else's
		d.become("at the start", []string{service, toFirst, toSecond})
		conns := map[string]connection{}
		for range 2 { // by rr one to each
			one, err := c.connect("10.2.0.100:80")
			if err != nil {
				t.Fatal(err, d.tail())
			}
			who, err := one.ask()
			if err != nil {
				t.Fatal(err)
			}
			conns[who] = one
		}
		drained := []string{service, strings.Replace(toFirst, "-w 1", "-w 0", 1), toSecond}
		if out := d.must("lvs", "drain", "10.2.0.11:80"); !strings.Contains(out, "in 1 of 1 virtual servers") {
			t.Errorf("drain says %q", out)
		}
		d.become("drained", drained)
		for range 3 {
			if who := c.fetch("10.2.0.100:80"); who != "s2" {
				t.Errorf("a new connection went to %q while s1 is drained", who)
			}
		}
		if who, err := conns["s1"].ask(); err != nil || who != "s1" {
			t.Errorf("the connection to the drained server: %q, %v", who, err)
		}
		var list struct {
			Servers []struct {
				Reals []struct {
					Addr, Override string
					Connections    struct{ Active int }
				}
			}
		}
		if err := json.Unmarshal([]byte(d.must("lvs", "list", "--json")), &list); err != nil || len(list.Servers) != 1 {
			t.Fatal(err, list)
		}
		if r := list.Servers[0].Reals[0]; r.Addr != "10.2.0.11:80" || r.Override != "drain" || r.Connections.Active != 1 {
			t.Errorf("listed: %+v", r)
		}
		if out := d.must("status"); !strings.Contains(out, "OPERATOR says drain of real server 10.2.0.11:80") {
			t.Errorf("status says\n%s", out)
		}
		d.stop()
		d.solovip(filepath.Join(d.dir, "a.conf"))
		d.become("drained, after a restart", drained)

		d.must("lvs", "weight", "10.2.0.11", "7")
		d.become("weighted", []string{service, strings.Replace(toFirst, "-w 1", "-w 7", 1), toSecond})
		if out, code := d.command("lvs", "disable", "10.2.0.12:80"); code != 2 || !strings.Contains(out, "--yes") {
			t.Errorf("disable does not ask: %d, %s", code, out)
		}
		d.must("lvs", "disable", "--yes", "10.2.0.12:80")
		d.become("disabled", []string{service, strings.Replace(toFirst, "-w 1", "-w 7", 1)})
		d.must("lvs", "enable", "10.2.0.11")
		d.must("lvs", "enable", "10.2.0.12")
		d.become("enabled", []string{service, toFirst, toSecond})
		if out, code := d.command("lvs", "drain", "10.2.0.77"); code != 1 || !strings.Contains(out, "there is no real server 10.2.0.77") {
			t.Errorf("a server that is not there: %d, %s", code, out)
		}

		// The worker comes and goes with the virtual servers.
		reload := func(conf string) { d.write("a.conf", conf, 0o644); d.signal(syscall.SIGHUP) }
		reload(directorConf)
		d.become("without virtual servers", nil)
		d.b.await(10*time.Second, "lvs list says that there are none", func() bool {
			out, code := d.command("lvs", "list")
			return code == 1 && strings.Contains(out, "virtual_server")
		}, d)
		reload(directorConf + directedConf)
		d.become("with them again", []string{service, toFirst, toSecond})

		// -I leaves the table, and the next start goes on with it.
		d.stop()
		d.become("after a stop", nil)
		bin, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		d.start(bin, "node", "-I", "-f", filepath.Join(d.dir, "a.conf"), "--run-dir", filepath.Join(d.dir, "run"), "--state-dir", filepath.Join(d.dir, "state"))
		d.become("started with -I", []string{service, toFirst, toSecond})
		d.stop()
		d.become("left by -I", []string{service, toFirst, toSecond})
	})
}

const syncConf = `global_defs {
    router_id NAME
    lvs_sync_daemon eth0 VI_1
}
vrrp_instance VI_1 {
    interface eth0
    state BACKUP
    virtual_router_id 21
    priority PRIORITY
    advert_int 0.2
    version 3
    virtual_ipaddress {
        10.2.0.100/32 dev eth0
    }
}
virtual_server 10.2.0.100 80 {
    lb_algo rr
    lb_kind DR
    protocol TCP
    ha_suspend
    delay_loop 1
    real_server 10.2.0.11 80 {
        TCP_CHECK {
            connect_timeout 1
            retry 0
        }
    }
}
`

// TestVMFollowsTheInstance: the sync daemon is master where the instance is, and checks with
// ha_suspend are made where the address is; also after the death of either worker.
func TestVMFollowsTheInstance(t *testing.T) {
	balanced(t, &directors, func(t *testing.T) {
		b := newBench(t, "10.2.0")
		newFarm(b.machine("s1", 11)).serve(":80")
		n1, n2 := b.machine("n1", 1), b.machine("n2", 2)
		for m, priority := range map[*machine]string{n1: "150", n2: "100"} {
			conf := strings.NewReplacer("NAME", m.name, "PRIORITY", priority).Replace(syncConf)
			m.solovip(m.write("a.conf", conf, 0o644))
		}
		roles := func(what string, master, backup *machine) {
			t.Helper()
			b.await(20*time.Second, what, func() bool {
				return master.role() == "master" && !master.suspended() && backup.role() == "backup" && backup.suspended()
			}, master, backup)
		}
		roles("n1 is master", n1, n2)
		_ = syscall.Kill(n1.number("run/lvs/control.lock"), syscall.SIGKILL)
		roles("n1 is master, with another worker for virtual servers", n1, n2)
		_ = syscall.Kill(n1.number("run/control.lock"), syscall.SIGSTOP)
		b.await(20*time.Second, "n1 hears nothing of its instance: that is not master", func() bool { return n1.role() == "backup" }, n1, n2)
		roles("n1 is master, with another worker for VRRP", n1, n2)
		n1.stop()
		b.await(20*time.Second, "n2 is master", func() bool { return n2.role() == "master" && !n2.suspended() }, n2)
	})
}

// role returns what the machine's sync daemons are: "master", "backup", both or none.
func (m *machine) role() string {
	m.b.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", m.b.ns(m.name), "ipvsadm", "-Ln", "--daemon").CombinedOutput()
	if err != nil {
		m.b.t.Fatalf("ipvsadm: %v: %s", err, out)
	}
	var roles []string
	for line := range strings.Lines(string(out)) {
		role, _, _ := strings.Cut(line, " sync daemon")
		roles = append(roles, role)
	}
	return strings.Join(roles, " ")
}

// suspended reports whether the checks of the machine's virtual server rest.
func (m *machine) suspended() bool {
	m.b.t.Helper()
	out, _ := m.command("lvs", "list") // not there yet: not suspended
	return strings.Contains(out, "checks rest")
}

// TestVMWithoutIPVS: a kernel without it is said so, is asked again, and has nothing to do with
// the address.
func TestVMWithoutIPVS(t *testing.T) {
	balanced(t, &bare, func(t *testing.T) {
		d := newBench(t, "10.2.0").machine("d", 1)
		d.solovip(d.write("a.conf", directorConf+directedConf, 0o644))
		d.b.await(20*time.Second, "the address is on, and the log says what is missing", func() bool {
			return d.has("10.2.0.100", "") && d.told("load the module ip_vs") > 0
		}, d)
		if out := d.must("lvs", "list"); !strings.Contains(out, "the kernel has no IPVS") || !strings.Contains(out, "10.2.0.11:80") {
			t.Errorf("lvs list says\n%s", out)
		}
		if out := d.must("status"); !strings.Contains(out, "the kernel has no IPVS") {
			t.Errorf("status says\n%s", out)
		}
		d.b.never(3*time.Second, "the address went", func() bool { return !d.has("10.2.0.100", "") }, d)
		if n := d.told("the table of IPVS cannot be read"); n != 1 {
			t.Errorf("told %d times, want once\n%s", n, d.tail())
		}
		d.stop()
	})
}

// TestVMDualMaster plays configs of two directors, each of which has one of two addresses and
// takes both when the other one is told to go, over two web servers and a page that says sorry.
func TestVMDualMaster(t *testing.T) {
	balanced(t, &directors, func(t *testing.T) {
		b := newBench(t, "192.168.30")
		c, s1, s2 := b.machine("c", 9), newFarm(b.machine("s1", 13)), newFarm(b.machine("s2", 14))
		const vip1, vip2 = "192.168.30.31", "192.168.30.32"
		for _, s := range []*farm{s1, s2} {
			s.m.carries(vip1, vip2)
			s.serve(":80")
		}
		n1, n2 := b.machine("n1", 11), b.machine("n2", 12)
		for m, conf := range map[*machine]string{n1: "testdata/lvs-dual-master-node1.conf", n2: "testdata/lvs-dual-master-node2.conf"} {
			newFarm(m).serve(":80") // the page that says sorry
			text, err := os.ReadFile(conf)
			if err != nil {
				t.Fatal(err)
			}
			m.solovip(m.write("a.conf", strings.ReplaceAll(string(text), "/etc/keepalived/", m.dir+"/"), 0o644))
		}
		var both []string
		for _, vip := range []string{vip1, vip2} {
			both = append(both, fmt.Sprintf("-A -t %s:80 -s rr -p 30", vip))
			for _, real := range []string{"192.168.30.13", "192.168.30.14"} {
				both = append(both, fmt.Sprintf("-a -t %s:80 -r %s:80 -g -w 1", vip, real))
			}
		}
		slices.Sort(both)
		b.await(20*time.Second, "each director has one address", func() bool {
			return n1.has(vip1, "eth0:0") && !n1.has(vip2, "") && n2.has(vip2, "eth0:1") && !n2.has(vip1, "")
		}, n1, n2)
		for _, m := range []*machine{n1, n2} {
			m.become("both servers are up", both)
		}
		answers := func(what string, names ...string) {
			t.Helper()
			for _, vip := range []string{vip1, vip2} {
				b.await(30*time.Second, what+": "+vip, func() bool { return slices.Contains(names, c.fetch(vip+":80")) }, n1, n2)
			}
		}
		answers("a server answers", "s1", "s2")

		down := n1.write("down1", "", 0o644)
		b.await(20*time.Second, "n2 has both", func() bool { return n2.has(vip1, "") && n2.has(vip2, "") && !n1.has(vip1, "") }, n1, n2)
		answers("a server answers by n2", "s1", "s2")
		if err := os.Remove(down); err != nil {
			t.Fatal(err)
		}
		b.await(20*time.Second, "n1 has its own again", func() bool { return n1.has(vip1, "") && !n2.has(vip1, "") }, n1, n2)

		s1.down(":80")
		answers("the other server answers", "s2")
		s2.down(":80")
		for vip, name := range map[string]string{vip1: "n1", vip2: "n2"} {
			b.await(40*time.Second, "the director says sorry: "+vip, func() bool { return c.fetch(vip+":80") == name }, n1, n2)
		}
		s1.serve(":80")
		answers("the server that is back answers", "s1")
	})
}
