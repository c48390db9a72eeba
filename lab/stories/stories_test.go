package stories_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var get = flag.String("get", "", "what TestGetPage fetches")

// TestGetPage is a helper that machine.get runs in another namespace.
func TestGetPage(t *testing.T) {
	if *get == "" {
		return // nothing to fetch: it is not run as a helper
	}
	text, err := page(*get)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("PAGE " + text)
}

// starter starts a daemon on a machine: solovip, or keepalived to compare with.
type starter func(m *machine, conf string)

func eachDaemon(t *testing.T, story func(t *testing.T, start starter)) {
	t.Helper()
	t.Run("solovip", func(t *testing.T) { story(t, (*machine).solovip) })
	t.Run("keepalived", func(t *testing.T) { story(t, (*machine).keepalived) })
}

const nginxConf = `pid @DIR@/nginx.pid; error_log @DIR@/nginx.err; events {}
http { access_log off; client_body_temp_path @DIR@; proxy_temp_path @DIR@; fastcgi_temp_path @DIR@; uwsgi_temp_path @DIR@; scgi_temp_path @DIR@;
server { listen 80; location / { return 200 "%s\n"; } } }
`

// nginxNotify does what its author's script does, without the mail: it starts nginx on
// the master and stops it elsewhere.
const nginxNotify = `#!/bin/sh
echo "$1" >> @DIR@/states
case "$1" in
master) /usr/sbin/nginx -c @DIR@/nginx.conf ;;
*) test ! -f @DIR@/nginx.pid || kill $(cat @DIR@/nginx.pid) ;;
esac
exit 0
`

// nginxNode is a node of the nginx pair, as its author wrote it.
const nginxNode = `! Configuration File for keepalived
global_defs {
   notification_email {
      root@localhost
   }
   notification_email_from kanotify@example.com
   smtp_connect_timeout 10
   smtp_server 127.0.0.1
   router_id nginx-%[1]s
}
vrrp_script chk_nginx {
    script "killall -0 nginx"
    interval 1
    weight -2
    fall 3
    rise 1
}
vrrp_instance VI_1 {
    interface eth0
    state %[2]s
    priority %[3]d
    virtual_router_id 11
    garp_master_delay 1
    authentication {
        auth_type PASS
        auth_pass magedu
    }
    track_interface {
       eth0
    }
    virtual_ipaddress {
        192.168.30.30/24 dev eth0 label eth0:0
    }
    track_script {
        chk_nginx
    }
    notify_master "@DIR@/notify.sh master"
    notify_backup "@DIR@/notify.sh backup"
    notify_fault "@DIR@/notify.sh fault"
}
`

// TestNginxPair is a pair whose notify scripts start nginx on the master only: node 2
// alone becomes MASTER in about 4 s, node 1 starts and takes over, and when node 1 is
// stopped the address and the service move.
func TestNginxPair(t *testing.T) {
	t.Parallel() // with other stories, but not its halves: killall finds every nginx
	need(t, "killall")
	eachDaemon(t, func(t *testing.T, start starter) {
		b := newBench(t, "192.168.30")
		n1, n2, c1 := b.machine("n1", 11), b.machine("n2", 12), b.machine("c1", 50)
		conf := map[*machine]string{}
		for m, text := range map[*machine]string{
			n1: fmt.Sprintf(nginxNode, "node1", "MASTER", 100),
			n2: fmt.Sprintf(nginxNode, "node2", "BACKUP", 99),
		} {
			m.write("nginx.conf", fmt.Sprintf(nginxConf, m.name), 0o644)
			m.write("notify.sh", nginxNotify, 0o755)
			conf[m] = m.write("keepalived.conf", text, 0o644)
			t.Cleanup(func() { stopNginx(m) })
		}
		serves := func(m *machine) func() bool {
			return func() bool { return m.has("192.168.30.30", "eth0:0") && c1.get("http://192.168.30.30/") == m.name }
		}

		start(n2, conf[n2])
		took := b.await(10*time.Second, "n2 alone is master", func() bool { return n2.has("192.168.30.30", "eth0:0") }, n2)
		t.Logf("n2 alone: master after %v", took.Round(10*time.Millisecond))
		if took < 3*time.Second || took > 6*time.Second {
			t.Errorf("n2 alone was master after %v, want about 4 s", took)
		}
		b.await(5*time.Second, "n2 serves", serves(n2), n2)
		start(n1, conf[n1])
		took = b.await(15*time.Second, "n1 takes over", serves(n1), n1, n2)
		t.Logf("n1 took over after %v", took.Round(10*time.Millisecond))
		b.await(5*time.Second, "n2 lets go", func() bool { return !n2.has("192.168.30.30", "") }, n1, n2)
		n1.stop()
		took = b.await(10*time.Second, "the address and the service move to n2", serves(n2), n1, n2)
		t.Logf("n2 had both after %v", took.Round(10*time.Millisecond))
		if n1.has("192.168.30.30", "") {
			t.Error("the stopped n1 still has the address")
		}
		states, err := os.ReadFile(filepath.Join(n2.dir, "states"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(string(states)), " "); got != "backup master backup master" {
			t.Errorf("n2's notify script was run with %q, want: backup master backup master", got)
		}
	})
}

func stopNginx(m *machine) {
	text, err := os.ReadFile(filepath.Join(m.dir, "nginx.pid"))
	if err != nil {
		return // it does not run
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err == nil {
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
	}
}

const simpleNode = `! Configuration File for keepalived
global_defs {
router_id simplehttp_%[1]s
}
vrrp_script check {
script "@DIR@/check.sh"
interval 1
}
vrrp_instance VI_1 {
state BACKUP
nopreempt
interface eth0
virtual_router_id 51
priority %[2]d
advert_int 1
authentication {
auth_type PASS
auth_pass 1111
}
virtual_ipaddress {
172.16.75.11
}
track_script {
check
}
}
`

// TestSimpleHTTPPair is a pair with nopreempt and a check without weight: a node whose
// service dies gives the address away, and takes nothing back when it returns.
func TestSimpleHTTPPair(t *testing.T) {
	t.Parallel()
	eachDaemon(t, func(t *testing.T, start starter) {
		b := newBench(t, "172.16.75")
		n1, n2 := b.machine("n1", 170), b.machine("n2", 171)
		conf := map[*machine]string{}
		for m, priority := range map[*machine]int{n1: 100, n2: 70} {
			m.write("check.sh", "#!/bin/sh\ntest -f @DIR@/alive\n", 0o755)
			m.write("alive", "", 0o644)
			conf[m] = m.write("keepalived.conf", fmt.Sprintf(simpleNode, m.name, priority), 0o644)
		}
		holds := func(m *machine) func() bool {
			return func() bool { return m.has("172.16.75.11", "") }
		}
		start(n1, conf[n1])
		b.await(10*time.Second, "n1 is master", holds(n1), n1)
		start(n2, conf[n2])
		if err := os.Remove(filepath.Join(n1.dir, "alive")); err != nil {
			t.Fatal(err)
		}
		b.await(10*time.Second, "n2 takes over when n1's service dies", holds(n2), n1, n2)
		b.await(2*time.Second, "n1 lets go", func() bool { return !n1.has("172.16.75.11", "") }, n1, n2)
		n1.write("alive", "", 0o644)
		b.never(8*time.Second, "n1 took the address back in spite of nopreempt", holds(n1), n1, n2)
		n2.stop()
		b.await(10*time.Second, "n1 takes over when n2 is stopped", holds(n1), n1, n2)
	})
}

const plainNode = `vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 50
    priority %d
    advert_int 1
    %s
    virtual_ipaddress {
        10.99.0.3/24
    }
}
`

// TestMixedPair runs solovip and keepalived as each other's peer, as in a rolling
// upgrade: each as master and as backup, in both versions of the protocol.
func TestMixedPair(t *testing.T) {
	for name, extra := range map[string]string{
		"v2 with PASS": "authentication {\n auth_type PASS\n auth_pass 1111\n }",
		"v3":           "version 3",
		"v3 unicast":   "version 3\n unicast_src_ip @SELF@\n unicast_peer {\n @PEER@\n }",
	} {
		for _, first := range []string{"solovip", "keepalived"} {
			t.Run(name+", "+first+" preferred", func(t *testing.T) { mixed(t, extra, first == "solovip") })
		}
	}
}

func mixed(t *testing.T, extra string, solovipFirst bool) {
	t.Helper()
	t.Parallel()
	b := newBench(t, "10.99.0")
	n1, n2 := b.machine("n1", 11), b.machine("n2", 12)
	start1, start2 := starter((*machine).solovip), starter((*machine).keepalived)
	if !solovipFirst {
		start1, start2 = start2, start1
	}
	write := func(m, peer *machine, priority int) string {
		text := fmt.Sprintf(plainNode, priority, strings.NewReplacer("@SELF@", m.addr, "@PEER@", peer.addr).Replace(extra))
		return m.write("keepalived.conf", text, 0o644)
	}
	conf1, conf2 := write(n1, n2, 150), write(n2, n1, 100)
	only := func(m, other *machine) func() bool {
		return func() bool { return m.has("10.99.0.3", "") && !other.has("10.99.0.3", "") }
	}
	start2(n2, conf2)
	b.await(8*time.Second, "n2 alone is master", only(n2, n1), n2)
	start1(n1, conf1)
	b.await(10*time.Second, "n1 preempts", only(n1, n2), n1, n2)
	n1.stop()
	stopped := b.await(3*time.Second, "n2 takes over from a stopped n1", only(n2, n1), n1, n2)
	t.Logf("after a stop: %v", stopped.Round(10*time.Millisecond))
	start1(n1, conf1)
	b.await(10*time.Second, "n1 preempts again", only(n1, n2), n1, n2)
	b.run("ip", "-n", b.ns("sw"), "link", "set", "pn1", "down")
	n1.kill()
	crashed := b.await(5*time.Second, "n2 takes over from a crashed n1", func() bool { return n2.has("10.99.0.3", "") }, n1, n2)
	t.Logf("after a crash: %v", crashed.Round(10*time.Millisecond))
}

// TestReload changes a running node: a file with errors changes nothing, a good one
// moves only what it changes.
func TestReload(t *testing.T) {
	t.Parallel()
	b := newBench(t, "10.98.0")
	n1 := b.machine("n1", 11)
	instance := func(name string, vrid int, vip string) string {
		return fmt.Sprintf("vrrp_instance %s {\n interface eth0\n virtual_router_id %d\n priority 100\n virtual_ipaddress {\n %s/24\n }\n}\n", name, vrid, vip)
	}
	conf := n1.write("a.conf", instance("VI_1", 51, "10.98.0.101"), 0o644)
	n1.solovip(conf)
	b.await(8*time.Second, "VI_1 is held", func() bool { return n1.has("10.98.0.101", "") }, n1)

	n1.write("a.conf", instance("VI_1", 51, "10.98.0.101")+"vrrp_instance VI_2 {\n", 0o644)
	n1.signal(syscall.SIGHUP)
	b.await(5*time.Second, "the bad file is refused", func() bool { return strings.Contains(n1.tail(), "reload refused") }, n1)
	if !n1.has("10.98.0.101", "") {
		t.Error("a bad file took the address off")
	}
	n1.write("a.conf", instance("VI_1", 51, "10.98.0.101")+instance("VI_2", 52, "10.98.0.102"), 0o644)
	n1.signal(syscall.SIGHUP)
	b.never(3*time.Second, "VI_1 was dropped by a reload that leaves it as it is", func() bool { return !n1.has("10.98.0.101", "") }, n1)
	b.await(5*time.Second, "VI_2 is held too", func() bool { return n1.has("10.98.0.102", "") }, n1)
	n1.write("a.conf", instance("VI_2", 52, "10.98.0.102"), 0o644)
	n1.signal(syscall.SIGHUP)
	b.await(5*time.Second, "VI_1 is gone", func() bool { return !n1.has("10.98.0.101", "") }, n1)
	if !n1.has("10.98.0.102", "") {
		t.Error("VI_2 was dropped too")
	}
	n1.stop()
	if n1.has("10.98.0.102", "") {
		t.Error("the stopped node still has an address")
	}
}
