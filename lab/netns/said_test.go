package netns

import "testing"

// A master that hears a lower priority stays master: whoever takes that for another state stops
// its service.
func TestStateByFIFO(t *testing.T) {
	for line, want := range map[string][2]string{
		`INSTANCE "VI_1" MASTER 150`:              {"VI_1", "MASTER"},
		`INSTANCE "VI_1" BACKUP 100`:              {"VI_1", "BACKUP"},
		`INSTANCE "VI_1" FAULT 100`:               {"VI_1", "FAULT"},
		`INSTANCE "VI_1" STOP 100`:                {"VI_1", "STOP"},
		`INSTANCE "VI_1" MASTER_RX_LOWER_PRI 150`: {},
		`INSTANCE "VI_1" BACKUP_PRIORITY 90`:      {},
		`GROUP "G" MASTER 0`:                      {},
		``:                                        {},
	} {
		if instance, state := state(line); instance != want[0] || state != want[1] {
			t.Errorf("%s: %q is %q, want %q", line, instance, state, want)
		}
	}
}
