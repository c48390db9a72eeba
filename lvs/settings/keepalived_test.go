package settings

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/lvs/ipvs"
)

// machine is where there is IPVS, and keepalived.
var machine = vmtest.Shared{Name: "keepalived", Machine: vm.Machine{
	Modules: []string{"ip_vs"},
	Spare: []string{
		"ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_sh", "ip_vs_mh", "ip_vs_dh",
		"ip_vs_fo", "ip_vs_ovf", "ip_vs_sed", "ip_vs_nq", "ip_vs_pe_sip", "nf_conntrack_sip", "dummy",
	},
	Programs: []string{"ip", "ipvsadm", "/usr/sbin/keepalived"},
}}

// TestVMKeepalivedAgrees: for each file of testdata the kernel's table is the same, line by
// line, under keepalived and under us.
func TestVMKeepalivedAgrees(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		files, err := filepath.Glob("testdata/vm-*.conf")
		if err != nil || len(files) == 0 {
			t.Fatal("no files", err)
		}
		for _, file := range files {
			file = filepath.Base(file)
			t.Run(file, func(t *testing.T) { agree(t, []string{"start " + file, "stop"}) })
		}
	})
}

// TestVMKeepalivedAgreesInTime: the same while servers fail and come again, over reloads, and
// beside services of others, after each step. Checks connect to servers of this process.
func TestVMKeepalivedAgreesInTime(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		const foreign = "ipvsadm -A -t 10.0.9.9:80 -s rr && ipvsadm -a -t 10.0.9.9:80 -r 10.9.0.9:80 -m"
		for name, steps := range map[string][]string{
			"failures": {
				"start story-failure.conf", "down 3", "down 2", "up 3", "up 2", "down 1", "down 2", "down 3", "up 1", "up 2", "up 3", "stop",
			},
			"down from the start": {"down 1", "down 2", "start story-failure.conf", "up 2", "up 1", "stop"},
			"weights": {
				"start story-weight.conf", "echo exit 22 >/run/weight", "echo exit 2 >/run/weight", "echo exit 1 >/run/weight", "echo exit 3 >/run/weight",
				"echo exit 255 >/run/weight", "echo exit 0 >/run/weight", "stop",
			},
			"reloads":                    {"start story-before.conf", "reload story-after.conf", "reload story-after.conf", "reload story-before.conf", "stop"},
			"reloads with a server down": {"start story-before.conf", "down 1", "reload story-after.conf", "down 2", "reload story-before.conf", "up 1", "up 2", "stop"},
			"others":                     {foreign, "start story-before.conf", "down 1", "reload story-after.conf", "stop"},
			"lvs_flush":                  {foreign, "start story-flush.conf", foreign, "stop"},
			"lvs_flush_on_stop VS":       {foreign, "start story-flush-vs.conf", "stop"},
		} {
			t.Run(name, func(t *testing.T) { agree(t, steps) })
		}
	})
}

// agree lets each of the two go through steps, and compares the table after each of them.
func agree(t *testing.T, steps []string) {
	t.Helper()
	conn, err := ipvs.Open(t.Context(), ipvs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	var states []lvs.State // as we leave them
	var tables [][]string
	take(t, conn, &balancer{t: t, conn: conn}, steps, func(string) {
		state, err := conn.Read()
		if err != nil {
			t.Fatal(err)
		}
		states, tables = append(states, state), append(tables, table(t))
	})
	take(t, conn, &keepalived{t: t}, steps, func(step string) {
		timeouts := await(t, conn, states[0])
		if diff := cmp.Diff(table(t), tables[0]); diff != "" || timeouts != states[0].Timeouts {
			t.Errorf("after %q: timeouts %s and %s, -keepalived +ours:\n%s", step, timeouts, states[0].Timeouts, diff)
		}
		states, tables = states[1:], tables[1:]
	})
}

// await waits until the kernel has a state, and has had it for a while, or for ten seconds. It returns
// the timeouts.
func await(t *testing.T, conn *ipvs.Conn, want lvs.State) lvs.Timeouts {
	t.Helper()
	const enough = 8 // looks
	for seen, deadline := 0, time.Now().Add(10*time.Second); ; {
		got, err := conn.Read()
		if err != nil {
			t.Fatal(err)
		}
		if seen++; len(lvs.Diff(got.Table, want.Table)) > 0 || got.Timeouts != want.Timeouts {
			seen = 0
		}
		if seen == enough || time.Now().After(deadline) {
			return got.Timeouts
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// prepare makes everything as it is before the first step.
func prepare(t *testing.T, conn *ipvs.Conn) *servers {
	t.Helper()
	if _, err := net.InterfaceByName("eth0"); err != nil {
		sh(t, "ip link add eth0 type dummy; ip link set eth0 up; ip address add 10.5.0.1/24 dev eth0")
	}
	if err := os.WriteFile("/run/weight", []byte("exit 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := conn.Apply([]lvs.Step{lvs.Flush{}, lvs.SetTimeouts{Timeouts: lvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &servers{}
	for i := range s {
		s.up(t, i)
	}
	t.Cleanup(s.close)
	return s
}

// servers are what checks connect to, by their number.
type servers [4]net.Listener

func (s *servers) up(t *testing.T, i int) {
	t.Helper()
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", 7000+i))
	if err != nil {
		t.Fatal(err)
	}
	s[i] = l
}

func (s *servers) down(i int) {
	if s[i] != nil {
		_ = s[i].Close() // nothing is in it
		s[i] = nil
	}
}

func (s *servers) close() {
	for i := range s {
		s.down(i)
	}
}

// side is one of the two.
type side interface {
	start(file string)
	reload(file string)
	stop()
	look() // checks, if it does not do so by itself
}

// take takes steps, from the beginning on: start or reload with a file, stop, up or down of a server,
// or a command of the shell. It calls after after each.
func take(t *testing.T, conn *ipvs.Conn, s side, steps []string, after func(step string)) {
	t.Helper()
	servers := prepare(t, conn)
	defer servers.close()
	for _, step := range steps {
		word, what, _ := strings.Cut(step, " ")
		switch number, _ := strconv.Atoi(what); word {
		case "start":
			s.start(what)
		case "reload":
			s.reload(what)
		case "stop":
			s.stop()
		case "up":
			servers.up(t, number)
		case "down":
			servers.down(number)
		default:
			sh(t, step)
		}
		s.look()
		after(step)
	}
}

// sh runs a command of the shell.
func sh(t *testing.T, command string) {
	t.Helper()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// table returns what `ipvsadm -Sn` says, sorted.
func table(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("ipvsadm", "-Sn").CombinedOutput()
	if err != nil {
		t.Fatalf("ipvsadm: %v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

// keepalived is the real one.
type keepalived struct {
	t    *testing.T
	cmd  *exec.Cmd
	file string
	log  bytes.Buffer
}

func (k *keepalived) start(file string) {
	k.t.Helper()
	dir := k.t.TempDir()
	k.file = dir + "/keepalived.conf"
	k.cmd = exec.Command("/usr/sbin/keepalived", "--dont-fork", "--log-console", "--check", "--use-file="+k.file, "--pid="+dir+"/pid", "--checkers_pid="+dir+"/checkers")
	k.cmd.Stdout, k.cmd.Stderr = &k.log, &k.log
	k.copy(file)
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(k.stop)
}

func (k *keepalived) copy(file string) {
	k.t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = os.WriteFile(k.file, data, 0o644)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *keepalived) reload(file string) {
	k.t.Helper()
	k.copy(file)
	if err := k.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keepalived) stop() {
	if k.cmd == nil {
		return
	}
	_ = k.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = k.cmd.Wait()                          // ended by our signal
	k.cmd = nil
	if k.t.Failed() {
		lines := strings.Split(k.log.String(), "\n")
		k.t.Log(strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}

func (*keepalived) look() {} // it does by itself

// balancer is ours, with checks that are made when they are asked for.
type balancer struct {
	t       *testing.T
	b       *lvs.Balancer
	conn    *ipvs.Conn
	s       Settings
	running map[lvs.CheckID]bool
}

func (o *balancer) start(file string) {
	o.t.Helper()
	o.s, o.running = load(o.t, file), make(map[lvs.CheckID]bool)
	var err error
	if o.b, err = lvs.New(o.s.LVS); err != nil {
		o.t.Fatal(err)
	}
	o.send(lvs.Start{})
}

func (o *balancer) reload(file string) {
	o.t.Helper()
	o.s = load(o.t, file)
	o.send(lvs.Reconfigure{Config: o.s.LVS})
}

func (o *balancer) stop() { o.send(lvs.Stop{}) }

func (o *balancer) send(ev lvs.Event) {
	o.t.Helper()
	for _, a := range o.b.Step(time.Now(), ev) {
		switch a := a.(type) {
		case lvs.ReadKernel:
			state, err := o.conn.Read()
			if err != nil {
				o.t.Fatal(err)
			}
			o.send(lvs.Kernel{ID: a.ID, State: state})
		case lvs.Apply:
			if err := o.conn.Apply(a.Steps); err != nil {
				o.t.Fatal(err)
			}
			o.send(lvs.Applied{})
		case lvs.StartCheck:
			o.running[a.Check] = true
		case lvs.StopCheck:
			delete(o.running, a.Check)
		case lvs.Notify, lvs.StoreOverrides, lvs.Respond, lvs.Tell, lvs.Stopped:
		}
	}
}

// look makes the checks that can be made here.
func (o *balancer) look() {
	o.t.Helper()
	for id := range o.running {
		r := lvs.Result{Check: id}
		switch check := o.s.Checks[id]; c := check.Check.(type) {
		case config.TCPCheck:
			if !check.Target.Addr().IsLoopback() {
				continue
			}
			l, err := net.DialTimeout("tcp4", check.Target.String(), time.Second)
			if r.Up = err == nil; r.Up {
				_ = l.Close() // nothing was said
			}
		case config.MiscCheck:
			err := exec.Command(c.Command.Args[0], c.Command.Args[1:]...).Run()
			r.Up, r.Adjust.Kind = err == nil, lvs.Add
			if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() >= 2 {
				r.Up, r.Adjust = true, lvs.Adjust{Kind: lvs.Set, Value: exit.ExitCode() - 2}
			}
		default:
			continue
		}
		o.send(lvs.Checked{Results: []lvs.Result{r}})
	}
}
