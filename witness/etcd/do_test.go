package etcd_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
	"github.com/solovip/solovip/witness/server"
)

func node(name string, beat uint64) witness.NodeRecord {
	return witness.NodeRecord{Node: name, Incarnation: 7, Beat: beat, HoldMS: 600, LateMS: 100}
}

func claim(name, holder string) witness.ClaimRecord {
	return witness.ClaimRecord{Claim: name, Holder: holder, Incarnation: 7, Token: 1}
}

// One story of two nodes: each step is a Swap, and what the answer to it must show.
func TestDo(t *testing.T) {
	type (
		nodes  = map[string]witness.Versioned[witness.NodeRecord]
		claims = map[string]witness.Versioned[witness.ClaimRecord]
	)
	u, _ := serveNew(t)
	c := client(t, etcd.Config{Endpoints: []string{u}})
	// The first revision of an empty store is 1.
	steps := []struct {
		name     string
		swap     witness.Swap
		done     bool
		revision int64
		nodes    nodes
		claims   claims
	}{
		{"read when there is nothing", witness.Swap{}, true, 1, nil, nil},
		{"first record", renew("lb01", 0, 1), true, 2, nodes{"lb01": {Version: 2, Record: node("lb01", 1)}}, nil},
		{"first record again", renew("lb01", 0, 1), false, 2, nodes{"lb01": {Version: 2, Record: node("lb01", 1)}}, nil},
		{"another node takes", witness.Swap{
			IfNodes: map[string]int64{"lb02": 0}, IfClaims: map[string]int64{"VI_1": 0},
			Nodes: []witness.NodeRecord{node("lb02", 1)}, Claims: []witness.ClaimRecord{claim("VI_1", "lb02")},
		}, true, 3, nodes{"lb01": {Version: 2, Record: node("lb01", 1)}, "lb02": {Version: 3, Record: node("lb02", 1)}}, claims{"VI_1": {Version: 3, Record: claim("VI_1", "lb02")}}},
		{"nothing is written when one of the conditions fails", witness.Swap{
			IfNodes: map[string]int64{"lb01": 2}, IfClaims: map[string]int64{"VI_1": 0},
			Nodes: []witness.NodeRecord{node("lb01", 2)}, Claims: []witness.ClaimRecord{claim("VI_1", "lb01")},
		}, false, 3, nodes{"lb01": {Version: 2, Record: node("lb01", 1)}, "lb02": {Version: 3, Record: node("lb02", 1)}}, claims{"VI_1": {Version: 3, Record: claim("VI_1", "lb02")}}},
		{
			"renewal shows what it has written itself", renew("lb01", 2, 2), true, 4,
			nodes{"lb01": {Version: 4, Record: node("lb01", 2)}, "lb02": {Version: 3, Record: node("lb02", 1)}},
			claims{"VI_1": {Version: 3, Record: claim("VI_1", "lb02")}},
		},
	}
	var cluster uint64
	for _, s := range steps {
		got, err := c.Do(t.Context(), s.swap)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if cluster == 0 {
			cluster = got.ClusterID
		}
		want := witness.Outcome{Done: s.done, Observation: witness.Observation{
			ClusterID: cluster, Revision: s.revision, Term: got.Term, Nodes: s.nodes, Claims: s.claims, Complete: true,
		}}
		if diff := cmp.Diff(want, got); diff != "" || got.ClusterID == 0 || got.Term == 0 {
			t.Fatalf("%s (-want +got):\n%s", s.name, diff)
		}
	}
}

// Records of other clusters, and keys of a newer solovip, are none of our business.
func TestIgnoresOthers(t *testing.T) {
	l := &await.Log{}
	u, _ := serveNew(t)
	kv := raw(t, clientv3.Config{Endpoints: []string{u}})
	for _, key := range []string{"/solovip/edge2/nodes/lb01", "/solovip/edg/nodes/lb01", "/solovip/edge/quorum/x", "/other"} {
		if _, err := kv.Put(within(t), key, "{"); err != nil {
			t.Fatal(err)
		}
	}
	out := do(t, client(t, etcd.Config{Endpoints: []string{u}, Logger: l.Logger()}), renew("lb01", 0, 1))
	if !out.Done || len(out.Nodes) != 1 || len(out.Claims) != 0 || l.String() != "" {
		t.Errorf("got %+v and log %q, want only lb01", out, l)
	}
}

// A record that somebody has mangled must not stop the node from renewing its own.
func TestMangledRecord(t *testing.T) {
	l := &await.Log{}
	u, _ := serveNew(t)
	kv := raw(t, clientv3.Config{Endpoints: []string{u}})
	c := client(t, etcd.Config{Endpoints: []string{u}, Logger: l.Logger()})
	mangle := func(value string) {
		if _, err := kv.Put(within(t), "/solovip/edge/nodes/lb02", value); err != nil {
			t.Fatal(err)
		}
	}
	version := int64(0)
	step := func(complaints int) {
		t.Helper()
		out := do(t, c, renew("lb01", version, 1))
		version = out.Nodes["lb01"].Version
		if !out.Done || strings.Count(l.String(), "level=ERROR") != complaints {
			t.Fatalf("done %v, want true; want %d complaints in the log:\n%s", out.Done, complaints, l)
		}
	}
	mangle("{")
	step(1)
	mangle("{{")
	step(1) // once is enough
	mangle(string(witness.Encode(node("lb02", 1))))
	step(1)
	mangle("{")
	step(2) // but it was good meanwhile
	if !strings.Contains(l.String(), "key=/solovip/edge/nodes/lb02") {
		t.Errorf("the log must name the key:\n%s", l)
	}
	if out := do(t, c, renew("lb02", 0, 1)); out.Done {
		t.Error("a record that cannot be read was overwritten")
	}
}

func TestRestartKeepsVersions(t *testing.T) {
	cfg := server.Config{DataDir: t.TempDir(), ListenClient: []string{"http://" + freeAddr(t)}}
	stop := serve(t, cfg)
	c := client(t, etcd.Config{Endpoints: cfg.ListenClient, Timeout: 500 * time.Millisecond})
	before := do(t, c, renew("lb01", 0, 1))
	stop()
	serve(t, cfg)
	if took := recovered(t, c); took > recovery {
		t.Errorf("answered %v after the witness came back, want at most %v", took, recovery)
	}
	after := do(t, c, witness.Swap{})
	if after.Term <= before.Term {
		t.Errorf("term %d before the restart, %d after: nobody could tell that it was started anew", before.Term, after.Term)
	}
	after.Term = before.Term
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if out := do(t, c, renew("lb01", before.Nodes["lb01"].Version, 2)); !out.Done {
		t.Error("the version from before the restart does not count any more")
	}
}

// The client must show that its witness has forgotten everything.
func TestWipedWitness(t *testing.T) {
	addr := []string{"http://" + freeAddr(t)}
	stop := serve(t, server.Config{DataDir: t.TempDir(), ListenClient: addr})
	c := client(t, etcd.Config{Endpoints: addr})
	before := do(t, c, renew("lb01", 0, 1))
	stop()
	serve(t, server.Config{DataDir: t.TempDir(), ListenClient: addr})
	recovered(t, c)
	after := do(t, c, witness.Swap{})
	if after.ClusterID == before.ClusterID || after.Revision >= before.Revision || len(after.Nodes) != 0 {
		t.Errorf("before %+v, after the wipe %+v: want another cluster id, a lower revision and no record", before, after)
	}
}

// A full database is a lost witness: reading goes on, and it is not said that nothing was done, because
// etcd carries out the very transaction that fills it up and answers with this error.
func TestFullDatabase(t *testing.T) {
	cfg := server.Config{DataDir: t.TempDir(), ListenClient: []string{"http://" + freeAddr(t)}, QuotaBytes: 1 << 20}
	stop := serve(t, cfg)
	c := client(t, etcd.Config{Endpoints: cfg.ListenClient, Timeout: patience})
	kv := raw(t, clientv3.Config{Endpoints: cfg.ListenClient})
	for err := error(nil); err == nil; {
		_, err = kv.Put(within(t), "/junk", strings.Repeat("v", 50<<10))
	}
	_, err := c.Do(t.Context(), renew("lb01", 0, 1))
	if err == nil || errors.Is(err, etcd.ErrRefused) || !strings.Contains(err.Error(), "database space exceeded: restart solovip-witness") {
		t.Errorf("Do = %v, want an error in doubt with a remedy", err)
	}
	t.Log(err)
	do(t, c, witness.Swap{})
	stop()
	serve(t, cfg)
	recovered(t, c)
	if out := do(t, c, renew("lb01", 0, 1)); !out.Done {
		t.Error("the witness does not write again after a restart")
	}
}

func TestTooManyRecords(t *testing.T) {
	u, _ := serveNew(t)
	c := client(t, etcd.Config{Endpoints: []string{u}, Timeout: patience})
	var s witness.Swap
	for i := range 1025 {
		s.Claims = append(s.Claims, claim(fmt.Sprint("VI_", i), "lb01"))
	}
	_, err := c.Do(t.Context(), s)
	if !errors.Is(err, etcd.ErrRefused) || !strings.Contains(err.Error(), "too many operations in txn request: raise etcd's --max-txn-ops") {
		t.Errorf("Do = %v, want it refused with a remedy", err)
	}
	s.Claims = s.Claims[:1000]
	if out := do(t, c, s); len(out.Claims) != 1000 {
		t.Errorf("%d claims, want 1000", len(out.Claims))
	}
}

// BenchmarkDo measures one renewal of a node, with two nodes and five claims: time and bytes both ways.
func BenchmarkDo(b *testing.B) {
	u, _ := serveNew(b)
	p := newProxy(b, u)
	for _, test := range []struct{ name, url string }{{"direct", u}, {"counted", p.url}} {
		b.Run(test.name, func(b *testing.B) {
			c := client(b, etcd.Config{Endpoints: []string{test.url}, Timeout: patience})
			s := witness.Swap{Nodes: []witness.NodeRecord{node("lb01", 1), node("lb02", 1)}}
			for i := range 5 {
				s.Claims = append(s.Claims, claim(fmt.Sprint("VI_", i), "lb01"))
			}
			version, before := do(b, c, s).Nodes["lb01"].Version, p.count()
			for i := 0; b.Loop(); i++ {
				version = do(b, c, renew("lb01", version, uint64(i))).Nodes["lb01"].Version
			}
			if sent := p.count() - before; sent > 0 {
				b.ReportMetric(float64(sent)/float64(b.N), "bytes/op")
			}
		})
	}
}
