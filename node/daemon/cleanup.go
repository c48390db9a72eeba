package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/fencing/gate"
	"github.com/solovip/solovip/fencing/guard"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
)

// cleanUpFormer is the first thing that a daemon does: it takes off what a former run of it
// left, by the run state alone, because the configuration may have changed or be broken by now. The
// former run is dead: this process has the lock of the run directory, which the kernel
// gave back with that one. What was left in place on purpose stays for now.
func (d *daemon) cleanUpFormer(ctx context.Context) error {
	var err error
	if d.kernel, err = vip.Open(); err != nil {
		return err
	}
	if d.run, err = openRunState(d.opt.RunDir); err != nil {
		return err
	}
	if d.left, err = d.run.take(); err != nil {
		d.log.Error("what a predecessor left in place is not adopted", "err", err)
		d.left = nil
	}
	return d.cleanUpBut(ctx, d.inPlace())
}

// cleanUpBut takes off what the run state names, but for some claims. Those that were
// still on are released when the node starts.
func (d *daemon) cleanUpBut(ctx context.Context, kept []string) error {
	var killed []string
	for _, name := range sortedKeys(d.run.data.Claims) {
		if slices.Contains(kept, name) || slices.Contains(d.cleaned, name) {
			continue
		}
		c := d.run.data.Claims[name]
		if c.Gated && d.gate == nil {
			var err error
			// To open it shuts all that it guards.
			if d.gate, err = gate.Open(gateName, d.log); err != nil {
				return fmt.Errorf("clean up what a former run left of %s: %w", name, err)
			}
		}
		on, err := d.anyThere(c.Addresses)
		if err == nil {
			err = d.removeAddresses(c.Addresses)
		}
		if err == nil && c.Gated {
			err = d.gate.Unguard(gated(c.Addresses))
		}
		if err != nil {
			return fmt.Errorf("clean up what a former run left of %s: %w", name, err)
		}
		if on {
			d.former[name] = node.Former{Token: c.Token, Settled: c.Settled}
		}
		d.cleaned = append(d.cleaned, name)
		killed = append(killed, c.Guards...)
		d.log.Warn("a former run ended without letting go: its addresses are off now", "claim", name, "were_on", on)
	}
	if err := d.killGuards(ctx, killed); err != nil {
		return fmt.Errorf("stop guarded services that a former run left: %w", err)
	}
	d.killed = append(d.killed, killed...)
	return nil
}

// CleanUp takes off what a run of the daemon has left, as its next start would, and starts
// nothing. A run that still lives is refused, or with kill killed first.
func CleanUp(ctx context.Context, opt Options, kill bool) error {
	if pid, err := control.Owner(opt.RunDir); err == nil && kill {
		opt.Logger.Warn("killing what is left of the daemon", "process", pid)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
		for err == nil && pause(ctx, cleanUpEvery) {
			_, err = control.Owner(opt.RunDir)
		}
	}
	socket, err := control.Listen(opt.RunDir)
	if err != nil {
		return err
	}
	defer socket.Close()
	d := newDaemon(opt)
	if d.kernel, err = vip.Open(); err != nil {
		return err
	}
	defer d.kernel.Close()
	if d.run, err = openRunState(opt.RunDir); err != nil {
		return err
	}
	if err := d.cleanUpBut(ctx, nil); err != nil {
		return err
	}
	if d.gate != nil {
		err = d.gate.Close()
	}
	d.forget(d.cleaned...)
	return err
}

// cleanUpEvery is how often it looks whether a killed process has gone.
const cleanUpEvery = 10 * time.Millisecond

// anyThere reports whether one of the addresses is on this host.
func (d *daemon) anyThere(addrs []vip.Address) (bool, error) {
	for _, a := range addrs {
		there, err := d.kernel.Has(a)
		if err != nil && !errors.Is(err, vip.ErrInterface) || there {
			return there, err
		}
	}
	return false, nil
}

// killGuards stops the named guarded services by their run files.
func (d *daemon) killGuards(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	left, err := guard.Adopt(d.opt.RunDir, systemdUnits, d.log)
	errs := []error{err}
	for _, g := range left {
		if slices.Contains(names, g.Name()) {
			errs = append(errs, d.insist(ctx, g.Kill))
		}
		g.Close()
	}
	return errors.Join(errs...)
}

// How often, and how many times, it is tried to stop guarded services that a former run left. Less than
// the guardian's patience with a start.
const (
	insistEvery = time.Second
	insistTimes = 5
)

// insist kills a guarded service until it is shown to be stopped: a machine on which a daemon has
// just died may be too busy to show it in time.
func (d *daemon) insist(ctx context.Context, kill func(context.Context) error) error {
	for try := 1; ; try++ {
		err := kill(ctx)
		if err == nil || try == insistTimes || !pause(ctx, insistEvery) {
			return err
		}
		d.log.Warn("a guarded service that a former run left cannot be shown to be stopped yet", "err", err)
	}
}

// remember writes down what of the claim is about to be on this host.
func (d *daemon) remember(claim string) error {
	set := d.claim(claim)
	return d.run.remember(claim, runClaim{
		Token: d.store.tokens()[claim], Gated: d.gate != nil, Addresses: set.addresses, Guards: set.guardNames(),
	})
}

// forget drops claims of which nothing is left here. Should that fail, a successor finds
// nothing to clean up.
func (d *daemon) forget(claims ...string) {
	if err := d.run.forget(claims...); err != nil {
		d.log.Warn("the run state says more than there is", "err", err)
	}
}

// cleanUp takes off what the configuration names and the run state does not: of a former run
// whose run directory is gone, or of another program. Nothing is held at the start.
func (d *daemon) cleanUp(ctx context.Context) error {
	for _, name := range sortedKeys(d.settings.claims) {
		if _, kept := d.settings.node.Kept[name]; kept {
			continue
		}
		if err := d.removeAddresses(d.settings.claims[name].addresses); err != nil {
			return fmt.Errorf("claim %s: cleaning up what a former run left: %w", name, err)
		}
		if err := d.openForGood(name); err != nil {
			return fmt.Errorf("claim %s: %w", name, err)
		}
		if !slices.ContainsFunc(d.settings.claims[name].guards, func(g guard.Config) bool { return !slices.Contains(d.killed, g.Name) }) {
			continue
		}
		left := d.openGuards(name, d.settings.claims[name])
		err := left.err
		if err == nil {
			err = d.insist(ctx, left.only.Kill)
		}
		left.close()
		if err != nil {
			return fmt.Errorf("claim %s: stopping guarded services that a former run left: %w", name, err)
		}
	}
	return nil
}
