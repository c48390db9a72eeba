package control

import (
	"context"
	"fmt"
	"sync"
)

// asker asks the daemon's loop for snapshots. All who ask at the same time share one
// call, so that a loop that hangs costs one goroutine and not one for each request.
type asker[S any] struct {
	snapshot func() S

	mu    sync.Mutex // guards what follows
	under *call[S]   // the call under way; nil: none
}

// call is one call of the loop. Its snapshot may be read once done is closed.
type call[S any] struct {
	done chan struct{}
	snap S
}

// ask returns a snapshot, or says after answerWithin that there is none to be had.
func (a *asker[S]) ask(ctx context.Context) (S, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	c := a.call()
	select {
	case <-c.done:
		return c.snap, nil
	case <-ctx.Done():
		var none S
		return none, fmt.Errorf("the daemon's loop has not answered within %v", answerWithin)
	}
}

// call joins the call under way, or starts one.
func (a *asker[S]) call() *call[S] {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under != nil {
		return a.under
	}
	c := &call[S]{done: make(chan struct{})}
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
