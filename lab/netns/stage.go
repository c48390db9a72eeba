package netns

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// Stage is the main program of a stage: it reads a Job from in, plays it, and writes
// marks and the result to out. When in ends, it cleans up and returns.
//
// As process 1 of its namespace it first becomes two: process 1 only collects dead
// orphans, as an init must so that a daemon which waits for its killed child sees it
// go, and its child does the work.
func Stage(in io.Reader, out io.Writer) error {
	if os.Getpid() == 1 {
		return beInit()
	}
	// The lab measures milliseconds: where it may, it goes before its neighbours.
	_ = unix.Setpriority(unix.PRIO_PGRP, 0, -10)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var job Job
	if err := json.Unmarshal(line, &job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var kept atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, lines) // until the runner is gone or wants us gone
		if kept.Load() {
			return
		}
		cancel(errors.New("interrupted"))
		// Should the player hang, nothing may stay behind on the host.
		time.AfterFunc(leaving/2, func() { os.Exit(1) })
	}()

	r := &reporter{enc: json.NewEncoder(out)}
	result, err := play(ctx, job, func(m verify.Mark) { r.send(message{Mark: &m}) })
	switch {
	case context.Cause(ctx) != nil:
		if !job.Keep {
			_ = os.RemoveAll(job.Dir) // the runner may be gone; it does the same
		}
	case err != nil:
		r.send(message{Error: err.Error()})
	default:
		kept.Store(job.Keep)
		r.send(message{Result: &result})
	}
	for kept.Load() {
		_ = unix.Pause() // until somebody has looked and kills us
	}
	return nil
}

// reporter writes messages, one a line, from several goroutines.
type reporter struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (r *reporter) send(m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.enc.Encode(m) // a runner that is gone ends our input as well
}

// beInit starts this program again and collects dead children until that one ends.
// With it end process 1 and, by the kernel, all others.
func beInit() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the stage's own binary: %w", err)
	}
	player, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return fmt.Errorf("start the player: %w", err)
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the player: %w", err)
		case pid == player && status.ExitStatus() != 0:
			return fmt.Errorf("the player ended with status %d", status)
		case pid == player:
			return nil
		}
	}
}

// play sets the stage up, plays the job and returns what was seen.
func play(ctx context.Context, job Job, progress func(verify.Mark)) (result Result, err error) {
	if err := privateMounts(job); err != nil {
		return Result{}, err
	}
	if !job.Keep {
		defer func() { _ = unix.Unmount(job.Dir, unix.MNT_DETACH) }() // not mounted: removed as a directory
	}
	var nodes []string
	for _, h := range job.Scenario.Named(scenario.Node) {
		nodes = append(nodes, h.Name)
	}
	service := verify.UDP
	if job.Scenario.Web {
		service = verify.HTTP
	}
	var vips []string
	for _, c := range job.Scenario.Claims {
		vips = append(vips, c.Name)
	}
	p := &player{job: job, seen: newObserver(nodes, vips, service, progress), random: rand.New(rand.NewPCG(job.Seed, 0))}
	defer func() {
		if result.Kept == nil {
			p.close()
		}
	}()
	if err := p.setUp(); err != nil {
		return Result{}, err
	}
	watched, err := p.watch(ctx)
	if err != nil {
		return Result{}, err
	}
	// An oracle that fails ends the play, and its error says more than that end.
	err = p.playSteps(watched)
	p.loads.Wait()
	history, failed := p.stopWatching()
	if err := cmp.Or(failed, err); err != nil {
		return Result{}, err
	}
	if history.Ledger, err = p.ledgers(); err != nil {
		return Result{}, err
	}
	result = Result{History: history, Said: p.seen.hearsay(), Logs: p.logs()}
	if !job.Keep {
		return result, nil
	}
	result.Dir, result.Kept = job.Dir, &Kept{Hosts: map[string]int{}}
	for name, h := range p.net.hosts {
		result.Kept.Hosts[name] = h.ns
	}
	return result, writeJSON(filepath.Join(job.Dir, "history.json"), result.History)
}

// cgroups is where control groups are.
const cgroups = "/sys/fs/cgroup"

// privateMounts makes what the run mounts its own affair, shows it its own processes,
// and keeps its files in memory, where nothing survives and no slow disk disturbs.
func privateMounts(job Job) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// A container may forbid a new /proc; the old one, with outer process ids, serves us too.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	// A guard of ours would make a control group, which nothing removes with the stage.
	if _, err := os.Stat(cgroups); err == nil {
		if err := unix.Mount("tmpfs", cgroups, "tmpfs", unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("hide the control groups: %w", err)
		}
	}
	if job.Keep {
		return nil
	}
	if err := unix.Mount("tmpfs", job.Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=256m"); err != nil {
		return fmt.Errorf("mount a file system in memory on %s: %w", job.Dir, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
