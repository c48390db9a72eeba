package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
	"github.com/solovip/solovip/witness/etcd"
)

// do brings about one action. What is done at once returns its result; the rest comes back as an
// event of its own.
func (d *daemon) do(a node.Action) node.Event {
	switch a := a.(type) {
	case node.Begin:
		d.begin(a.Claim)
	case node.End:
		d.end(a.Claim)
	case node.SendAdvert:
		d.sendAdvert(a)
	case node.StoreToken, node.StoreLeft, node.StoreStandby, node.StoreWitness:
		d.lanes.Run("store", func(context.Context) { d.keep(a) })
	case node.ShootPeer:
		d.shoot(a)
	case node.WriteFencing:
		d.writeFencing(a)
	case node.Respond:
		d.respond(a)
	case node.ArmGate:
		return d.armGate(a)
	case node.ShutGate:
		d.shutGate(a.Claim)
	case node.AddAddresses:
		return node.AddressesDone{Claim: a.Claim, On: true, Err: d.addAddresses(a)}
	case node.RemoveAddresses:
		return node.AddressesDone{Claim: a.Claim, Err: d.takeOff(a.Claim)}
	case node.Announce:
		d.announce(a)
	case node.ProbeAddresses:
		d.probe(a)
	case node.StartGuards:
		d.startGuards(a)
	case node.StopGuards:
		d.stopGuards(a)
	case node.Notify:
		d.notify(a)
	case node.Publish:
		if d.mesh != nil {
			if err := d.mesh.Publish(a.Report); err != nil {
				d.log.Error("telling the mesh how this node stands", "err", err)
			}
		}
	case node.Question:
		if d.mesh != nil {
			d.mesh.Ask(a.Request)
		}
	case node.AskReference:
		d.askReference()
	case node.Reply:
		if d.mesh != nil {
			d.mesh.Answer(a.Answer)
		}
	case node.AskWitness:
		d.askWitness(a)
	case node.OpenWatchdog:
		return d.openWatchdog(a)
	case node.PetWatchdog:
		return d.petWatchdog(a)
	case node.Tell:
		d.tell(a)
	case node.Stopped:
		// The loop looks for it.
	}
	return nil
}

// armGate lets the claim's addresses through until its deadline. Without that
// nothing of it is put on.
func (d *daemon) armGate(a node.ArmGate) node.Event {
	if d.gate == nil || a.Until.IsZero() {
		return nil
	}
	addrs := gated(d.claim(a.Claim).addresses)
	err := d.remember(a.Claim)
	if err == nil {
		err = d.gate.Guard(addrs)
	}
	if err == nil {
		err = d.gate.Arm(a.Until, addrs)
	}
	delete(d.ungated, a.Claim)
	if err == nil {
		return nil
	}
	d.ungated[a.Claim] = err
	return node.AddressesDone{Claim: a.Claim, On: true, Err: fmt.Errorf("arm the gate: %w", err)}
}

func (d *daemon) shutGate(claim string) {
	if d.gate == nil {
		return
	}
	if err := d.gate.Shut(gated(d.claim(claim).addresses)); err != nil {
		d.log.Error("shutting the gate; it shuts by itself at its deadline", "claim", claim, "err", err)
	}
}

// openForGood takes the claim's addresses, shown to be off this host, out of the gate:
// this host is then one among the others that may talk to them.
func (d *daemon) openForGood(claim string) error {
	if d.gate == nil {
		return nil
	}
	if err := d.gate.Unguard(gated(d.claim(claim).addresses)); err != nil {
		return fmt.Errorf("take the addresses out of the gate: %w", err)
	}
	return nil
}

// addAddresses puts the claim's addresses on, or extends them. The deadline is looked at
// once more before and after: this process may have been frozen since the decision.
func (d *daemon) addAddresses(a node.AddAddresses) error {
	if err := d.ungated[a.Claim]; err != nil {
		return err
	}
	if err := d.remember(a.Claim); err != nil {
		return err
	}
	set := d.claim(a.Claim)
	left := a.Until.Sub(boottime.Now())
	if !a.Until.IsZero() && left <= 0 {
		return errLate
	}
	for _, addr := range set.addresses {
		lifetime := max(set.lifetime, node.ShortestLifetime)
		switch {
		case a.Until.IsZero():
		case !d.settings.node.ByLifetime:
			lifetime = max(left, node.ShortestLifetime) // the gate is exact; this is the net below it
		default:
			if lifetime = left.Truncate(time.Second); lifetime > 0 {
				break
			}
			// Too little is left for a lifetime, which is whole seconds: it keeps what it has.
			if there, err := d.kernel.Has(addr); err != nil || !there {
				return errors.Join(errLate, err)
			}
			continue
		}
		if err := d.kernel.Add(addr, lifetime); err != nil {
			return err
		}
	}
	if !a.Until.IsZero() && boottime.Now().After(a.Until) {
		return errLate
	}
	return nil
}

var errLate = errors.New("the permission ended before the addresses were on: this process was stalled")

// expel takes an address off that somebody else has put on this host, of a claim that it
// does not hold: two nodes would answer for it. Those that this process puts on are in the
// run state before they appear, and until they are off.
func (d *daemon) expel(ev vip.AddressEvent) {
	for _, claim := range sortedKeys(d.settings.claims) {
		if _, on := d.run.data.Claims[claim]; on {
			continue
		}
		for _, addr := range d.settings.claims[claim].addresses {
			if addr.Interface != ev.Interface || addr.Prefix.Addr() != ev.Prefix.Addr() {
				continue
			}
			if there, err := d.kernel.Has(addr); err == nil && !there {
				continue // it was ours, and has gone since
			}
			d.log.Warn("somebody has put on an address of a claim that is not held here; it is taken off", "claim", claim, "address", addr.String(),
				"err", d.removeAddresses([]vip.Address{addr}))
		}
	}
}

// takeOff takes the claim's addresses off this host for good.
func (d *daemon) takeOff(claim string) error {
	err := d.removeAddresses(d.claim(claim).addresses)
	if err == nil {
		err = d.openForGood(claim)
	}
	if err == nil {
		d.forget(claim)
	}
	return err
}

// removeAddresses takes addresses off and verifies that they are.
func (d *daemon) removeAddresses(addrs []vip.Address) error {
	var errs []error
	for _, addr := range addrs {
		if err := d.kernel.Delete(addr); err != nil {
			errs = append(errs, err)
			continue
		}
		if there, err := d.kernel.Has(addr); err != nil || there {
			errs = append(errs, errors.Join(fmt.Errorf("%v is still there", addr), err))
		}
	}
	return errors.Join(errs...)
}

// announce sends gratuitous ARP. With an interval between packets it does so beside the loop.
func (d *daemon) announce(a node.Announce) {
	set := d.instance(a.Instance)
	send := func(ctx context.Context) {
		for range a.Count {
			for _, addr := range set.addresses {
				if a.Address.IsValid() && a.Address != addr.Prefix.Addr() {
					continue
				}
				if err := d.kernel.Announce(addr.Interface, addr.Prefix.Addr()); err != nil {
					d.log.Warn("announcing an address", "instance", a.Instance, "address", addr.String(), "err", err)
					return
				}
				if set.garp > 0 && !pause(ctx, set.garp) {
					return
				}
			}
		}
	}
	if set.garp > 0 {
		d.lanes.Run("garp "+set.socket.Interface, send)
		return
	}
	send(d.workCtx)
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// askWitness carries a Swap to the witness beside the loop.
func (d *daemon) askWitness(a node.AskWitness) {
	op := a.Operation
	d.work.Go(func() error {
		ctx, cancel := context.WithTimeout(d.workCtx, op.Timeout)
		defer cancel()
		out, err := d.witness.Do(ctx, op.Swap)
		d.post(node.WitnessDone{ID: op.ID, Outcome: out, Err: err, Refused: errors.Is(err, etcd.ErrRefused)})
		return nil
	})
}

func vips(addrs []vip.Address) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		all = append(all, a.Prefix.Addr())
	}
	return all
}

// gated names addresses as the gate does: a link-local one with its interface.
func gated(addrs []vip.Address) []netip.Addr {
	all := vips(addrs)
	for i, a := range all {
		if a.Is6() && a.IsLinkLocalUnicast() {
			all[i] = a.WithZone(addrs[i].Interface)
		}
	}
	return all
}

// keep makes durable what has to outlast the daemon.
func (d *daemon) keep(a node.Action) {
	var err error
	forgets := ""
	switch a := a.(type) { //nolint:gochecksumtype // what has to be kept, and no more
	case node.StoreToken:
		d.post(node.TokenStored{Claim: a.Claim, Token: a.Token, Err: d.store.setToken(a.Claim, a.Token)})
	case node.StoreLeft:
		d.post(node.LeftStored{Err: d.store.setLeft(a.Left)})
	case node.StoreStandby:
		forgets, err = "the standby", d.store.setStandby(a.On)
	case node.StoreWitness:
		forgets, err = "which etcd cluster is the witness", d.store.setWitness(a.Cluster)
	}
	if err != nil {
		d.log.Error("this will be forgotten at the next start: it cannot be stored", "what", forgets, "err", err)
	}
}
