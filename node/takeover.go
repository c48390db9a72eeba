package node

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/witness"
)

// Window is a span of time in which something is expected.
type Window struct{ Soonest, Latest time.Duration }

// String returns the span for people, to the millisecond: "2.29s to 3s".
func (w Window) String() string {
	return fmt.Sprintf("%v to %v", w.Soonest.Round(time.Millisecond), w.Latest.Round(time.Millisecond))
}

// TakeOver returns when a node is expected to have a claim after its holder has lost power, counted from
// that instant, if the holder has the same timing: advert is the interval of adverts, down the node's
// master-down interval. The last advert, and the last renewal, left up to one period before.
func TakeOver(mode arbiter.Mode, t witness.Timing, advert, down time.Duration) Window {
	byAdverts := Window{down - advert, down}
	byPermission := Window{t.Wait - t.Renew, t.Wait}
	switch mode {
	case arbiter.ModeLease:
		return byPermission // nobody waits for adverts once the lease has run out
	case arbiter.ModeQuorum:
		return Window{max(byAdverts.Soonest, byPermission.Soonest), max(byAdverts.Latest, byPermission.Latest)}
	case arbiter.ModeNone, arbiter.ModeVRRP, arbiter.ModeVeto:
	}
	return byAdverts
}
