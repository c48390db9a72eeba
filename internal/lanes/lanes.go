package lanes

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Lanes run work beside the loop: in order within a lane, side by side across lanes.
type Lanes struct {
	ctx  context.Context //nolint:containedctx // the lifetime of the work
	work *errgroup.Group

	mu     sync.Mutex // guards the fields below
	queues map[string][]func(context.Context)
	idle   *sync.Cond
}

// Limit bounds the work that waits in one lane: with a script that hangs for its
// whole limit each time, the oldest of it is hours late and better dropped.
const Limit = 256

// New returns lanes without work. Their goroutines belong to the group, and their work ends when
// ctx does.
func New(ctx context.Context, work *errgroup.Group) *Lanes {
	l := &Lanes{ctx: ctx, work: work, queues: map[string][]func(context.Context){}}
	l.idle = sync.NewCond(&l.mu)
	return l
}

// Run appends work to a lane. It never blocks; false says that the lane is full and
// the work was dropped.
func (l *Lanes) Run(lane string, work func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, busy := l.queues[lane]
	if len(queue) >= Limit {
		return false
	}
	l.queues[lane] = append(queue, work)
	if !busy {
		l.work.Go(func() error { l.serve(lane); return nil })
	}
	return true
}

// serve does a lane's work until there is none.
func (l *Lanes) serve(lane string) {
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

// Drain waits until all lanes are empty, or the limit has passed.
func (l *Lanes) Drain(limit time.Duration) {
	stop := time.AfterFunc(limit, l.idle.Broadcast)
	defer stop.Stop()
	end := time.Now().Add(limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queues) > 0 && time.Now().Before(end) {
		l.idle.Wait()
	}
}
