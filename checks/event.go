package checks

import (
	"time"

	"github.com/solovip/solovip/lvs"
)

// Timing says when a check is made.
type Timing struct {
	Interval         time.Duration // from the start of one attempt to the next (delay_loop)
	Retry            int           // further attempts before a failure is believed
	DelayBeforeRetry time.Duration // from the end of an attempt that failed to the further one
	Pages            int           // tried in turn; 0 is as 1
	// FastRecovery tries the next page at once while the check is not up.
	FastRecovery bool
}

// Event is something that happened.
//
//sumtype:decl
type Event interface{ event() }

type (
	// Add begins a check, in place of one with the same id.
	Add struct {
		ID     lvs.CheckID
		Timing Timing
		First  time.Time // when its first attempt is due
	}
	// Remove ends a check. The outcome of an attempt under way means nothing any more.
	Remove struct{ ID lvs.CheckID }
	// Tick says that time has passed: due at Scheduler.Deadline.
	Tick struct{}
	// Done is the outcome of an attempt.
	Done struct {
		Attempt Attempt
		OK      bool
		Adjust  lvs.Adjust // with OK
		Why     string     // for people
	}
)

func (Add) event()    {}
func (Remove) event() {}
func (Tick) event()   {}
func (Done) event()   {}

// Action is an effect that the shell has to bring about.
//
//sumtype:decl
type Action interface{ action() }

type (
	// Attempt asks for one attempt; Done follows, unless the check is removed. There
	// is one at a time of each check.
	Attempt struct {
		ID     lvs.CheckID
		Page   int // from 0
		Due    time.Time
		Number uint64 // tells attempts apart
	}
	// Report brings the state of a check: after each attempt, once there is a state.
	Report struct{ Result lvs.Result }
)

func (Attempt) action() {}
func (Report) action()  {}
