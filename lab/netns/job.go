package netns

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// Job is one run of a scenario on a system.
type Job struct {
	Scenario scenario.Scenario `json:"scenario"`
	System   scenario.System   `json:"system"`
	Solovip  string            `json:"solovip"` // path of the binary under test
	Lab      string            `json:"lab"`     // path of a binary with the lab command: the stage and the guarded service
	Seed     uint64            `json:"seed"`    // of what the scenario leaves to chance
	Dir      string            `json:"dir"`     // for files of the run; empty: a new one
	Rarer    int               `json:"rarer"`   // the oracle looks so many times less often, where processors are slow; 0: as often as it says
	Keep     bool              `json:"keep"`    // leave all as it is at the end, and Dir with configurations, logs and the history
}

// Result is what a run brings home.
type Result struct {
	History verify.History `json:"history"`
	Said    []Said         `json:"said,omitempty"` // in order
	Logs    []Log          `json:"logs"`
	Dir     string         `json:"dir,omitempty"` // where the files are, when they were kept
	Kept    *Kept          `json:"kept,omitempty"`
}

// Kept is a stage that goes on after its run, with all that is in it. It ends, and leaves
// nothing behind but files, when the process is killed.
type Kept struct {
	Process int            `json:"process"` // the stage's process 1, as the runner counts
	Player  int            `json:"player"`  // the process that has the hosts open
	User    bool           `json:"user"`    // it has a user namespace of its own
	Hosts   map[string]int `json:"hosts"`   // by name: the player's descriptor of the host's network namespace
}

// Enter returns the command line by which the runner's user gets a shell on a host.
func (k Kept) Enter(host string) []string {
	argv := []string{"nsenter", "-t", strconv.Itoa(k.Player)}
	if k.User {
		argv = append(argv, "-U", "--preserve-credentials")
	}
	return append(argv, "-m", "-p", fmt.Sprintf("--net=/proc/%d/fd/%d", k.Player, k.Hosts[host]))
}

// Log is the end of what a host's daemons wrote.
type Log struct {
	Host string   `json:"host"`
	Path string   `json:"path"`
	Tail []string `json:"tail"`
}

// message is one line from the stage to the runner; exactly one field is set.
type message struct {
	Mark   *verify.Mark `json:"mark,omitempty"`
	Result *Result      `json:"result,omitempty"`
	Error  string       `json:"error,omitempty"`
}

// leaving is how long the stage gets to clean up before it is killed.
const leaving = 5 * time.Second

// Run plays a job and returns what was seen, calling progress with each mark as it is
// made. An error means that the lab itself did not work: what a system under test does
// wrong is in the history. Run blocks until everything it started is gone.
func Run(ctx context.Context, job Job, progress func(verify.Mark)) (_ Result, err error) {
	if err := job.Scenario.Validate(); err != nil {
		return Result{}, err
	}
	if job.Dir == "" {
		if job.Dir, err = os.MkdirTemp("", "solovip-lab-"); err != nil {
			return Result{}, fmt.Errorf("make a directory for the lab: %w", err)
		}
		if !job.Keep {
			defer func() { err = errors.Join(err, os.RemoveAll(job.Dir)) }()
		}
	}
	stage, err := startStage(ctx, job.Lab)
	if err != nil {
		return Result{}, err
	}
	if err := json.NewEncoder(stage.in).Encode(job); err != nil {
		return Result{}, stage.end(fmt.Errorf("hand the job to the stage: %w", err))
	}
	result, err := stage.read(progress)
	if err == nil && job.Keep {
		if result.Kept, err = stage.keep(result.Kept); err == nil {
			return result, nil
		}
		_ = stage.cmd.Process.Kill() // or it would go on, and nobody could tell how to end it
	}
	return result, stage.end(err)
}

// stage is the runner's side of a stage.
type stage struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr bytes.Buffer
	user   bool        // in a user namespace
	left   func() bool // keeps the end of the context from ending the stage
}

// startStage starts the stage in new namespaces: with a user namespace when the caller
// is not root, or is a root that may not make others.
func startStage(ctx context.Context, binary string) (*stage, error) {
	private := uintptr(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC)
	if os.Geteuid() == 0 {
		s, err := tryStage(ctx, binary, &syscall.SysProcAttr{Cloneflags: private, Setpgid: true})
		if !errors.Is(err, unix.EPERM) {
			return s, err
		}
	}
	s, err := tryStage(ctx, binary, &syscall.SysProcAttr{
		Cloneflags:  private | unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Setpgid:     true, // an interrupt at the terminal reaches the runner only, which ends the stage in order
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		return nil, fmt.Errorf("make private namespaces: %w; this kernel does not grant them to an ordinary user "+
			"(see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and "+
			"kernel.apparmor_restrict_unprivileged_userns): run the lab as root", err)
	}
	return s, err
}

func tryStage(ctx context.Context, binary string, attr *syscall.SysProcAttr) (*stage, error) {
	s := &stage{user: attr.Cloneflags&unix.CLONE_NEWUSER != 0}
	s.cmd = exec.Command(binary, "lab", stageName) //nolint:noctx // ends with its input
	s.cmd.SysProcAttr = attr
	s.cmd.Stderr = &s.stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe to the stage: %w", err)
	}
	if s.out, err = s.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe from the stage: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the stage: %w", err)
	}
	s.left = context.AfterFunc(ctx, func() {
		_ = s.in.Close() // the stage then cleans up and leaves
		time.AfterFunc(leaving, func() { _ = s.cmd.Process.Kill() })
	})
	return s, nil
}

// keep lets the stage go on without its runner, and completes how it can be reached.
func (s *stage) keep(k *Kept) (*Kept, error) {
	s.left()
	k.Process, k.User = s.cmd.Process.Pid, s.user
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", k.Process, k.Process))
	if err != nil {
		return nil, fmt.Errorf("find the processes of the stage: %w", err)
	}
	// The player is the first one that process 1 has started; orphans come behind it.
	for child := range strings.FieldsSeq(string(children)) {
		k.Player, err = strconv.Atoi(child)
		return k, err
	}
	return nil, errors.New("find the processes of the stage: it has none")
}

// read reads marks until the result or an error comes.
func (s *stage) read(progress func(verify.Mark)) (Result, error) {
	lines := bufio.NewReader(s.out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return Result{}, fmt.Errorf("the stage ended before its result: %w", err)
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return Result{}, fmt.Errorf("read from the stage: %w", err)
		}
		switch {
		case m.Mark != nil:
			progress(*m.Mark)
		case m.Result != nil:
			return *m.Result, nil
		default:
			return Result{}, errors.New(m.Error)
		}
	}
}

// end lets the stage go and waits until it, and with it all that it started, is gone.
func (s *stage) end(cause error) error {
	_ = s.in.Close() // the stage may have closed its end first
	err := s.cmd.Wait()
	s.left()
	if cause == nil {
		return err
	}
	if text := bytes.TrimSpace(s.stderr.Bytes()); len(text) > 0 {
		return fmt.Errorf("%w; the stage says: %s", cause, text)
	}
	return cause
}
