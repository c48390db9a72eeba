package ipvs

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vmtest"
	"github.com/solovip/solovip/lvs"
)

// TestVMFailover: two directors, of which one is MASTER; the sync daemon tells the other one
// of its connections. When the other one becomes MASTER a connection goes on there, to the same
// server, and persistence does too; without the sync daemon it is cut.
func TestVMFailover(t *testing.T) {
	vmtest.Test(t, &machine, func(t *testing.T) {
		// Each has a service of its own, which has no connections yet.
		t.Run("NAT", func(t *testing.T) { failover(t, "10.0.0.40:80", lvs.NAT, true) })
		t.Run("DR", func(t *testing.T) { failover(t, "10.0.0.41:80", lvs.DR, true) })
		t.Run("without", func(t *testing.T) { failover(t, "10.0.0.42:80", lvs.NAT, false) })
	})
}

func failover(t *testing.T, service string, method lvs.Method, synced bool) {
	t.Helper()
	stage(t, method)
	cfg := lvs.Config{Servers: []lvs.VirtualServer{pair(lvs.Forwarding{Method: method}, lvs.Service{Scheduler: "rr", Persistence: time.Minute}, tcp(service))}}
	if synced {
		cfg.Sync = &lvs.Sync{Instance: "VI_1", Daemon: lvs.Daemon{
			Interface: "eth0", ID: 51, Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81"),
		}}
	}
	d1, d2 := direct(t, "d1", cfg), direct(t, "d2", cfg)
	d1.send(lvs.Instance{Name: "VI_1", Master: true})
	c := connect(t, service)
	name := who(t, c)
	if synced {
		if one, two := d1.read().Daemons, d2.read().Daemons; one[lvs.Master] == nil || one[lvs.Backup] != nil || two[lvs.Master] != nil || two[lvs.Backup] == nil {
			t.Fatalf("sync daemons %v of the MASTER and %v of the BACKUP", one, two)
		}
		// The kernel tells of a connection that has had three packets, at the latest after two seconds.
		for deadline := time.Now().Add(limit); d2.established(service) == 0; {
			if time.Now().After(deadline) {
				t.Fatalf("the other director has heard of nothing:\n%s%s", d1.run("ipvsadm -Lnc"), d2.run("ipvsadm -Lnc"))
			}
			who(t, c)
		}
	}

	d1.send(lvs.Instance{Name: "VI_1"})
	d2.send(lvs.Instance{Name: "VI_1", Master: true})
	route(t, "d2", method)
	now, err := ask(c)
	if !synced {
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection goes to %q, %v; want it cut", now, err)
		}
		return
	}
	if err != nil || now != name {
		t.Errorf("the connection to %s goes to %q after the failover, %v", name, now, err)
	}
	expect(t, "new connections of the client after the failover", map[string]int{name: 3}, shares(t, 3, service))
}

// established is how many established connections of a service a director knows.
func (d *director) established(service string) int {
	d.t.Helper()
	n := 0
	for line := range strings.Lines(d.run("ipvsadm -Lnc")) {
		if strings.Contains(line, service) && strings.Contains(line, "ESTABLISHED") {
			n++
		}
	}
	return n
}
