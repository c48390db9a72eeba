package sim

import "time"

// kernel is what the kernel of a host knows of one claim: the gate's element and the
// addresses with their lifetimes. It lives on when the daemon is frozen or killed. Its
// deadlines are on the clock that stands still in a suspension.
type kernel struct {
	guarded bool          // the gate knows the addresses
	armed   time.Duration // they may speak until then; 0: they may not
	on      bool          // the addresses are on the interface
	gone    time.Duration // when their lifetime ends
	until   time.Time     // of the last arming, as the daemon had it: on the boot clock
}

const (
	// gateSlack is how much earlier than its deadline the gate can shut: the slack of
	// fencing/gate and two ticks. It never shuts later.
	gateSlack = 18 * time.Millisecond
	// gateLeast is the shortest time worth arming for, as fencing/gate has it.
	gateLeast = 2 * time.Millisecond
	// lifetimeLate is how late the kernel can be to take an address off, as measured by
	// package vip. The lifetime itself is rounded up to a second.
	lifetimeLate = 1300 * time.Millisecond
)

// there reports whether the addresses are on the interface.
func (k *kernel) there(mono time.Duration) bool { return k.on && mono < k.gone }

// answers reports whether the kernel answers for the addresses: they are on, and the
// gate does not know them or is open.
func (k *kernel) answers(mono time.Duration) bool {
	return k.there(mono) && (!k.guarded || mono < k.armed)
}

// arm opens the gate for the time that is left, less a little; false: too late.
func (k *kernel) arm(mono, left, slack time.Duration) bool {
	k.guarded = true
	if left-slack < gateLeast {
		k.armed = 0
		return false
	}
	k.armed = mono + left - slack
	return true
}

// rearm brings the gate back to the boot clock, as Gate.Restore does.
func (k *kernel) rearm(mono time.Duration, boot time.Time) {
	if k.armed > 0 {
		k.arm(mono, k.until.Sub(boot), 0)
	}
}

// add puts the addresses on with a lifetime, or extends it.
func (k *kernel) add(mono, lifetime, late time.Duration) {
	k.on = true
	k.gone = mono + (lifetime + time.Second - 1).Truncate(time.Second) + late
}

// remove takes them off, and then out of the gate.
func (k *kernel) remove() { *k = kernel{until: k.until} }
