package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
	"github.com/solovip/solovip/lab/vm"
)

// playSteps plays the scenario. A wait in vain is part of the history and no error; one
// before the run is ready ends it, as there is nothing to break yet.
func (p *player) playSteps(ctx context.Context) error {
	ready := false
	for _, step := range p.job.Scenario.Steps {
		met, err := p.step(ctx, step)
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		ready = ready || step.Do == scenario.MarkReady
		if !met && !ready {
			break
		}
	}
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	return nil
}

// step plays one step and reports whether what it waited for, if anything, has come.
func (p *player) step(ctx context.Context, step scenario.Step) (met bool, err error) {
	switch step.Do {
	case scenario.MarkReady:
		p.waited = waiting()
		p.seen.mark(verify.Ready, "", step.String())
		return true, nil
	case scenario.Await:
		if p.seen.await(ctx, step) {
			p.seen.mark(verify.Met, step.Host, step.String())
			return true, nil
		}
		if ctx.Err() == nil {
			p.seen.late(step.Host, step.Missed())
		}
		return false, nil
	case scenario.Hold:
		last(ctx, step.For)
		return true, nil
	case scenario.Phase:
		drawn := time.Duration(p.random.Int64N(int64(step.For)))
		p.seen.mark(verify.Notice, "", fmt.Sprintf("wait for %v, drawn from the seed %d", drawn.Round(time.Millisecond), p.job.Seed))
		last(ctx, drawn)
		return true, nil
	case scenario.Handover, scenario.StandbyOn, scenario.StandbyOff, scenario.TakeOver, scenario.FenceNow, scenario.FenceClear:
		p.seen.mark(verify.Order, step.Host, step.String())
		return p.order(ctx, step)
	case scenario.Stop, scenario.Lead, scenario.Edit, scenario.Reload, scenario.Install:
		p.seen.mark(verify.Order, step.Host, step.String())
	case scenario.Start, scenario.Thaw, scenario.Plug, scenario.Join, scenario.Allow, scenario.LinkUp, scenario.MendDisk, scenario.Unblock:
		kind := verify.Heal
		if step.Do == scenario.Start && step.Host == "" {
			kind = verify.Setup
		}
		p.seen.mark(kind, step.Host, step.String())
	case scenario.Kill, scenario.Freeze, scenario.KillWorker, scenario.FreezeWorker, scenario.KillGuardian, scenario.EndService, scenario.HangService, scenario.BreakService, scenario.FlushRules, scenario.Assign, scenario.Fill, scenario.PowerOff, scenario.Unplug, scenario.Cut, scenario.Drop, scenario.Wipe, scenario.Forge,
		scenario.LinkDown, scenario.Flap, scenario.SlowDisk, scenario.Load, scenario.Block, scenario.Clock:
		p.seen.mark(verify.Fault, step.Host, step.String())
	}
	return true, p.change(ctx, step)
}

// last lets something last: it is no wait for an event.
func last(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

// steadily calls f at once, and again each time the interval has passed, until ctx is done or
// f fails.
func steadily(ctx context.Context, interval time.Duration, f func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := f(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// change carries a fault out, or its end.
func (p *player) change(ctx context.Context, step scenario.Step) error {
	h := p.net.hosts[step.Host]
	switch step.Do {
	case scenario.Start:
		return p.start(step.Host)
	case scenario.Stop:
		return h.stop()
	case scenario.Kill:
		return h.kill(false)
	case scenario.Freeze:
		return h.signal(syscall.SIGSTOP, false)
	case scenario.Thaw:
		return h.signal(syscall.SIGCONT, false)
	case scenario.KillWorker:
		return h.signalNode(true, syscall.SIGKILL)
	case scenario.FreezeWorker:
		return h.signalNode(true, syscall.SIGSTOP)
	case scenario.KillGuardian:
		h.mu.Lock()
		h.told = true
		h.mu.Unlock()
		return h.signalNode(false, syscall.SIGKILL)
	case scenario.EndService:
		return h.signalWeb(syscall.SIGKILL)
	case scenario.HangService:
		return h.signalWeb(syscall.SIGSTOP)
	case scenario.FlushRules:
		return h.flushRules()
	case scenario.BreakService:
		return h.breakService()
	case scenario.Assign:
		vip := p.job.Scenario.VIP()
		return h.assign(vip.Addr().AsSlice(), net.CIDRMask(vip.Bits(), vip.Addr().BitLen()))
	case scenario.Fill:
		return h.fill()
	case scenario.PowerOff:
		return h.powerOff()
	case scenario.Unplug, scenario.Plug:
		return h.setPort(step.Do == scenario.Plug, step.Link)
	case scenario.LinkDown, scenario.LinkUp:
		return h.setInterface(step.Do == scenario.LinkUp, step.Link)
	case scenario.Cut, scenario.Join:
		return p.net.setIsolated(step.Do == scenario.Cut, step.Host, step.Peer)
	case scenario.Block:
		return p.net.block(step)
	case scenario.Unblock:
		return p.net.unblock(step)
	case scenario.Drop:
		return p.drop(h, step)
	case scenario.Allow:
		return h.allow()
	case scenario.Wipe:
		return h.wipe()
	case scenario.Forge, scenario.Flap, scenario.Load, scenario.SlowDisk, scenario.MendDisk:
		return p.trouble(ctx, h, step)
	case scenario.Clock:
		return vm.MoveClock(step.For)
	case scenario.Lead:
		return p.lead(ctx, h)
	case scenario.Edit:
		return p.setup.edit(h, step.Old, step.New)
	case scenario.Reload:
		return h.reload()
	case scenario.Install:
		return p.setup.install(h, step.System)
	case scenario.Await, scenario.MarkReady, scenario.Hold, scenario.Phase, scenario.Handover, scenario.StandbyOn, scenario.StandbyOff, scenario.TakeOver,
		scenario.FenceNow, scenario.FenceClear:
	}
	return errors.New("not a change")
}

// trouble makes a kind of trouble that lasts.
func (p *player) trouble(ctx context.Context, h *host, step scenario.Step) error {
	if step.Do == scenario.Forge {
		err := p.forge(ctx, h, step.For)
		p.seen.mark(verify.Heal, h.Name, h.Name+" forges no more adverts")
		return err
	}
	if step.Do == scenario.Flap {
		err := p.flap(ctx, h, step)
		p.seen.mark(verify.Heal, h.Name, "the cable of "+h.Name+" is in place")
		return err
	}
	if step.Do == scenario.Load {
		p.load(ctx, h, step.For)
		return nil
	}
	h.disk.Slow(step.For) // 0 when it is mended
	return nil
}

// drop makes a host's firewall drop what the step says.
func (p *player) drop(h *host, step scenario.Step) error {
	if step.Traffic == scenario.UnaskedTraffic {
		return h.rejectUnasked()
	}
	var peer netip.Addr
	if step.Peer != "" {
		peer = p.net.hosts[step.Peer].Addr
	}
	return h.drop(step.Traffic, step.Way, peer, step.Percent)
}

// flap takes a host's carrier away and gives it back, each for a random time of up to a
// second, for as long as the step says. In the end it is there.
func (p *player) flap(ctx context.Context, h *host, step scenario.Step) error {
	end := time.Now().Add(step.For)
	for up := false; time.Now().Before(end) && ctx.Err() == nil; up = !up {
		if err := h.setPort(up, step.Link); err != nil {
			return err
		}
		last(ctx, time.Duration(p.random.Int64N(int64(time.Second))))
	}
	return h.setPort(true, step.Link)
}

// order gives an operator's command on a host and waits for its end. A node that refuses
// it is part of the history, and no error of the lab.
func (p *player) order(ctx context.Context, step scenario.Step) (done bool, err error) {
	h := p.net.hosts[step.Host]
	argv := p.setup.order(h, step)
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := h.inside(cmd.Start); err != nil {
		return false, fmt.Errorf("start %s on %s: %w", argv[0], h.Name, err)
	}
	failed := cmd.Wait()
	said := strings.ReplaceAll(strings.TrimSpace(out.String()), "\n", "; ")
	if failed != nil {
		p.seen.mark(verify.Missed, h.Name, fmt.Sprintf("%s: %v: %s", step, failed, said))
		return false, nil
	}
	p.seen.mark(verify.Notice, h.Name, fmt.Sprintf("the command on %s says: %s", h.Name, said))
	return true, nil
}

// start starts the daemons of one host, or of all: a witness first, so that nodes that
// start with it find it.
func (p *player) start(only string) error {
	for _, role := range []scenario.Role{scenario.Server, scenario.Etcd, scenario.Witness, scenario.Node} {
		for _, declared := range p.job.Scenario.Named(role) {
			h := p.net.hosts[declared.Name]
			argv := p.setup.command(h)
			if argv == nil || only != "" && only != h.Name {
				continue
			}
			p.seen.running(h.Name, true)
			if err := h.start(p.setup.onDisk(h, argv), func(how string, wanted bool) { p.ended(h.Name, how, wanted) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// ended notes that a daemon is gone. One that ends by itself fails the run.
func (p *player) ended(name, how string, wanted bool) {
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	switch {
	case over:
	case wanted:
		p.seen.mark(verify.Notice, name, fmt.Sprintf("the daemon on %s has ended: %s", name, how))
	default:
		p.seen.mark(verify.Missed, name, fmt.Sprintf("the daemon on %s ended by itself: %s", name, how))
	}
	p.seen.running(name, false)
	p.seen.says(Said{Node: name})
}
