package witness

import (
	"fmt"
	"time"
)

// driftPercent bounds by how much the rates of two hosts' boot clocks differ: rho.
const driftPercent = 1

// Timing is how a lease is renewed and waited for. All nodes of a cluster use the same.
type Timing struct {
	Renew time.Duration // P: from one renewal to the next
	Hold  time.Duration // R: how long a renewal lets its sender serve
	Wait  time.Duration // L: how long a candidate watches an unchanged record
	Late  time.Duration // X: how late after Hold the node can still be serving
}

// lateDefault is X where the kernel's gate or the daemon's own timer ends the holding.
const lateDefault = 100 * time.Millisecond

// Fast is the timing for sub-second fail-over on a quiet local network.
func Fast() Timing {
	return Timing{Renew: 150 * time.Millisecond, Hold: 600 * time.Millisecond, Wait: 715 * time.Millisecond, Late: lateDefault}
}

// WAN is the timing for a witness far away.
func WAN() Timing {
	return Timing{Renew: time.Second, Hold: 4 * time.Second, Wait: 4600 * time.Millisecond, Late: lateDefault}
}

// Auto fits the timing to VRRP: advertInterval is the shortest of the node's instances,
// downAdverts how many of them are missed before a backup acts. A backup with the highest
// possible priority acts after just that many; Wait is that long, so that
// permission is neither slower nor more nervous than VRRP. It is never below Fast.
func Auto(advertInterval time.Duration, downAdverts int) Timing {
	wait := advertInterval * time.Duration(downAdverts)
	if wait <= Fast().Wait {
		return Fast()
	}
	hold := (wait*100/(100+2*driftPercent) - lateDefault).Truncate(10 * time.Millisecond)
	return Timing{Renew: (hold / 4).Truncate(10 * time.Millisecond), Hold: hold, Wait: wait, Late: lateDefault}
}

// AutoByLifetime is Auto where an address's lifetime takes the place of the gate: a node
// may serve for so much longer than it should, and what has to be waited for is longer
// than VRRP's own patience by that. Lifetimes are whole seconds, so a holding lasts for
// two of them at least.
func AutoByLifetime(advertInterval time.Duration, downAdverts int, late time.Duration) Timing {
	const shortest = 2200 * time.Millisecond
	t := Auto(advertInterval, downAdverts)
	t.Late = late
	t.Hold = max(shortest, (t.Wait*100/(100+2*driftPercent) - late).Truncate(10*time.Millisecond))
	t.Renew = (t.Hold / 4).Truncate(10 * time.Millisecond)
	t.Wait = max(t.Wait, WaitFor(t.Hold, late))
	return t
}

// WaitFor returns how long a candidate must see a record unchanged before its writer,
// which serves hold after a renewal and may be late by late, has certainly stopped:
// (R+X)(1+2 rho).
func WaitFor(hold, late time.Duration) time.Duration {
	return (hold + late) * (100 + 2*driftPercent) / 100
}

// Check returns an error that shows the sum when the timing is not safe,
// or not workable.
func (t Timing) Check() error {
	need := WaitFor(t.Hold, t.Late)
	switch {
	case t.Renew <= 0 || t.Hold <= 0 || t.Wait <= 0:
		return fmt.Errorf("timing %v: renew, hold and wait must be positive", t)
	case t.Wait < need:
		return fmt.Errorf("timing %v is not safe: wait %v must be at least (hold %v + late %v) x 1.%02d = %v: "+
			"a candidate could take while the holder still serves; raise wait or lower hold",
			t, t.Wait, t.Hold, t.Late, 2*driftPercent, need)
	case t.Hold < 2*t.Renew:
		return fmt.Errorf("timing %v: hold %v must be at least twice renew %v, or one lost renewal ends the holding",
			t, t.Hold, t.Renew)
	}
	return nil
}

// String returns "renew/hold/wait".
func (t Timing) String() string {
	return fmt.Sprintf("%v/%v/%v", t.Renew, t.Hold, t.Wait)
}
