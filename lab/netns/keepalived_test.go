package netns_test

import (
	"testing"
	"time"

	"github.com/solovip/solovip/lab/scenario"
)

// The lab must see two holders where there are two, or its zero means nothing.
func TestKeepalivedSplitsWhenVRRPIsBlocked(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	f := play(t, shipped(t, "vrrp-blocked"), scenario.Keepalived, "").Figures
	// The other node waits for 3.6 s of the 8, and gives up within an advert of the end.
	for name, two := range map[string]time.Duration{
		"answering": f.TwoAnswering, "addressed": f.TwoAddressed, "serving": f.TwoServing,
	} {
		if two < 4*time.Second || two > 7*time.Second {
			t.Errorf("two %s for %v, want between 4s and 7s", name, two)
		}
	}
}

func TestKeepalivedTakesOverAfterPowerOff(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	f := play(t, shipped(t, "power-off"), scenario.Keepalived, "").Figures
	if len(f.Takeovers) != 1 {
		t.Fatalf("%d take-overs", len(f.Takeovers))
	}
	// 3.61 s from the last advert (RFC 9568, section 6.1), which came up to 1 s before.
	took := f.Takeovers[0]
	if took.To != "n2" || took.ARP < 2600*time.Millisecond || took.ARP > 3900*time.Millisecond {
		t.Errorf("%s answered after %v", took.To, took.ARP)
	}
	if took.Service < took.ARP || took.Service > took.ARP+time.Second {
		t.Errorf("service after %v, ARP after %v", took.Service, took.ARP)
	}
}

// Whoever can send a packet can take the VIP away from keepalived: nobody answers for it,
// and not for longer than the forged adverts last.
func TestKeepalivedObeysAForgedAdvert(t *testing.T) {
	needKeepalived(t)
	t.Parallel()
	f := play(t, shipped(t, "forged-advert"), scenario.Keepalived, "").Figures
	// 8 s of adverts, and n1's own master-down interval of 3.41 s.
	if f.Nobody < 7*time.Second || f.Nobody > 13*time.Second {
		t.Errorf("nobody answered for %v", f.Nobody)
	}
}

// What a daemon cannot do when it is killed or frozen, keepalived does not do: the lab
// must be able to tell.
func TestKeepalivedSplitsWhenItsDaemonCannotAct(t *testing.T) {
	needKeepalived(t)
	for _, name := range []string{"killed", "freeze"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := play(t, shipped(t, name), scenario.Keepalived, "").Figures
			if f.TwoAnswering < 4*time.Second {
				t.Errorf("two answered for %v only", f.TwoAnswering)
			}
		})
	}
}

// What the lab does beside two nodes and one VIP, it does to keepalived as well: it has to
// show what is known of that.
func TestKeepalivedInOtherPlaces(t *testing.T) {
	needKeepalived(t)
	for _, name := range []string{"default-firewall", "dual-master-blocked", "sync-group", "three-nodes", "vmac-many"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, shipped(t, name), scenario.Keepalived, "")
		})
	}
}
