package node

import (
	"testing"

	"github.com/solovip/solovip/vrrp"
)

// TestEffectivePriority is keepalived's arithmetic of weights.
func TestEffectivePriority(t *testing.T) {
	script := func(weight int, reverse bool) Track { return Track{Name: "check", Weight: weight, Reverse: reverse} }
	link := func(weight int) Track { return Track{Name: "eth0", Weight: weight} }
	for _, c := range []struct {
		name     string
		base     uint8
		scripts  []Track
		links    []Track
		up       bool // the script, and the link
		priority uint8
		fault    string
	}{
		{name: "nothing tracked", base: 100, priority: 100},
		{name: "weight 0, up", base: 100, scripts: []Track{script(0, false)}, up: true, priority: 100},
		{name: "weight 0, down", base: 100, scripts: []Track{script(0, false)}, priority: 100, fault: "script check is down"},
		{name: "positive weight, up", base: 100, scripts: []Track{script(20, false)}, up: true, priority: 120},
		{name: "positive weight, down", base: 100, scripts: []Track{script(20, false)}, priority: 100},
		{name: "negative weight, up", base: 100, scripts: []Track{script(-20, false)}, up: true, priority: 100},
		{name: "negative weight, down", base: 100, scripts: []Track{script(-20, false)}, priority: 80},
		{name: "reversed positive weight, up", base: 100, scripts: []Track{script(20, true)}, up: true, priority: 100},
		{name: "reversed positive weight, down", base: 100, scripts: []Track{script(20, true)}, priority: 120},
		{name: "reversed negative weight, up", base: 100, scripts: []Track{script(-20, true)}, up: true, priority: 80},
		{name: "reversed negative weight, down", base: 100, scripts: []Track{script(-20, true)}, priority: 100},
		{name: "interface, down", base: 100, links: []Track{link(0)}, priority: 100, fault: "interface eth0 is down"},
		{name: "interface with weight, down", base: 100, links: []Track{link(-30)}, priority: 70},
		{name: "sum of all", base: 100, scripts: []Track{script(20, false)}, links: []Track{link(7)}, up: true, priority: 127},
		{name: "the first fault is named", base: 100, scripts: []Track{script(0, false)}, links: []Track{link(0)}, priority: 100, fault: "interface eth0 is down"},
		{name: "a fault and a weight", base: 100, scripts: []Track{script(-20, false)}, links: []Track{link(0)}, priority: 80, fault: "interface eth0 is down"},
		{name: "never above 254", base: 250, scripts: []Track{script(20, false)}, up: true, priority: 254},
		{name: "never below 1", base: 10, scripts: []Track{script(-253, false)}, priority: 1},
		{name: "clamped after the sum, not between", base: 250, scripts: []Track{script(20, false)}, links: []Track{{Name: "eth0", Weight: -100, Reverse: true}}, up: true, priority: 170},
		{name: "an address owner has no weights", base: 255, scripts: []Track{script(-253, false)}, priority: 255},
		{name: "an address owner can be at fault", base: 255, scripts: []Track{script(0, false)}, priority: 255, fault: "script check is down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &Node{links: map[string]bool{"eth0": c.up}, scripts: map[string]bool{"check": c.up}}
			priority, fault := n.effective(InstanceConfig{VRRP: vrrp.Config{Priority: c.base}, Scripts: c.scripts, Interfaces: c.links})
			if priority != c.priority || fault != c.fault {
				t.Errorf("priority %d, fault %q; want %d, %q", priority, fault, c.priority, c.fault)
			}
		})
	}
}

// TestUnknownCountsAsDown: what nobody has said anything of yet.
func TestUnknownCountsAsDown(t *testing.T) {
	n := &Node{}
	if _, fault := n.effective(InstanceConfig{Interfaces: []Track{{Name: "eth9"}}}); fault == "" {
		t.Error("an interface of which nothing is known counts as up")
	}
}

// TestClaimPriority: a sync group is as good as its weakest instance.
func TestClaimPriority(t *testing.T) {
	s := sceneClaim(t, "node group=G script=check:-40\nscript check up\nstart")
	if s.Priority != 150 {
		t.Errorf("priority %d, want 150", s.Priority)
	}
	weak := defaultConfig()
	weak.Claims[0].Instances = append(weak.Claims[0].Instances, testInstance("VI_2", 52))
	weak.Claims[0].Instances[1].VRRP.Priority = 90
	n, err := New(weak)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.claims["VI_1"].priority(); got != 90 {
		t.Errorf("priority %d, want the lower one, 90", got)
	}
}

func TestNewRefuses(t *testing.T) {
	bad := defaultConfig()
	bad.Claims[0].Instances[0].VRRP.VRID = 0
	if _, err := New(bad); err == nil {
		t.Error("an instance without a VRID is accepted")
	}
	unsafe := defaultConfig()
	unsafe.Mode = 4
	unsafe.Timing.Hold = unsafe.Timing.Wait
	if _, err := New(unsafe); err == nil {
		t.Error("a lease with unsafe timing is accepted")
	}
}

func TestSame(t *testing.T) {
	a := defaultConfig().Claims[0]
	b := defaultConfig().Claims[0]
	if b.Token = 9; !a.Same(b) {
		t.Error("another stored token makes it another claim")
	}
	if b.Version = "2"; a.Same(b) {
		t.Error("another version does not make it another claim")
	}
}
