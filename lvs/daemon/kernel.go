package daemon

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/lvs/ipvs"
)

// kernel does what the balancer wants of IPVS, one thing at a time, on a goroutine of its
// own: a request that is not answered takes seconds.
type kernel struct {
	post func(lvs.Event)

	// What run alone uses.
	conn    *ipvs.Conn // nil: not open
	refused error      // why it could not be opened the last time
	again   time.Time  // when that is tried again

	mu      sync.Mutex // guards the fields below
	steps   []lvs.Step // that wait
	dropped bool       // some do not wait any more: there were too many
	asked   uint64     // the ReadKernel that waits; 0: none
	askers  []chan map[ipvs.Key]ipvs.Connections
	busy    bool // or something waits
	idle    *sync.Cond
	pending chan struct{} // holds one value while something waits
}

// openAgain is how long after a failure IPVS is looked for again: each time a program is run
// that loads its module.
const openAgain = 5 * time.Second

// maxSteps bounds the steps that wait while the kernel does not answer. When more are to join so
// many, all go, and the table is read and put right instead.
const maxSteps = 200_000

func newKernel(post func(lvs.Event)) *kernel {
	k := &kernel{post: post, pending: make(chan struct{}, 1)}
	k.idle = sync.NewCond(&k.mu)
	return k
}

// apply has steps carried out, after those before them.
func (k *kernel) apply(steps []lvs.Step) {
	k.want(func() {
		if k.dropped = k.dropped || len(k.steps) > maxSteps; k.dropped {
			k.steps = nil
			return
		}
		k.steps = append(k.steps, steps...)
	})
}

// read has the kernel's state read, after all steps so far. An answer that nobody has waited
// for long enough is left out: only the last one counts.
func (k *kernel) read(id uint64) {
	k.want(func() { k.asked = id })
}

func (k *kernel) want(add func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	add()
	k.busy = true
	select {
	case k.pending <- struct{}{}:
	default: // it will be seen with what waits already
	}
}

// countLimit is how long somebody who asks waits for the connections.
const countLimit = time.Second

// connections returns the connections that the kernel has now; none are known when it takes
// too long to say.
func (k *kernel) connections(ctx context.Context) lvs.Count {
	reply := make(chan map[ipvs.Key]ipvs.Connections, 1)
	k.want(func() { k.askers = append(k.askers, reply) })
	var all map[ipvs.Key]ipvs.Connections
	late := time.NewTimer(countLimit)
	defer late.Stop()
	select {
	case all = <-reply:
	case <-late.C:
	case <-ctx.Done():
	}
	return func(key lvs.ServiceKey, addr netip.AddrPort) (lvs.Connections, bool) {
		c, there := all[ipvs.Key{Service: key, Addr: addr}]
		return lvs.Connections{Active: c.Active, Inactive: c.Inactive}, there
	}
}

// run serves until ctx ends.
func (k *kernel) run(ctx context.Context) {
	defer k.close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.pending:
		}
		k.mu.Lock()
		todo := work{k.steps, k.dropped, k.asked, k.askers}
		k.steps, k.dropped, k.asked, k.askers = nil, false, 0, nil
		k.mu.Unlock()
		k.serve(ctx, todo)
		k.mu.Lock()
		k.busy = len(k.pending) > 0
		k.idle.Broadcast()
		k.mu.Unlock()
	}
}

// work is what waited.
type work struct {
	steps   []lvs.Step
	dropped bool
	id      uint64
	askers  []chan map[ipvs.Key]ipvs.Connections
}

func (k *kernel) serve(ctx context.Context, todo work) {
	err := k.open(ctx)
	if len(todo.steps) > 0 || todo.dropped {
		applied := err
		switch {
		case err != nil:
		case todo.dropped:
			applied = errTooMany
		default:
			applied = k.conn.Apply(todo.steps)
		}
		k.post(lvs.Applied{Err: text(applied)})
	}
	if todo.id != 0 {
		var state lvs.State
		read := err
		if err == nil {
			state, read = k.conn.Read()
		}
		if read != nil {
			k.close() // a module that was loaded anew has another number
			k.post(lvs.KernelFailed{ID: todo.id, Err: read.Error()})
		} else {
			k.post(lvs.Kernel{ID: todo.id, State: state})
		}
	}
	for _, a := range todo.askers {
		var all map[ipvs.Key]ipvs.Connections
		if k.conn != nil {
			all, _ = k.conn.Traffic() // who asks sees that nothing is known
		}
		a <- all // one place is free: each asks once
	}
}

// open connects to IPVS, if that has not just failed.
func (k *kernel) open(ctx context.Context) error {
	if k.conn != nil {
		return nil
	}
	if now := time.Now(); k.refused == nil || now.After(k.again) {
		k.conn, k.refused = ipvs.Open(ctx, ipvs.Config{})
		k.again = now.Add(openAgain)
	}
	return k.refused
}

func (k *kernel) close() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

// drain waits until nothing is left to do, or the limit has passed.
func (k *kernel) drain(limit time.Duration) {
	stop := time.AfterFunc(limit, k.idle.Broadcast)
	defer stop.Stop()
	end := time.Now().Add(limit)
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.busy && time.Now().Before(end) {
		k.idle.Wait()
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
