package turns

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Two that may play beside each other meet; who plays alone meets nobody.
func TestTake(t *testing.T) {
	var turns Turns
	var all sync.WaitGroup
	here, there := make(chan struct{}), make(chan struct{})
	all.Go(func() { turns.Take(false, func() { close(here); <-there }) })
	all.Go(func() { turns.Take(false, func() { close(there); <-here }) })
	all.Wait()

	var playing atomic.Int32
	for i := range 8 {
		alone := i%4 == 0
		all.Go(func() {
			for range 1000 {
				turns.Take(alone, func() {
					if n := playing.Add(1); alone && n != 1 {
						t.Errorf("alone, and %d play", n)
					}
					playing.Add(-1)
				})
			}
		})
	}
	all.Wait()
}
