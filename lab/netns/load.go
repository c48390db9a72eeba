package netns

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/solovip/solovip/lab/verify"
)

const (
	loadClients = 16
	// loadPause is how long each rests between two requests, so that it is the service that
	// has much to do and not the machine.
	loadPause = 5 * time.Millisecond
)

// load asks the service at the VIP from the host on new connections, as many as it can, and
// notes at the end how many were answered.
func (p *player) load(ctx context.Context, h *host, length time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, length)
	var asked, answered atomic.Int64
	var group errgroup.Group
	for range loadClients {
		group.Go(func() error {
			return inNamespace(h.ns, func() error {
				for ctx.Err() == nil {
					asked.Add(1)
					if _, err := askHTTP(p.job.Scenario.VIP().Addr()); err == nil {
						answered.Add(1)
					}
					last(ctx, loadPause)
				}
				return nil
			})
		})
	}
	p.loads.Go(func() {
		defer cancel()
		if err := group.Wait(); err != nil {
			p.seen.mark(verify.Missed, h.Name, "the load: "+err.Error())
			return
		}
		p.seen.mark(verify.Notice, h.Name, fmt.Sprintf("%s has asked %d times and got %d answers", h.Name, asked.Load(), answered.Load()))
	})
}
