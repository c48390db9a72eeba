package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
)

// probeLimit is how long a station may take to answer a probe. The node waits a little
// longer for what comes of it.
const probeLimit = 400 * time.Millisecond

// probe asks the link beside the loop who has the claim's addresses.
func (d *daemon) probe(a node.ProbeAddresses) {
	addrs := d.claim(a.Claim).addresses
	d.work.Go(func() error {
		ctx, cancel := context.WithTimeout(d.workCtx, probeLimit)
		defer cancel()
		owners, errs := make([][]vip.MAC, len(addrs)), make([]error, len(addrs))
		var all errgroup.Group
		for i, addr := range addrs {
			all.Go(func() error {
				owners[i], errs[i] = d.kernel.Probe(ctx, addr.Interface, addr.Prefix.Addr())
				return nil
			})
		}
		_ = all.Wait() // the errors are in errs
		var answers []arbiter.Station
		for i, addr := range addrs {
			for _, mac := range owners[i] {
				answers = append(answers, arbiter.Station{MAC: mac.String(), Address: addr.Prefix.Addr()})
			}
		}
		d.post(node.AddressesProbed{Claim: a.Claim, Answers: answers, Err: errors.Join(errs...)})
		return nil
	})
}

// observe listens, until the claim ends, for other stations that speak for its addresses.
func (d *daemon) observe(claim string) {
	ctx, cancel := context.WithCancel(d.workCtx)
	d.observers[claim] = cancel
	on := map[string][]netip.Addr{}
	for _, addr := range d.claim(claim).addresses {
		if a := addr.Prefix.Addr(); !slices.Contains(on[addr.Interface], a) {
			on[addr.Interface] = append(on[addr.Interface], a)
		}
	}
	for _, iface := range sortedKeys(on) {
		d.work.Go(func() error {
			d.observeOn(ctx, claim, iface, on[iface])
			return nil
		})
	}
}

// observeOn listens on one interface, and begins again when that has failed. While the
// loop is behind nothing is reported, as if the network had lost it.
func (d *daemon) observeOn(ctx context.Context, claim, iface string, addrs []netip.Addr) {
	emit := func(addr netip.Addr, station vip.MAC) {
		select {
		case d.events <- node.AddressSeen{Claim: claim, Station: arbiter.Station{MAC: station.String(), Address: addr}}:
		default:
			d.log.Debug("a conflict of addresses was dropped: the loop is behind", "claim", claim)
		}
	}
	said := ""
	for ctx.Err() == nil {
		err := d.kernel.Observe(ctx, iface, addrs, emit)
		if err != nil && err.Error() != said {
			said = err.Error()
			d.log.Warn("other stations that use the addresses would not be noticed", "claim", claim, "err", err)
		}
		pause(ctx, reopenAfter)
	}
}
