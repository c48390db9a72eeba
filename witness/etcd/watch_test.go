package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
	"github.com/solovip/solovip/witness/server"
)

// watch starts a Watch and returns what it delivers.
func watch(t *testing.T, c *etcd.Client) <-chan witness.Observation {
	t.Helper()
	seen := make(chan witness.Observation, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Watch(ctx, func(o witness.Observation) { seen <- o }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Watch = %v, want its context's error", err)
			}
		case <-time.After(patience):
			t.Error("Watch does not end with its context")
		}
	})
	return seen
}

func next(t *testing.T, seen <-chan witness.Observation) witness.Observation {
	t.Helper()
	select {
	case o := <-seen:
		return o
	case <-time.After(patience):
		t.Fatal("nothing was delivered")
		return witness.Observation{}
	}
}

// complete waits for the next complete Observation.
func complete(t *testing.T, seen <-chan witness.Observation) witness.Observation {
	t.Helper()
	for {
		if o := next(t, seen); o.Complete {
			return o
		}
	}
}

// settled waits until a change to lb09 is delivered by the watch itself: then it is up.
func settled(t *testing.T, c *etcd.Client, seen <-chan witness.Observation) {
	t.Helper()
	for i := range 100 {
		version := do(t, c, witness.Swap{}).Nodes["lb09"].Version
		want := do(t, c, renew("lb09", version, uint64(i))).Nodes["lb09"].Version
		deadline := time.After(time.Second)
		for waiting := true; waiting; {
			select {
			case o := <-seen:
				if !o.Complete && o.Nodes["lb09"].Version == want {
					return
				}
			case <-deadline:
				waiting = false
			}
		}
	}
	t.Fatal("the watch does not come up")
}

func TestWatch(t *testing.T) {
	u, _ := serveNew(t)
	c := client(t, etcd.Config{Endpoints: []string{u}})
	first := do(t, c, renew("lb01", 0, 1))
	seen := watch(t, c)
	if diff := cmp.Diff(first.Observation, next(t, seen)); diff != "" {
		t.Errorf("first delivery (-want +got):\n%s", diff)
	}
	settled(t, c, seen)

	swap := renew("lb01", first.Nodes["lb01"].Version, 2)
	swap.Claims = []witness.ClaimRecord{claim("VI_1", "lb01")}
	out := do(t, c, swap)
	want := witness.Observation{
		ClusterID: out.ClusterID, Revision: out.Revision, Claims: out.Claims,
		Nodes: map[string]witness.Versioned[witness.NodeRecord]{"lb01": out.Nodes["lb01"]},
	}
	if diff := cmp.Diff(want, next(t, seen)); diff != "" {
		t.Errorf("a change (-want +got):\n%s", diff)
	}

	kv := raw(t, clientv3.Config{Endpoints: []string{u}})
	for _, key := range []string{"/solovip/edge2/nodes/lb01", "/solovip/edge/nodes/lb01", "/solovip/edge/claims/VI_1"} {
		if _, err := kv.Put(within(t), key, "{"); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Delete(within(t), key); err != nil {
			t.Fatal(err)
		}
	}
	var gone []string
	for len(gone) < 2 {
		o := next(t, seen)
		for name := range maps.Keys(o.Nodes) {
			gone = append(gone, fmt.Sprint(name, o.Nodes[name].Version))
		}
		for name := range maps.Keys(o.Claims) {
			gone = append(gone, fmt.Sprint(name, o.Claims[name].Version))
		}
	}
	if diff := cmp.Diff([]string{"lb010", "VI_10"}, gone); diff != "" {
		t.Errorf("removed records are delivered with version 0 (-want +got):\n%s", diff)
	}
}

// After every kind of break the watch begins again, with a complete Observation.
func TestWatchAgain(t *testing.T) {
	t.Run("witness restarted", func(t *testing.T) {
		cfg := server.Config{DataDir: t.TempDir(), ListenClient: []string{"http://" + freeAddr(t)}}
		stop := serve(t, cfg)
		c := client(t, etcd.Config{Endpoints: cfg.ListenClient})
		seen := watch(t, c)
		complete(t, seen)
		settled(t, c, seen)
		stop()
		serve(t, cfg)
		complete(t, seen)
		settled(t, c, seen)
	})
	t.Run("witness wiped", func(t *testing.T) {
		addr := []string{"http://" + freeAddr(t)}
		stop := serve(t, server.Config{DataDir: t.TempDir(), ListenClient: addr})
		c := client(t, etcd.Config{Endpoints: addr})
		seen := watch(t, c)
		before := complete(t, seen)
		settled(t, c, seen)
		stop()
		serve(t, server.Config{DataDir: t.TempDir(), ListenClient: addr})
		if after := complete(t, seen); after.ClusterID == before.ClusterID {
			t.Errorf("cluster id %x again", after.ClusterID)
		}
		settled(t, c, seen)
	})
	t.Run("endpoint silent", func(t *testing.T) {
		u, _ := serveNew(t)
		p := newProxy(t, u)
		c := client(t, etcd.Config{Endpoints: []string{p.url, u}, Timeout: 500 * time.Millisecond})
		seen := watch(t, c)
		complete(t, seen)
		settled(t, c, seen)
		p.freeze(t)
		// The node's own traffic finds out; the watch has to follow it.
		if _, err := c.Do(t.Context(), witness.Swap{}); err == nil {
			t.Fatal("answered by a frozen endpoint")
		}
		complete(t, seen)
		settled(t, c, seen)
	})
}
