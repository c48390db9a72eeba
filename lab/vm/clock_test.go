package vm_test

import (
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
)

// The clock of the host that somebody works on is never moved, not even by root.
func TestTheHostsClockIsLeftAlone(t *testing.T) {
	if err := vm.MoveClock(time.Nanosecond); err == nil {
		t.Error("it has been moved")
	}
}
