package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/lvs"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
)

// firstAddresses returns the addresses of this host before anything runs.
func firstAddresses(log *slog.Logger) []netip.Addr {
	addrs, err := vip.LocalAddresses()
	if err != nil {
		log.Warn("virtual servers with ha_suspend wait until the addresses of this host are known", "err", err)
	}
	return addrs
}

// tryAgain is how long after a failure the kernel or the worker for VRRP is asked anew.
const tryAgain = 500 * time.Millisecond

// watchAddresses brings the addresses of this host as they come and go, until ctx ends.
func (d *daemon) watchAddresses(ctx context.Context) {
	here := map[netip.Addr]bool{}
	for ctx.Err() == nil {
		if err := d.followAddresses(ctx, here); err != nil {
			d.log.Warn("the addresses of this host are listed anew", "err", err)
			pause(ctx, tryAgain)
		}
	}
}

var errLost = errors.New("the kernel's notifications have ended")

// followAddresses lists all addresses after each change: which change it was does not matter,
// and one address may be on two interfaces.
func (d *daemon) followAddresses(ctx context.Context, here map[netip.Addr]bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan netlink.AddrUpdate, 256)
	// Errors end it, and close the channel.
	if err := netlink.AddrSubscribeWithOptions(changes, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: func(error) {}}); err != nil {
		return err
	}
	for {
		addrs, err := vip.LocalAddresses()
		if err != nil {
			return err
		}
		for addr := range here {
			if !slices.Contains(addrs, addr) {
				delete(here, addr)
				d.post(lvs.Address{Addr: addr})
			}
		}
		for _, addr := range addrs {
			if !here[addr] {
				here[addr] = true
				d.post(lvs.Address{Addr: addr, Here: true})
			}
		}
		select {
		case _, ok := <-changes:
			if !ok {
				return errLost
			}
		case <-ctx.Done():
			return nil
		}
		for len(changes) > 0 {
			<-changes // all that have come by now are in the list that follows
		}
	}
}

// follows is the instance that is followed, by a goroutine.
type follows struct {
	instance string // empty: none
	cancel   context.CancelFunc
}

func (f *follows) end() {
	if f.instance != "" {
		f.cancel()
	}
	*f = follows{}
}

// followInstance follows the instance that the configuration's sync daemon does.
func (d *daemon) followInstance() {
	name := ""
	if s := d.plan.LVS.Sync; s != nil {
		name = s.Instance
	}
	if name == d.follows.instance {
		return
	}
	d.follows.end()
	if name == "" {
		return
	}
	ctx, cancel := context.WithCancel(d.workCtx)
	d.follows = follows{name, cancel}
	d.work.Go(func() error { d.follow(ctx, name); return nil })
}

// follow tells the loop whether an instance is MASTER, as the worker for VRRP says on its
// control socket, until ctx ends. While that is silent nobody knows, and that is not MASTER.
func (d *daemon) follow(ctx context.Context, name string) {
	was := false
	tell := func(is bool) {
		if is != was {
			was = is
			d.post(lvs.Instance{Name: name, Master: is})
		}
	}
	for ctx.Err() == nil {
		if client, err := control.Dial(d.opt.RunDir); err == nil {
			err = client.Watch(ctx, func(s node.Snapshot) error {
				tell(isMaster(s, name))
				return nil
			})
			d.log.Debug("the worker for VRRP says no more how the instance stands", "instance", name, "err", err)
		}
		tell(false)
		pause(ctx, tryAgain)
	}
}

// isMaster reports whether the instance is MASTER and its addresses are here.
func isMaster(s node.Snapshot, name string) bool {
	for _, c := range s.Claims {
		for _, in := range c.Instances {
			if in.Name == name {
				return c.Phase == node.Held.String() && in.State == "MASTER"
			}
		}
	}
	return false
}

// pause waits, at the most until ctx ends.
func pause(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
