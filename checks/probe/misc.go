package probe

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/script"
	"github.com/solovip/solovip/lvs"
)

// miscGrace is how long a program may take to be gone when its time is over: it is killed
// after a second. One that waits in the kernel, for a file server that is dead for instance,
// may take for ever.
const miscGrace = 3 * time.Second

// miscProber makes MISC_CHECK: a program ends with status 0 or, with misc_dynamic, with 2
// and more, which is a weight and 2; 0 is then the weight that is configured.
type miscProber struct {
	check  config.MiscCheck
	script script.Script
	hung   atomic.Pointer[chan error] // the end of a program that nobody waits for any more
}

func newMisc(check config.MiscCheck) *miscProber {
	return &miscProber{check: check, script: script.Script{Args: check.Command.Args, User: check.User}}
}

func (p *miscProber) Probe(ctx context.Context) Outcome {
	return p.attempt(ctx, func(ctx context.Context) error { return p.script.Run(ctx, p.check.Timeout) })
}

// attempt runs the program, and does not wait for one that cannot be killed. While there is one,
// no other is started: each interval would leave one more.
func (p *miscProber) attempt(ctx context.Context, run func(context.Context) error) Outcome {
	hangs := failed(fmt.Errorf("%s: hangs in the kernel and cannot be killed", p.check.Command.Args[0]))
	if hung := p.hung.Load(); hung != nil {
		select {
		case <-*hung: //nolint:errcheck // how it ended is of no use any more
			p.hung.Store(nil)
		default:
			return hangs
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.check.Timeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	select {
	case err := <-ended:
		return p.outcome(err)
	case <-ctx.Done():
	}
	grace := time.NewTimer(miscGrace)
	defer grace.Stop()
	select {
	case err := <-ended:
		return p.outcome(err)
	case <-grace.C:
		p.hung.Store(&ended)
		return hangs
	}
}

// outcome reads how the program ended.
func (p *miscProber) outcome(err error) Outcome {
	if err == nil && p.check.Dynamic {
		return Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Add}} // whatever it said before
	}
	if err == nil {
		return Outcome{OK: true}
	}
	// One that was killed has the exit code -1.
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && p.check.Dynamic && exit.ExitCode() > 1 {
		return Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Set, Value: exit.ExitCode() - 2}}
	}
	return failed(err)
}
