package daemon

import (
	"errors"

	"github.com/solovip/solovip/fencing/watchdog"
	"github.com/solovip/solovip/node"
)

// dog is the open watchdog of this machine.
type dog struct {
	*watchdog.Device      // nil: there is none
	failing          bool // the last time it could not be petted
}

// openWatchdog opens the watchdog, from when on the machine lives by being petted, and sets
// how long it counts.
func (d *daemon) openWatchdog(a node.OpenWatchdog) node.Event {
	if d.dog.Device == nil {
		device, err := watchdog.Open(d.settings.config.Fencing.Watchdog.Device)
		if err != nil {
			return node.WatchdogDone{Err: err}
		}
		d.dog.Device = device
		d.log.Info("watchdog open", "device", d.settings.config.Fencing.Watchdog.Device, "identity", device.Identity())
		if device.NoWayOut() {
			d.log.Warn("this watchdog cannot be stopped (nowayout): this machine is reset when solovip stops and is not started again in time")
		}
	}
	timeout, err := d.dog.SetTimeout(a.Timeout)
	pretimeout := d.dog.Pretimeout() // as somebody has set it; the kernel drops one that is not below the timeout
	if err != nil {
		// One that is not understood is better stopped than left to reset the machine.
		err = errors.Join(err, d.dog.Disarm())
		d.dog.Device, timeout = nil, 0
	}
	return node.WatchdogDone{Timeout: timeout, Pretimeout: pretimeout, Err: err}
}

// petWatchdog pets it, in the loop alone: a loop that hangs does not.
func (d *daemon) petWatchdog(a node.PetWatchdog) node.Event {
	if d.dog.Device == nil {
		return nil
	}
	err := d.dog.Pet(a.By)
	switch failed := err != nil && !errors.Is(err, watchdog.ErrLate); {
	case errors.Is(err, watchdog.ErrLate):
		d.log.Warn("watchdog not petted", "err", err)
	case failed || d.dog.failing:
		d.dog.failing = failed
		return node.WatchdogDone{Petted: true, Timeout: d.dog.Timeout(), Pretimeout: d.dog.Pretimeout(), Err: err}
	}
	return nil
}

// closeWatchdog stops the watchdog if nothing that it stands for is left here. Else it
// goes on, and resets this machine unless another run of the daemon clears up in time.
func (d *daemon) closeWatchdog() {
	device := d.dog.Device
	d.dog.Device = nil
	switch {
	case device == nil:
	case !d.node.Clear():
		d.log.Error("ending with something still held: the watchdog is left running", "timeout", device.Timeout())
		if err := device.Close(); err != nil {
			d.log.Error("closing the watchdog", "err", err)
		}
	case device.NoWayOut():
		d.log.Warn("the watchdog cannot be stopped (nowayout): it resets this machine unless solovip is started again", "timeout", device.Timeout())
		fallthrough
	default:
		if err := device.Disarm(); err != nil {
			d.log.Error("stopping the watchdog", "err", err)
		}
	}
}
