package ipvs

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs"
)

// foreign is a service that is not ours.
const foreign = "TCP 10.0.0.77:80 rr\n  10.9.0.7:80 NAT weight 1\n"

// addForeign adds it.
func (d *director) addForeign() {
	d.t.Helper()
	d.run("ipvsadm -A -t 10.0.0.77:80 -s rr")
	d.run("ipvsadm -a -t 10.0.0.77:80 -r 10.9.0.7:80 -m")
}

// byAddress compares destinations without their order.
var byAddress = cmpopts.SortSlices(func(a, b lvs.Destination) int { return a.Addr.Compare(b.Addr) })

// TestVMRepair: whatever somebody changes of ours in the kernel is put right, once and for good;
// what is not ours is left alone.
func TestVMRepair(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.NAT)
		v := pair(lvs.Forwarding{}, lvs.Service{Scheduler: "wrr", Persistence: time.Minute, Engine: "sip"}, lvs.AddressKey(lvs.UDP, netip.MustParseAddrPort("10.0.0.1:5060")))
		gue := lvs.Forwarding{Method: lvs.TUN, Tunnel: lvs.GUE, Port: 5555, Checksum: lvs.WithChecksum}
		tunnels := pair(gue, lvs.Service{Scheduler: "sh", Flags: lvs.SchedFlag1}, tcp("10.0.0.1:80"))
		tunnels.Name = "tunnels"
		d := direct(t, "d1", lvs.Config{
			Servers:  []lvs.VirtualServer{v, tunnels},
			Timeouts: lvs.Timeouts{TCP: 100 * time.Second},
			Sync:     &lvs.Sync{Daemon: lvs.Daemon{Interface: "eth0", ID: 3, Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}},
		})
		d.addForeign()
		d.audit()
		want := d.read()
		const service, tunnel = "-u 10.0.0.1:5060", "-t 10.0.0.1:80"
		for _, command := range []string{
			"-C",
			"-D " + service,
			"-E " + service + " -s wrr -p 60",
			"-E " + service + " -s wlc -p 60 --pe sip",
			"-E " + service + " -s wrr -p 61 --pe sip",
			"-E " + service + " -s wrr -p 60 -M 255.255.0.0 --pe sip",
			"-E " + tunnel + " -s sh -b sh-fallback,sh-port",
			"-e " + service + " -r 10.2.0.1:80 -m -w 2",
			"-e " + service + " -r 10.2.0.1:80 -m -x 10 -y 5",
			"-e " + tunnel + " -r 10.2.0.1:80 -g",
			"-e " + tunnel + " -r 10.2.0.2:80 -i --tun-type gue --tun-port 5556 --tun-csum",
			"-e " + tunnel + " -r 10.2.0.2:80 -i --tun-type gre --tun-csum",
			"-d " + tunnel + " -r 10.2.0.1:80",
			"-a " + tunnel + " -r 10.2.0.3:80 -m",
			"--set 50 0 0",
			"--stop-daemon master",
			"--stop-daemon backup",
		} {
			d.run("ipvsadm " + command)
			if command == "-C" {
				d.addForeign()
			}
			before := d.b.Snapshot(d.now, nil).Repairs
			d.audit()
			if diff := cmp.Diff(want, d.read(), comparing, byAddress); diff != "" {
				t.Errorf("after ipvsadm %s (-want +got):\n%s", command, diff)
			}
			if after := d.b.Snapshot(d.now, nil).Repairs; after != before+1 && command != "--set 50 0 0" {
				t.Errorf("after ipvsadm %s: %d repairs are told", command, after-before)
			}
			d.audit()
			if again := d.b.Snapshot(d.now, nil).Repairs; again > before+1 {
				t.Errorf("ipvsadm %s is repaired twice", command)
			}
		}
	})
}

// TestVMFlush: lvs_flush takes away what others have left at the start; at the stop each way
// takes what it says.
func TestVMFlush(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		stage(t, lvs.NAT)
		web := []lvs.VirtualServer{pair(lvs.Forwarding{}, lvs.Service{Scheduler: "rr"}, tcp("10.0.0.1:80"))}
		const ours = "TCP 10.0.0.1:80 rr\n  10.2.0.2:80 NAT weight 1\n  10.2.0.1:80 NAT weight 1\n" // the newest first
		tests := []struct {
			name            string
			cfg             lvs.Config
			started, atStop string
		}{
			{"plain", lvs.Config{}, ours + foreign, foreign},
			{"lvs_flush", lvs.Config{Flush: true}, ours, ""},
			{"lvs_flush_on_stop VS", lvs.Config{OnStop: lvs.DeleteServices}, ours + foreign, foreign},
			{"lvs_flush_on_stop", lvs.Config{OnStop: lvs.FlushAll}, ours + foreign, ""},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				d := direct(t, "d1", lvs.Config{}) // empties the table
				d.addForeign()
				tt.cfg.Servers = web
				var err error
				if d.b, err = lvs.New(tt.cfg); err != nil {
					t.Fatal(err)
				}
				d.send(lvs.Start{})
				if got := d.read().Table.String(); got != tt.started {
					t.Errorf("after the start:\n%swant:\n%s", got, tt.started)
				}
				d.send(lvs.Stop{})
				if got := d.read().Table.String(); got != tt.atStop {
					t.Errorf("after the stop:\n%swant:\n%s", got, tt.atStop)
				}
			})
		}
	})
}
