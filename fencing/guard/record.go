package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// phase is how far a start by commands has come.
type phase string

const (
	phaseStarting   phase = "starting"   // the start command may have had any effect
	phaseForeground phase = "foreground" // the start command stayed: it is the service
	phaseBackground phase = "background" // the start command has exited with 0
	phaseEscaped    phase = "escaped"    // it has, and nothing could stop what it started
)

// record is a run file: what a successor needs to stop the service, even without the
// configuration it was started from.
type record struct {
	Name        string        `json:"name"`
	Systemd     string        `json:"systemd,omitempty"`
	Start       []string      `json:"start,omitempty"`
	Stop        []string      `json:"stop,omitempty"`
	Status      []string      `json:"status,omitempty"`
	Env         []string      `json:"env,omitempty"`
	StopTimeout time.Duration `json:"stop_timeout_ns"`
	PIDFile     string        `json:"pid_file,omitempty"`

	Boot  string `json:"boot"`            // the boot the process belongs to
	PID   int    `json:"pid,omitempty"`   // of the start command, which leads a session
	Ticks uint64 `json:"ticks,omitempty"` // its start, in clock ticks since the boot
	Mark  string `json:"mark,omitempty"`  // in the environment of what it started
	Phase phase  `json:"phase,omitempty"`

	Cgroup    cgroup `json:"cgroup,omitempty"`    // what was started is in there
	Contained bool   `json:"contained,omitempty"` // and all of the service is
	MainPID   int    `json:"main_pid,omitempty"`  // what the pid file named when it was up
	MainTicks uint64 `json:"main_ticks,omitempty"`
}

const (
	filePrefix = "guard-"
	fileSuffix = ".json"
)

// runFile is the path of a guard's run file; a name may hold any character.
func runFile(dir, name string) string {
	return filepath.Join(dir, filePrefix+url.PathEscape(name)+fileSuffix)
}

// newRecord is the part of a record that comes from the configuration.
func newRecord(cfg Config, env []string) (*record, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	return &record{
		Name: cfg.Name, Systemd: cfg.Systemd, Start: cfg.Start.Args, Stop: cfg.Stop.Args,
		Status: cfg.Status.Args, Env: append(append([]string{}, cfg.Env...), env...),
		StopTimeout: cfg.StopTimeout, PIDFile: cfg.PIDFile, Boot: boot,
	}, nil
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// loadRecord reads a run file. One of an earlier boot is removed and is as none: the
// processes it speaks of ended with that boot. The error is os.ErrNotExist for none.
func loadRecord(file string) (*record, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if r.Boot != boot {
		if err := os.Remove(file); err != nil {
			return nil, err
		}
		return nil, os.ErrNotExist
	}
	return &r, nil
}

// save writes the run file so that it is there as a whole or not at all.
func (r *record) save(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the run file: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write the run file: %w", err)
	}
	return nil
}

// forget removes a run file, after the service was shown to be stopped.
func forget(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the run file: %w", err)
	}
	return nil
}

// Adopt returns a guard for each run file in the directory, made from the file alone:
// what a daemon that died has left, to be stopped before anything else. The guards are
// in the order of their names. units may be nil; a unit is then an error, as is a file
// that cannot be read. The guards that are fine are returned beside the error.
func Adopt(runDir string, units func(context.Context) (Units, error), log *slog.Logger) ([]*Guard, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(runDir), filePrefix+"*"+fileSuffix))
	if err != nil {
		return nil, fmt.Errorf("look for run files of guards: %w", err)
	}
	var guards []*Guard
	var errs []error
	for _, file := range files {
		rec, err := loadRecord(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var g *Guard
		if err == nil {
			g, err = New(Config{
				Name: rec.Name, Systemd: rec.Systemd, Units: units,
				Start: Command{rec.Start}, Stop: Command{rec.Stop}, Status: Command{rec.Status},
				Env: rec.Env, StopTimeout: rec.StopTimeout, PIDFile: rec.PIDFile, RunDir: runDir, Logger: log,
			})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("adopt a guard: %w", err))
			continue
		}
		guards = append(guards, g)
	}
	return guards, errors.Join(errs...)
}

// escapeGlob makes a path match itself only.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
