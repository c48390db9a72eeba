package stories_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// TestClockStep plays the shipped scenario by the lab's command, as people do. That the clock of
// its daemons has jumped shows in their logs.
func TestClockStep(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	var complaints strings.Builder
	cmd := exec.CommandContext(ctx, bin, "lab", "run", "--json", "clock-step")
	cmd.Stderr = &complaints
	out, failed := cmd.Output()
	var runs []struct {
		Error   string
		Verdict struct{ Failures []string }
		Result  struct {
			Logs []struct {
				Host string
				Tail []string
			}
		}
	}
	if err := json.Unmarshal(out, &runs); err != nil || len(runs) != 1 {
		t.Fatalf("%v: %v\n%s\n%s", failed, err, out, complaints.String())
	}
	run := runs[0]
	if failed != nil {
		err := fmt.Errorf("%w: %s%s", failed, run.Error, strings.Join(run.Verdict.Failures, "; "))
		if strings.Contains(run.Error, vm.ErrMissing.Error()) {
			err = errors.Join(err, vm.ErrMissing)
		}
		vmtest.Missing(t, err)
	}
	for _, log := range run.Result.Logs {
		if log.Host != "n2" {
			continue
		}
		last := log.Tail[len(log.Tail)-1]
		stamp, _, _ := strings.Cut(strings.TrimPrefix(last, "time="), " ")
		at, err := time.Parse(time.RFC3339, stamp)
		if err != nil {
			t.Fatalf("%v in %q", err, last)
		}
		const jumped = 24*time.Hour - 8760*time.Hour + 3*time.Second - 5*time.Second - 2*time.Hour
		if off := time.Until(at) - jumped; off.Abs() > 30*time.Minute {
			t.Errorf("by %q the clock is off by %v, besides the jumps of %v", last, off, jumped)
		}
		return
	}
	t.Error("there is no log of n2")
}
