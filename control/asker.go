package control

import (
	"context"
	"fmt"
	"sync"

	"github.com/solovip/solovip/node"
)

// asker asks the daemon's loop for snapshots. All who ask at the same time share one
// call, so that a loop that hangs costs one goroutine and not one for each request.
type asker struct {
	snapshot func() node.Snapshot

	mu    sync.Mutex // guards what follows
	under *call      // the call under way; nil: none
}

// call is one call of the loop. Its snapshot may be read once done is closed.
type call struct {
	done chan struct{}
	snap node.Snapshot
}

// ask returns a snapshot, or says after answerWithin that there is none to be had.
func (a *asker) ask(ctx context.Context) (node.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	c := a.call()
	select {
	case <-c.done:
		return c.snap, nil
	case <-ctx.Done():
		return node.Snapshot{}, fmt.Errorf("the daemon's loop has not answered within %v", answerWithin)
	}
}

// call joins the call under way, or starts one.
func (a *asker) call() *call {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under != nil {
		return a.under
	}
	c := &call{done: make(chan struct{})}
	a.under = c
	go func() {
		c.snap = a.snapshot()
		a.mu.Lock()
		a.under = nil
		a.mu.Unlock()
		close(c.done)
	}()
	return c
}
