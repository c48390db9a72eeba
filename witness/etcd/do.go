package etcd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/solovip/solovip/witness"
)

// roundPause is the pause after no endpoint could be connected, before all are tried again.
const roundPause = 50 * time.Millisecond

// Do carries out one Swap and returns when it is answered, refused, or the time is up:
// never later than Config.Timeout or the deadline of ctx. An empty Swap reads.
//
// An error that is ErrRefused says that the Swap did not happen and will not. After any
// other error it may have happened, or may happen later.
//
// An endpoint that cannot be connected is passed over within the same call. A Swap
// that was sent goes nowhere else, because it might then happen twice; the next call uses the
// next endpoint.
func (c *Client) Do(ctx context.Context, s witness.Swap) (witness.Outcome, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req := c.request(s)
	var why error // that it was not sent; the last reason that is more than "time is up"
	for tried := 1; ; tried++ {
		e, index, _ := c.endpoint()
		c.connect(ctx, e, tried)
		resp, sent, err := send(ctx, e, req)
		if err == nil {
			return c.outcome(resp)
		}
		if tryNext(err) {
			c.leave(index)
		}
		if sent {
			return witness.Outcome{}, explain(e.url, err, true, time.Since(start))
		}
		if why == nil || status.Code(err) != codes.DeadlineExceeded {
			why = explain(e.url, err, false, 0)
		}
		if status.Code(err) == codes.Canceled || !c.pause(ctx, tried) {
			return witness.Outcome{}, why
		}
	}
}

// pause waits a little when every endpoint has been tried, and returns false when the time is up.
func (c *Client) pause(ctx context.Context, tried int) bool {
	if tried%len(c.endpoints) != 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(roundPause):
		return true
	}
}

// connect waits until the endpoint is connected or has failed to. While there are others
// to try it leaves them a fair share of the time.
func (c *Client) connect(ctx context.Context, e endpoint, tried int) {
	conn := e.client.ActiveConnection()
	if left := len(c.endpoints) - tried; left > 0 {
		deadline, _ := ctx.Deadline()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left+1))
		defer cancel()
	}
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Idle:
			conn.Connect()
		case connectivity.Connecting:
		case connectivity.Ready, connectivity.TransientFailure, connectivity.Shutdown:
			return
		}
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// send sends the transaction if the endpoint is connected. sent says that it may have got there.
func send(ctx context.Context, e endpoint, req *pb.TxnRequest) (resp *pb.TxnResponse, sent bool, err error) {
	conn := e.client.ActiveConnection()
	if conn.GetState() == connectivity.Connecting {
		return nil, false, status.Error(codes.Unavailable, "no answer to connecting")
	}
	var to peer.Peer // filled in only when a connection was found to send on
	resp, err = pb.NewKVClient(conn).Txn(ctx, req, grpc.Peer(&to), grpc.WaitForReady(false))
	return resp, to.Addr != nil, err
}

// request makes the transaction: conditions and writes in the order of their keys, and
// in both branches a reading of all records as the last operation.
func (c *Client) request(s witness.Swap) *pb.TxnRequest {
	read := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{
		Key: []byte(c.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(c.prefix)),
	}}}
	req := &pb.TxnRequest{Failure: []*pb.RequestOp{read}}
	unchanged := func(key string, version int64) {
		req.Compare = append(req.Compare, &pb.Compare{
			Result: pb.Compare_EQUAL, Target: pb.Compare_MOD,
			Key: []byte(c.prefix + key), TargetUnion: &pb.Compare_ModRevision{ModRevision: version},
		})
	}
	write := func(key string, record any) {
		req.Success = append(req.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
			Key: []byte(c.prefix + key), Value: witness.Encode(record),
		}}})
	}
	for _, node := range slices.Sorted(maps.Keys(s.IfNodes)) {
		unchanged(witness.NodeKey(node), s.IfNodes[node])
	}
	for _, claim := range slices.Sorted(maps.Keys(s.IfClaims)) {
		unchanged(witness.ClaimKey(claim), s.IfClaims[claim])
	}
	for _, r := range s.Nodes {
		write(witness.NodeKey(r.Node), r)
	}
	for _, r := range s.Claims {
		write(witness.ClaimKey(r.Claim), r)
	}
	req.Success = append(req.Success, read)
	return req
}

// outcome reads the answer.
func (c *Client) outcome(resp *pb.TxnResponse) (witness.Outcome, error) {
	if len(resp.Responses) == 0 || resp.Responses[len(resp.Responses)-1].GetResponseRange() == nil {
		return witness.Outcome{}, fmt.Errorf("witness answered without the records (%d parts): this is no etcd that solovip knows", len(resp.Responses))
	}
	out := witness.Outcome{Done: resp.Succeeded, Observation: witness.Observation{
		ClusterID: resp.Header.GetClusterId(), Revision: resp.Header.GetRevision(), Term: resp.Header.GetRaftTerm(), Complete: true,
	}}
	bad := map[string]bool{}
	for _, kv := range resp.Responses[len(resp.Responses)-1].GetResponseRange().Kvs {
		if err := c.add(&out.Observation, kv); err != nil {
			c.complain(string(kv.Key), err, bad)
		}
	}
	c.mu.Lock()
	c.bad = bad
	c.mu.Unlock()
	return out, nil
}

func (c *Client) add(o *witness.Observation, kv *mvccpb.KeyValue) error {
	return o.Add(strings.TrimPrefix(string(kv.Key), c.prefix), kv.Value, kv.ModRevision)
}

// complain logs a record that cannot be read, once until it can be again. Such a record is left out: it can
// be neither taken nor renewed, because its version is then compared with none, and the others are
// as good as before.
func (c *Client) complain(key string, err error, bad map[string]bool) {
	bad[key] = true
	c.mu.Lock()
	known := c.bad[key]
	c.mu.Unlock()
	if !known {
		c.log.Error("witness holds a record that cannot be read: what it speaks of cannot be held until it is gone", "key", key, "err", err)
	}
}
