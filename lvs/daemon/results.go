package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/lvs"
)

// resultsFile holds the last result of each check, for a successor to go on with should this
// process die. It is in the run directory and not synced: it need not outlive the kernel,
// whose table it speaks of.
func resultsFile(runDir string) string {
	return filepath.Join(control.LVSDir(runDir), "results.json")
}

type savedResults struct {
	Boot    string       `json:"boot"` // which boot of the host they are of
	Results []lvs.Result `json:"results"`
}

// save writes the results down beside the loop, when they have changed: at once, and then
// not again for a time that keeps it from taking much of a processor, however many servers
// come and go.
func (d *daemon) save() {
	if !d.unsaved || d.saving {
		return
	}
	d.unsaved, d.saving = false, true
	results := slices.Collect(maps.Values(d.known))
	d.work.Go(func() error {
		begun := time.Now()
		if err := writeResults(d.opt.RunDir, results); err != nil {
			d.log.Warn("should this process die, its successor has to check all servers before it knows which are down", "err", err)
		}
		pause(d.workCtx, 4*time.Since(begun))
		d.saved <- struct{}{} // its place is free: one is written at a time
		return nil
	})
}

func writeResults(runDir string, results []lvs.Result) error {
	boot, err := boottime.ID()
	if err != nil {
		return err
	}
	slices.SortFunc(results, func(a, b lvs.Result) int { return strings.Compare(string(a.Check), string(b.Check)) })
	text, err := json.Marshal(savedResults{boot, results})
	if err != nil {
		return err
	}
	path := resultsFile(runDir)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readResults returns what a former run found of these checks, if it has died in this boot.
func readResults(runDir string, checks map[lvs.CheckID]config.Checker) []lvs.Result {
	text, err := os.ReadFile(resultsFile(runDir))
	if err != nil {
		return nil // there is none
	}
	var saved savedResults
	boot, err := boottime.ID()
	if err != nil || json.Unmarshal(text, &saved) != nil || saved.Boot != boot {
		return nil
	}
	return slices.DeleteFunc(saved.Results, func(r lvs.Result) bool {
		_, there := checks[r.Check]
		return !there
	})
}

// forgetResults removes the file: what follows has nothing to go on with.
func forgetResults(runDir string) error {
	if err := os.Remove(resultsFile(runDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the results of checks: %w", err)
	}
	return nil
}
