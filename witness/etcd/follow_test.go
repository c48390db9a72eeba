package etcd

import (
	"context"
	"log/slog"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/solovip/solovip/internal/port"
	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/server"
)

// What was compacted away cannot be told any more: the watch has to end, so that Watch reads
// everything anew, and must not wait for changes as if it had missed none.
func TestFollowCompacted(t *testing.T) {
	u := "http://" + port.Hold(t, "127.0.0.1").String()
	log := slog.New(slog.DiscardHandler)
	s, err := server.New(server.Config{Name: "w1", Cluster: "edge", DataDir: t.TempDir(), ListenClient: []string{u}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served, ready := make(chan error, 1), make(chan struct{})
	go func() { served <- s.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	<-ready
	c, err := New(Config{Endpoints: []string{u}, Cluster: "edge", Timeout: 20 * time.Second, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first, err := c.Do(ctx, witness.Swap{})
	if err != nil {
		t.Fatal(err)
	}
	last := first
	for beat := range uint64(10) {
		if last, err = c.Do(ctx, witness.Swap{Nodes: []witness.NodeRecord{{Node: "lb01", Beat: beat}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.endpoints[0].client.Compact(ctx, last.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	followed := make(chan struct{})
	go func() {
		c.follow(ctx, first.Observation, func(o witness.Observation) { t.Errorf("delivered %+v", o) })
		close(followed)
	}()
	select {
	case <-followed:
	case <-time.After(20 * time.Second):
		t.Error("it waits for what will never come")
	}
}
