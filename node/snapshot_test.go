package node

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/golden"
)

// scene runs commands of the scripts and returns the node's snapshot at their end.
func scene(t *testing.T, commands string) Snapshot {
	t.Helper()
	var s scriptRun
	for line := range strings.SplitSeq(strings.TrimSpace(commands), "\n") {
		if err := s.command(strings.TrimSpace(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if s.w.problem != "" {
			t.Fatalf("%s: %s", line, s.w.problem)
		}
	}
	return s.w.node.Snapshot(s.w.now)
}

// holderScene and backupScene are the two sides that a cluster is looked at from.
const (
	holderScene = "start\npeer n2\nrun 10s"
	backupScene = "start\npeer n2 state=MASTER holds token=1 priority=200\nadvert n2 200\nrun 10s"
	leasedScene = "start\nlease n2 on\nlease n2 take VI_1\nrun 4s\npeer n2 state=MASTER holds token=1 priority=200\nadvert n2 200\nrun 6s"
)

// TestSnapshots compares what a status shows of a holder and of a backup in each mode
// with testdata/snapshots.golden. It is a stable contract: fields are added, never changed.
func TestSnapshots(t *testing.T) {
	const file = "testdata/snapshots.golden"
	var got bytes.Buffer
	for _, c := range []struct{ title, scene string }{
		{"plain VRRP, master", "node\nstart\nrun 10s"},
		{"plain VRRP, just started", "node script=check\nstart\nrun 1s"},
		{"veto, holder", "node mode=veto peers=n2 guarded\n" + holderScene},
		{"veto, backup", "node mode=veto peers=n2 guarded\n" + backupScene},
		{"quorum, holder", "node mode=quorum peers=n2 witnesses=w1\npeer w1\n" + holderScene},
		{"quorum, backup", "node mode=quorum peers=n2 witnesses=w1\n" + backupScene},
		{"lease, holder", "node mode=lease peers=n2 guarded group=G\npeer n2 alive\n" + holderScene},
		{"lease, backup", "node mode=lease peers=n2 guarded\n" + leasedScene},
		{"lease, holder while the witness is silent", "node mode=lease peers=n2 guarded\n" + holderScene + "\nwitness down\nrun 5s"},
	} {
		text, err := json.MarshalIndent(scene(t, c.scene), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("# " + c.title + "\n" + string(text) + "\n\n")
	}
	golden.File(t, file, got.String())
}

// TestWhatIf has the words for what would happen next.
func TestWhatIf(t *testing.T) {
	for _, c := range []struct{ name, scene, witness, peers string }{
		{
			"lease, holder", "node mode=lease peers=n2\n" + holderScene,
			"this node keeps the claim by promises of all other nodes, for as long as they all answer",
			"this node keeps the claim by its lease",
		},
		{
			"lease, holder, a peer not heard", "node mode=lease peers=n2,n3\n" + holderScene,
			"this node lets go within 2.84s: n3 is not heard and cannot promise",
			"this node keeps the claim by its lease",
		},
		{
			"lease, backup", "node mode=lease peers=n2\n" + leasedScene,
			"nobody takes over from a holder that dies until the witness is back; a handover in order still works",
			"this node takes the claim once the holder has not renewed its lease for 3s, and not before",
		},
		{
			"lease, holder by promises", "node mode=lease peers=n2\n" + holderScene + "\nwitness down\nrun 5s",
			"this node keeps the claim by promises of all other nodes, for as long as they all answer",
			"this node lets go within 2.84s: the witness is silent too",
		},
		{
			"lease, backup, witness silent", "node mode=lease peers=n2\n" + leasedScene + "\nwitness down\nrun 5s",
			"nobody takes over from a holder that dies until the witness is back; a handover in order still works",
			"nothing is taken: the witness is silent too",
		},
		{
			"quorum, holder", "node mode=quorum peers=n2 witnesses=w1\n" + holderScene,
			"no witness is configured: nothing would change",
			"this node lets go within 2.84s unless a majority of voters answers",
		},
		{
			"quorum, backup", "node mode=quorum peers=n2 witnesses=w1\nstart",
			"no witness is configured: nothing would change",
			"this node takes the claim only with promises of a majority of voters",
		},
		{
			"veto, holder", "node mode=veto peers=n2\n" + holderScene,
			"no witness is configured: nothing would change",
			"this node keeps the claim; on_isolation of the peer decides whether there are two holders",
		},
		{
			"veto, backup, hold", "node mode=veto peers=n2\nstart",
			"no witness is configured: nothing would change",
			"this node does not take the claim (on_isolation hold)",
		},
		{
			"veto, backup, claim", "node mode=veto peers=n2 isolation=claim\nstart",
			"no witness is configured: nothing would change",
			"this node takes the claim after 3.414s (on_isolation claim); two holders if the peer lives",
		},
		{
			"vrrp, holder", "node\nstart\nrun 5s",
			"no witness is configured: nothing would change",
			"this node keeps the claim; a peer that is only cut off takes it too: two holders",
		},
		{
			"vrrp, backup", "node\nstart",
			"no witness is configured: nothing would change",
			"this node takes the claim after 3.414s, even if the peer lives and holds it: two holders",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim := scene(t, c.scene).Claims[0]
			if claim.WitnessLost != c.witness {
				t.Errorf("if the witness is lost: %q\nwant %q", claim.WitnessLost, c.witness)
			}
			if claim.PeersLost != c.peers {
				t.Errorf("if the peers are lost: %q\nwant %q", claim.PeersLost, c.peers)
			}
		})
	}
}

func TestSafety(t *testing.T) {
	for _, c := range []struct {
		name, scene string
		want        Safety
	}{
		{"vrrp", "node\nstart", Unsafe},
		{"veto", "node mode=veto peers=n2\n" + holderScene, Unsafe},
		{"lease, all well", "node mode=lease peers=n2\n" + holderScene, Safe},
		{"lease, a peer not heard", "node mode=lease peers=n2,n3\n" + holderScene, Degraded},
		{"lease, a peer heard last two seconds ago", "node mode=lease peers=n2\n" + holderScene + "\npeer n2 silent\nrun 2s", Degraded},
		{"lease, witness silent", "node mode=lease peers=n2\n" + holderScene + "\nwitness down\nrun 3s", Degraded},
		{"quorum, all well", "node mode=quorum peers=n2 witnesses=w1\npeer w1\n" + holderScene, Safe},
		{"quorum, a voter not heard", "node mode=quorum peers=n2 witnesses=w1\n" + holderScene, Degraded},
	} {
		if got := scene(t, c.scene); got.Safety != c.want || got.SafetyWhy == "" {
			t.Errorf("%s: %s (%s), want %s", c.name, got.Safety, got.SafetyWhy, c.want)
		}
	}
}

// TestKnownHolder says who holds the claim, and by what that is known.
func TestKnownHolder(t *testing.T) {
	for _, c := range []struct{ name, scene, holder, by string }{
		{"this node", "node mode=lease peers=n2\n" + holderScene, "n1", "this node"},
		{"nobody", "node mode=lease peers=n2\nstart", "", ""},
		{"by the mesh", "node mode=lease peers=n2\n" + backupScene, "n2", "mesh, direct, 0s ago"},
		{"by a relay", "node mode=veto peers=n2 witnesses=w1\nstart\npeer n2 holds via=w1\nrun 500ms", "n2", "mesh, via w1, 100ms ago"},
		{"by the witness", "node mode=lease peers=n2\nstart\nlease n2 on\nlease n2 take VI_1\nrun 5s", "n2", "witness, renewed 577ms ago"},
		{"by adverts", "node peers=n2\nstart\nadvert n2 200\nrun 5500ms", "10.0.0.12", "vrrp advert, 500ms ago"},
		{"released: nobody", "node mode=lease peers=n2\nstart\nlease n2 on\nlease n2 take VI_1\nrun 3100ms\nlease n2 release VI_1 n3\nrun 100ms", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := sceneClaim(t, c.scene)
			if got.Holder != c.holder || got.HolderBy != c.by {
				t.Errorf("%q by %q, want %q by %q", got.Holder, got.HolderBy, c.holder, c.by)
			}
		})
	}
}

func sceneClaim(t *testing.T, commands string) ClaimSnapshot {
	t.Helper()
	return scene(t, commands).Claims[0]
}

// TestSnapshotBeforeStart: the daemon serves its status while it still waits for the first
// states of links and scripts.
func TestSnapshotBeforeStart(t *testing.T) {
	for _, mode := range []arbiter.Mode{arbiter.ModeNone, arbiter.ModeVRRP, arbiter.ModeVeto, arbiter.ModeQuorum, arbiter.ModeLease} {
		cfg := defaultConfig()
		cfg.Mode, cfg.Peers = mode, []string{"n2"}
		n, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.Step(testStart, PeerReport{Report: arbiter.Report{Node: "n2", Incarnation: 1, Seq: 1, Claims: []arbiter.ClaimReport{{Claim: "VI_1", Holds: true}}}})
		n.Step(testStart, PeerAsked{Request: arbiter.Request{ID: 1, Kind: arbiter.RequestPromise, From: "n2", Claim: "VI_1"}})
		n.Step(testStart, Link{Interface: "eth0", Up: true})
		s := n.Snapshot(testStart)
		if s.UptimeMS != -1 || s.Claims[0].State != "INIT" || s.Claims[0].RemainingMS != -1 {
			t.Errorf("mode %v: %+v", mode, s)
		}
		if at := n.Deadline(testStart); !at.IsZero() {
			t.Errorf("mode %v: before its start the node wants a tick in %v", mode, at.Sub(testStart))
		}
	}
}

// TestSnapshotShowsTimeLeft: what remains of the permission is what a person asks first.
func TestSnapshotShowsTimeLeft(t *testing.T) {
	s := scene(t, "node mode=lease peers=n2\n"+holderScene+"\nwitness down\npeer n2 promises=no\nrun 2s")
	if left := time.Duration(s.Claims[0].RemainingMS) * time.Millisecond; left <= 0 || left > time.Second {
		t.Errorf("%v left, want the last part of the permission", left)
	}
	if s.Witness == nil || !s.Witness.Silent || s.Witness.Error == "" {
		t.Errorf("witness %+v, want it silent, with the error", s.Witness)
	}
}
