package lab

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/lab/netns"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
	"github.com/solovip/solovip/lab/vm"
)

// A run that moves the wall clock must not meet that of this host. It is played in a virtual
// machine, by the same binary, which tells here line by line what it sees.

// Paths in the machine.
const (
	guestSolovip = "/lab/solovip"
	guestLab     = "/lab/lab"
	guestJob     = "/lab/job.json"
)

// machineLimit bounds a run in a machine, which may wait for anything but ends by itself.
const machineLimit = 10 * time.Minute

// rarer is how many times less often the oracle looks in a machine, whose processor is emulated:
// there each look takes this host many times as long.
const rarer = 10

// told is one line from the machine; exactly one field is set.
type told struct {
	Mark   *verify.Mark  `json:"mark,omitempty"`
	Result *netns.Result `json:"result,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// playInMachine plays a job as netns.Run does, in a virtual machine. What is missing on this host
// for that is an error with its remedy.
func playInMachine(ctx context.Context, job netns.Job, progress func(verify.Mark)) (netns.Result, error) {
	m, err := machineOf(job)
	if err != nil {
		return netns.Result{}, err
	}
	job.Lab, job.Rarer = guestLab, rarer
	if job.Solovip = guestLab; m.Files[guestSolovip] != "" {
		job.Solovip = guestSolovip
	}
	file, err := jobFile(job)
	if err != nil {
		return netns.Result{}, err
	}
	defer os.Remove(file)
	m.Files[guestJob] = file
	from, to := io.Pipe()
	m.Out = to
	var last told
	var hearing sync.WaitGroup
	hearing.Go(func() { last = hear(from, progress) })
	ctx, cancel := context.WithTimeout(ctx, machineLimit)
	defer cancel()
	r, err := m.Run(ctx)
	_ = to.Close() // never fails
	hearing.Wait()
	switch {
	case err != nil:
		return netns.Result{}, fmt.Errorf("play in a machine of its own: %w", err)
	case last.Error != "":
		return netns.Result{}, errors.New(last.Error)
	case last.Result == nil:
		return netns.Result{}, fmt.Errorf("play in a machine of its own: there is no result: %w", cmp.Or(r.Err(), errors.New("it ended in order")))
	}
	return *last.Result, nil
}

// machineOf returns the machine for a job: with the kernel's modules for whatever a scenario
// may do, and with the programs that this one needs.
func machineOf(job netns.Job) (vm.Machine, error) {
	m := vm.Machine{
		Fast:     true,
		Modules:  []string{"bridge", "veth", "nf_tables"},
		Spare:    []string{"macvlan", "nf_conntrack", "nft_ct", "nft_numgen", "nft_reject_inet", "nft_limit", "nft_fib_inet"},
		Programs: []string{"flock"},
		Files:    map[string]string{guestLab: job.Lab},
		Command:  []string{guestLab, "lab", machineName, guestJob},
	}
	if job.Solovip != job.Lab {
		m.Files[guestSolovip] = job.Solovip
	}
	s := job.Scenario
	plays := func(step scenario.Step) bool { return step.System == scenario.Keepalived }
	for _, program := range []struct {
		needed bool
		find   func() (string, error)
	}{
		{job.System == scenario.Keepalived || s.Begin == scenario.Keepalived || slices.ContainsFunc(s.Steps, plays), netns.KeepalivedPath},
		{job.System == scenario.Lease && len(s.Named(scenario.Etcd)) > 0, netns.EtcdPath},
		{s.Web, netns.NginxPath},
	} {
		if !program.needed {
			continue
		}
		path, err := program.find()
		if err != nil {
			return vm.Machine{}, err
		}
		m.Programs = append(m.Programs, path)
	}
	if s.Web {
		m.Programs = append(m.Programs, "/bin/bash") // its health check, as people write it
	}
	return m, nil
}

// jobFile writes the job into a temporary file.
func jobFile(job netns.Job) (string, error) {
	f, err := os.CreateTemp("", "solovip-job-*.json")
	if err != nil {
		return "", fmt.Errorf("make a file for the machine's job: %w", err)
	}
	if err := errors.Join(json.NewEncoder(f).Encode(job), f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write the machine's job: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// hear reads what the machine tells to its end, and returns the last word of it: a result or an
// error, if there was one.
func hear(from io.Reader, progress func(verify.Mark)) (last told) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		var t told
		switch {
		case json.Unmarshal(line, &t) != nil: // not ours
		case t.Mark != nil:
			progress(*t.Mark)
		default:
			last = t
		}
		if err != nil {
			return last
		}
	}
}

// machineName is the command that a machine runs.
const machineName = "in-machine"

// machineCommand plays the job in a file, and tells what it sees, a line each.
func machineCommand() *cli.Command {
	return &cli.Command{
		Name: machineName, Usage: "for the lab's own use", Hidden: true,
		Action: func(c *cli.Context) error {
			text, err := os.ReadFile(c.Args().First())
			if err != nil {
				return fmt.Errorf("read the job: %w", err)
			}
			var job netns.Job
			if err := json.Unmarshal(text, &job); err != nil {
				return fmt.Errorf("read the job: %w", err)
			}
			tell := json.NewEncoder(c.App.Writer)
			result, err := netns.Run(c.Context, job, func(m verify.Mark) { _ = tell.Encode(told{Mark: &m}) }) // who hears it is this machine's end too
			if err != nil {
				return tell.Encode(told{Error: err.Error()})
			}
			return tell.Encode(told{Result: &result})
		},
	}
}
