package daemon

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// lanes run work beside the loop: in order within a lane, side by side across lanes.
type lanes struct {
	ctx  context.Context //nolint:containedctx // the lifetime of the work
	work *errgroup.Group

	mu     sync.Mutex // guards the fields below
	queues map[string][]func(context.Context)
	idle   *sync.Cond
}

// laneLimit bounds the work that waits in one lane: with a script that hangs for its
// whole limit each time, the oldest of it is hours late and better dropped.
const laneLimit = 256

func newLanes(ctx context.Context, work *errgroup.Group) *lanes {
	l := &lanes{ctx: ctx, work: work, queues: map[string][]func(context.Context){}}
	l.idle = sync.NewCond(&l.mu)
	return l
}

// run appends work to a lane. It never blocks; false says that the lane is full and
// the work was dropped.
func (l *lanes) run(lane string, work func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, busy := l.queues[lane]
	if len(queue) >= laneLimit {
		return false
	}
	l.queues[lane] = append(queue, work)
	if !busy {
		l.work.Go(func() error { l.serve(lane); return nil })
	}
	return true
}

// serve does a lane's work until there is none.
func (l *lanes) serve(lane string) {
	for {
		l.mu.Lock()
		queue := l.queues[lane]
		if len(queue) == 0 {
			delete(l.queues, lane)
			l.idle.Broadcast()
			l.mu.Unlock()
			return
		}
		l.queues[lane] = queue[1:]
		l.mu.Unlock()
		queue[0](l.ctx)
	}
}

// drain waits until all lanes are empty, or the limit has passed.
func (l *lanes) drain(limit time.Duration) {
	stop := time.AfterFunc(limit, l.idle.Broadcast)
	defer stop.Stop()
	end := time.Now().Add(limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queues) > 0 && time.Now().Before(end) {
		l.idle.Wait()
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
