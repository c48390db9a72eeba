package ipvs

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/ipvs"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs"
)

// machine is where there is IPVS.
var machine = vmtest.Shared{Name: "ipvs", Machine: vm.Machine{
	Modules: []string{"ipip"},
	Spare: []string{
		"ip_vs", // which Open has the kernel load
		"ip_vs_rr", "ip_vs_wrr", "ip_vs_wlc", "ip_vs_sh", "ip_vs_mh", "ip_vs_lblcr", "ip_vs_nq", "ip_vs_pe_sip", "dummy",
		"nf_conntrack_sip", "veth", "bridge", "nf_tables",
	},
	Programs: []string{"ip", "ipvsadm", "nft"},
}}

// bare is where there is none.
var bare = vmtest.Shared{Name: "bare", Machine: vm.Machine{Modules: []string{"dummy"}}}

// TestVMNotLoaded: a kernel without IPVS is told, with the remedy, and asked anew each time.
func TestVMNotLoaded(t *testing.T) {
	vmtest.Test(t, &bare, func(t *testing.T) {
		for range 2 {
			c, err := Open(t.Context(), Config{})
			if !errors.Is(err, ErrNotLoaded) || !strings.Contains(err.Error(), "modprobe ip_vs") {
				t.Fatalf("opened %v, %v", c, err)
			}
		}
	})
}

// TestVMDeadline: what does not end is ended, and does not spoil what comes next.
func TestVMDeadline(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		c := open(t)
		err := c.by(50*time.Millisecond, func(h *moby.Handle) error {
			for { // a socket that is closed is all that ends it
				if err := h.Flush(); err != nil {
					return err
				}
			}
		})
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if _, err := c.Read(); err != nil {
			t.Error(err)
		}
	})
}

// open connects to the kernel of the machine, whose table is empty then.
func open(t *testing.T) *Conn {
	t.Helper()
	c, err := Open(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Apply([]lvs.Step{lvs.Flush{}}); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a program in the machine and returns what it prints.
func run(t *testing.T, command string) string {
	t.Helper()
	f := strings.Fields(command)
	out, err := exec.Command(f[0], f[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// bring makes the kernel's table the wanted one and returns the steps it took.
func bring(t *testing.T, c *Conn, wanted lvs.Table) []lvs.Step {
	t.Helper()
	before, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	steps := lvs.Diff(before.Table, wanted)
	if err := c.Apply(steps); err != nil {
		t.Fatalf("%v\nkernel before:\n%swanted:\n%s", err, before.Table, wanted)
	}
	after, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	if rest := lvs.Diff(after.Table, wanted); len(rest) > 0 {
		t.Fatalf("still to do: %v\nkernel:\n%s", rest, after.Table)
	}
	return steps
}

// TestVMEverything puts everything into the kernel that a service and a destination can
// have, and reads it again, by ourselves and by ipvsadm.
func TestVMEverything(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		c := open(t)
		wanted := make(lvs.Table)
		for key, s := range services() {
			e := lvs.Entry{Service: s}
			for _, d := range destinations() {
				if d.Forwarding.Method == lvs.TUN || !key.IPv6 {
					e.Destinations = append(e.Destinations, d)
				}
			}
			wanted[key] = e
		}
		sip := lvs.AddressKey(lvs.UDP, netip.MustParseAddrPort("10.0.0.3:5060"))
		wanted[sip] = lvs.Entry{Service: lvs.Service{Scheduler: "rr", Persistence: time.Minute, Engine: "sip"}}
		bring(t, c, wanted)
		got := strings.Split(strings.TrimSpace(run(t, "ipvsadm -Sn")), "\n")
		for i := range got {
			got[i] = strings.TrimSpace(got[i])
		}
		slices.Sort(got)
		want := []string{
			"-A -t 10.0.0.1:80 -s rr",
			"-A -u 10.0.0.1:53 -s sh -o -b sh-fallback",
			"-A -t 10.0.0.2:0 -s wlc -p 360 -M 255.255.255.0",
			"-A --sctp-service [2001:db8::1]:80 -s mh -p 60 -M 64 -b mh-port",
			"-A -f 7 -s lblcr -p 1",
			"-A -f 7 -6 -s nq",
			"-A -u 10.0.0.3:5060 -s rr -p 60 --pe sip",
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("ipvsadm does not say %q", w)
			}
		}
		for _, w := range []string{
			"-a -t 10.0.0.1:80 -r 10.9.0.1:8080 -m -w 65535",
			"-a -t 10.0.0.1:80 -r 10.9.0.2:80 -g -w 0",
			"-a -t 10.0.0.1:80 -r 10.9.0.3:80 -i -w 1 --tun-type ipip",
			"-a -t 10.0.0.1:80 -r 10.9.0.4:80 -i -w 1 --tun-type gue --tun-port 5555 --tun-remcsum",
			"-a -t 10.0.0.1:80 -r [2001:db8::9]:80 -i -w 1 --tun-type gre --tun-csum",
		} {
			if !slices.Contains(got, w) {
				t.Errorf("ipvsadm does not say %q", w)
			}
		}
		if t.Failed() {
			t.Log(strings.Join(got, "\n"))
		}
	})
}

// randomTable returns a table of few services and destinations, so that two of them overlap.
func randomTable(r *rand.Rand) lvs.Table {
	out := make(lvs.Table)
	all := services()
	keys := make([]lvs.ServiceKey, 0, len(all))
	for key := range all {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, lvs.ServiceKey.Compare)
	for _, key := range keys {
		if r.IntN(3) == 0 {
			continue
		}
		e := lvs.Entry{Service: all[key]}
		if r.IntN(2) == 0 {
			e.Service = lvs.Service{Scheduler: "wrr"}
		}
		for _, i := range r.Perm(5)[:r.IntN(6)] {
			d := destinations()[i]
			if key.IPv6 && !d.Addr.Addr().Is6() {
				d.Forwarding = lvs.Forwarding{Method: lvs.TUN}
			}
			if r.IntN(2) == 0 {
				d.Weight = r.IntN(5)
				d.Upper, d.Lower = uint32(r.IntN(3)), 0
			}
			e.Destinations = append(e.Destinations, d)
		}
		out[key] = e
	}
	return out
}

// TestVMRandomTables: whatever table the kernel has, the steps make the wanted one of it.
func TestVMRandomTables(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		c := open(t)
		seed := uint64(time.Now().UnixNano())
		r := rand.New(rand.NewPCG(seed, 6))
		t.Logf("seed %d", seed)
		steps := 0
		start := time.Now()
		for range 25 {
			steps += len(bring(t, c, randomTable(r)))
		}
		t.Logf("%d steps in %v", steps, time.Since(start).Round(time.Millisecond))
	})
}

// TestVMLocal: an address of this host is a destination of its own kind, and no reason to
// edit it for ever.
func TestVMLocal(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		run(t, "ip link set lo up")
		c := open(t)
		key := lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort("10.0.0.1:80"))
		sorry := lvs.Destination{Addr: netip.MustParseAddrPort("127.0.0.1:80"), Forwarding: lvs.Forwarding{Method: lvs.DR}, Weight: 1}
		bring(t, c, lvs.Table{key: {Service: lvs.Service{Scheduler: "rr"}, Destinations: []lvs.Destination{sorry}}})
		sorry.Weight = 5
		bring(t, c, lvs.Table{key: {Service: lvs.Service{Scheduler: "rr"}, Destinations: []lvs.Destination{sorry}}})
	})
}

// TestVMErrors: what fails is named with its step, and does not keep others from being done.
func TestVMErrors(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		c := open(t)
		bad := lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort("10.0.0.1:80"))
		good := lvs.AddressKey(lvs.TCP, netip.MustParseAddrPort("10.0.0.2:80"))
		dest := lvs.Destination{Addr: netip.MustParseAddrPort("10.9.0.1:80"), Weight: 1}
		err := c.Apply([]lvs.Step{
			lvs.AddService{Key: bad, Service: lvs.Service{Scheduler: "nosuch"}},
			lvs.AddDestination{Key: bad, Destination: dest},
			lvs.AddService{Key: good, Service: lvs.Service{Scheduler: "rr"}},
			lvs.AddDestination{Key: good, Destination: dest},
			lvs.DeleteService{Key: lvs.ServiceKey{FWMark: 99}},
		})
		if !errors.Is(err, syscall.ENOENT) || strings.Contains(err.Error(), "destination") || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("error: %v", err)
		}
		state, err := c.Read()
		if err != nil || len(state.Table) != 1 || len(state.Table[good].Destinations) != 1 {
			t.Errorf("table:\n%s, %v", state.Table, err)
		}
	})
}

// TestVMDaemonsAndTimeouts starts and stops sync daemons, and sets timeouts.
func TestVMDaemonsAndTimeouts(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		run(t, "ip link add d0 type dummy")
		run(t, "ip link set d0 up multicast on")
		run(t, "ip address add 10.5.0.1/24 dev d0")
		c := open(t)
		daemon := lvs.Daemon{Interface: "d0", ID: 7, MaxLen: 1400, Port: 8849, TTL: 2, Group: netip.MustParseAddr("224.0.0.82")}
		timeouts := lvs.Timeouts{TCP: 100 * time.Second, TCPFin: 20 * time.Second, UDP: 30 * time.Second}
		apply := func(steps ...lvs.Step) lvs.State {
			t.Helper()
			if err := c.Apply(steps); err != nil {
				t.Fatal(err)
			}
			state, err := c.Read()
			if err != nil {
				t.Fatal(err)
			}
			return state
		}
		state := apply(lvs.SetDaemon{Role: lvs.Backup, Daemon: &daemon}, lvs.SetTimeouts{Timeouts: timeouts})
		if diff := cmp.Diff([2]*lvs.Daemon{nil, &daemon}, state.Daemons, comparing); diff != "" || state.Timeouts != timeouts {
			t.Errorf("timeouts %s, daemons (-want +got):\n%s", state.Timeouts, diff)
		}
		state = apply(lvs.SetDaemon{Role: lvs.Backup}, lvs.SetDaemon{Role: lvs.Master, Daemon: &daemon}, lvs.SetTimeouts{Timeouts: lvs.Timeouts{UDP: 40 * time.Second}})
		if diff := cmp.Diff([2]*lvs.Daemon{&daemon, nil}, state.Daemons, comparing); diff != "" || state.Timeouts.UDP != 40*time.Second || state.Timeouts.TCP != timeouts.TCP {
			t.Errorf("timeouts %s, daemons (-want +got):\n%s", state.Timeouts, diff)
		}
		daemon.ID = 8 // in place
		if state = apply(lvs.SetDaemon{Role: lvs.Master, Daemon: &daemon}); state.Daemons[lvs.Master].ID != 8 {
			t.Errorf("daemon %s", state.Daemons[lvs.Master])
		}
		for range 5 { // a stop right after the start is one that the kernel may not answer
			apply(lvs.SetDaemon{Role: lvs.Backup, Daemon: &daemon}, lvs.SetDaemon{Role: lvs.Backup})
		}
		if state = apply(lvs.SetDaemon{Role: lvs.Master}, lvs.SetDaemon{Role: lvs.Backup}); state.Daemons != [2]*lvs.Daemon{} {
			t.Errorf("daemons %v are left", state.Daemons)
		}
	})
}

// TestVMBalancer lets a balancer drive the kernel: a server fails, the sorry server comes,
// somebody empties the table, and at the end nothing of ours is left.
func TestVMBalancer(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		c := open(t)
		addr := netip.MustParseAddrPort
		web := lvs.AddressKey(lvs.TCP, addr("10.0.0.1:80"))
		b, err := lvs.New(lvs.Config{Servers: []lvs.VirtualServer{{
			Name: "web", Keys: []lvs.ServiceKey{web}, Service: lvs.Service{Scheduler: "wlc"}, Quorum: 1,
			Sorry: &lvs.Sorry{Addr: addr("10.9.0.9:80")},
			Reals: []lvs.RealServer{{Addr: addr("10.9.0.1:80"), Weight: 3, Checks: []lvs.Check{{ID: "a"}}}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		var send func(ev lvs.Event)
		send = func(ev lvs.Event) {
			for _, a := range b.Step(now, ev) {
				switch a := a.(type) {
				case lvs.ReadKernel:
					state, err := c.Read()
					if err != nil {
						t.Fatal(err)
					}
					send(lvs.Kernel{ID: a.ID, State: state})
				case lvs.Apply:
					if err := c.Apply(a.Steps); err != nil {
						t.Fatal(err)
					}
					send(lvs.Applied{})
				case lvs.StartCheck, lvs.StopCheck, lvs.Notify, lvs.StoreOverrides, lvs.Respond, lvs.Tell, lvs.Stopped:
				}
			}
		}
		table := func(want string) {
			t.Helper()
			state, err := c.Read()
			if err != nil || state.Table.String() != want {
				t.Errorf("table:\n%swant:\n%s%v", state.Table, want, err)
			}
		}
		send(lvs.Start{})
		table("TCP 10.0.0.1:80 wlc\n  10.9.0.1:80 NAT weight 3\n")
		send(lvs.Checked{Results: []lvs.Result{{Check: "a"}}})
		table("TCP 10.0.0.1:80 wlc\n  10.9.0.9:80 NAT weight 1\n")
		run(t, "ipvsadm -C")
		run(t, "ipvsadm -A -t 10.0.0.77:80 -s rr")
		now = b.Deadline()
		send(lvs.Tick{})
		table("TCP 10.0.0.1:80 wlc\n  10.9.0.9:80 NAT weight 1\nTCP 10.0.0.77:80 rr\n")
		if snap := b.Snapshot(now, nil); snap.Repairs != 1 || !slices.Equal(snap.Foreign, []string{"TCP 10.0.0.77:80"}) {
			t.Errorf("%d repairs, foreign %v", snap.Repairs, snap.Foreign)
		}
		send(lvs.Stop{})
		table("TCP 10.0.0.77:80 rr\n")
	})
}
