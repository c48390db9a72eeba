package daemon

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/node"
)

// ErrLeft is what Run returns when it has left what it holds in place for a successor. The
// process has to end at once, without a word to anybody: it holds no more, yet all looks
// as if it did, until the permission ends that is written down in the run state.
var ErrLeft = errors.New("what is held was left in place for a successor")

// leftBehind is what a run has left in place for its successor, who holds it from when this
// run is dead.
type leftBehind struct {
	Mode    string               `json:"mode"`
	Claims  map[string]leftClaim `json:"claims"`
	Scripts map[string]bool      `json:"scripts,omitempty"` // tracked scripts: whether they are up
}

// leftClaim is the permission for one claim. Instants are times since the boot.
type leftClaim struct {
	Leased   time.Duration `json:"leased_ns,omitempty"`
	Promised time.Duration `json:"promised_ns,omitempty"`
	// Until is when at the latest it may be adopted: the end of the permission, or where
	// there is none, well before a backup misses the third advert.
	Until time.Duration `json:"until_ns"`
}

func sinceBoot(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return time.Duration(t.UnixNano())
}

func atBoot(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return boottime.At(d)
}

// leaveInPlace writes down what is held, for a successor. After an error nothing has changed.
func (d *daemon) leaveInPlace() error {
	if _, err := d.planReload(); err != nil {
		return fmt.Errorf("a successor could not run: %w", err)
	}
	if len(d.retired) > 0 {
		return errors.New("a reload is under way")
	}
	now := boottime.Now()
	kept, err := d.node.Keep(now)
	if err != nil {
		return err
	}
	left := &leftBehind{Mode: d.settings.node.Mode.String(), Claims: map[string]leftClaim{}, Scripts: d.up}
	for name, k := range kept {
		until := k.Until()
		if until.IsZero() {
			until = now.Add(d.settings.claims[name].patience)
		}
		left.Claims[name] = leftClaim{Leased: sinceBoot(k.Leased), Promised: sinceBoot(k.Promised), Until: sinceBoot(until)}
	}
	if err := d.run.leave(left, kept); err != nil {
		return err
	}
	d.log.Info("leaving what is held in place for a successor", "claims", sortedKeys(kept))
	return nil
}

// inPlace returns the claims that a former run has left in place and that may still be adopted.
func (d *daemon) inPlace() []string {
	if d.left == nil {
		return nil
	}
	var names []string
	for _, name := range sortedKeys(d.left.Claims) {
		if _, known := d.run.data.Claims[name]; known && boottime.Now().Before(atBoot(d.left.Claims[name].Until)) {
			names = append(names, name)
		}
	}
	return names
}

// adoptable returns those of them that the present configuration has as they are.
func (d *daemon) adoptable() map[string]node.Kept {
	kept := map[string]node.Kept{}
	for _, name := range d.inPlace() {
		set, ok := d.settings.claims[name]
		c := d.run.data.Claims[name]
		if !ok || d.left.Mode != d.settings.node.Mode.String() || !slices.Equal(c.Addresses, set.addresses) || !slices.Equal(c.Guards, set.guardNames()) {
			continue
		}
		l := d.left.Claims[name]
		kept[name] = node.Kept{Token: c.Token, Leased: atBoot(l.Leased), Promised: atBoot(l.Promised)}
	}
	return kept
}

// armAdopted opens the gate again for what is adopted: to open its tables has shut it.
func (d *daemon) armAdopted() {
	for _, name := range sortedKeys(d.settings.node.Kept) {
		if err := d.gate.Arm(d.settings.node.Kept[name].Until(), gated(d.settings.claims[name].addresses)); err != nil {
			d.log.Warn("arming the gate for what is adopted", "claim", name, "err", err) // the node tries again
		}
	}
}

// guardNames returns the names of the services that run only where the claim is held.
func (c claimSettings) guardNames() []string {
	var names []string
	for _, g := range c.guards {
		names = append(names, g.Name)
	}
	return names
}
