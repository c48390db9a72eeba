package etcd

import (
	"context"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/solovip/solovip/witness"
)

// watchPause is the pause between two attempts to watch.
const watchPause = 250 * time.Millisecond

// Watch delivers every change of a record as soon as etcd tells, until ctx ends; the
// error is that of ctx. It begins with a complete Observation, and has another one after
// each break, so nothing is missed. In between each Observation has only what changed; a record
// that was removed has version 0.
//
// deliver is called from one goroutine and should be quick. An answer of Do may be newer
// than what is delivered after it: the versions tell.
func (c *Client) Watch(ctx context.Context, deliver func(witness.Observation)) error {
	for {
		if out, err := c.Do(ctx, witness.Swap{}); err == nil {
			deliver(out.Observation)
			c.follow(ctx, out.Observation, deliver)
		}
		// Why it broke is not worth a word: Do, which matters more, tells of the same trouble.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchPause):
		}
	}
}

// follow delivers what changes after the given observation, until the stream breaks, the
// client moves to another endpoint, or ctx ends.
func (c *Client) follow(ctx context.Context, from witness.Observation, deliver func(witness.Observation)) {
	// A member that is cut off from its leader would be silent for ever: it must say so.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	e, _, moved := c.endpoint()
	go func() {
		select {
		case <-moved:
			cancel()
		case <-ctx.Done():
		}
	}()
	stream, err := pb.NewWatchClient(e.client.ActiveConnection()).Watch(ctx)
	if err != nil {
		return
	}
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(c.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(c.prefix)), StartRevision: from.Revision + 1,
	}}})
	for err == nil {
		var resp *pb.WatchResponse
		if resp, err = stream.Recv(); err != nil {
			return
		}
		if resp.Canceled || resp.Header.GetClusterId() != from.ClusterID {
			return
		}
		if len(resp.Events) > 0 {
			deliver(c.changes(resp))
		}
	}
}

// changes makes an Observation of what a watch tells. Records that cannot be read are
// left out: Do logs them.
func (c *Client) changes(resp *pb.WatchResponse) witness.Observation {
	o := witness.Observation{
		ClusterID: resp.Header.GetClusterId(), Revision: resp.Header.GetRevision(),
		Nodes:  map[string]witness.Versioned[witness.NodeRecord]{},
		Claims: map[string]witness.Versioned[witness.ClaimRecord]{},
	}
	for _, e := range resp.Events {
		if e.Type != mvccpb.Event_DELETE {
			_ = c.add(&o, e.Kv)
			continue
		}
		key := strings.TrimPrefix(string(e.Kv.Key), c.prefix)
		if node, ok := strings.CutPrefix(key, witness.NodeKey("")); ok {
			o.Nodes[node] = witness.Versioned[witness.NodeRecord]{}
		} else if claim, ok := strings.CutPrefix(key, witness.ClaimKey("")); ok {
			o.Claims[claim] = witness.Versioned[witness.ClaimRecord]{}
		}
	}
	return o
}
