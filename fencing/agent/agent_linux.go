package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Parameter is one line that an agent reads.
type Parameter struct{ Key, Value string }

// Config is one agent and the node that it switches off.
type Config struct {
	Program    string // a name in PATH, or a path
	Parameters []Parameter
	Target     string        // the node's name: given as nodename, unless the parameters have one
	Reboot     bool          // switch it on again, once it was shown to be off
	Retries    int           // how often it is tried again; 0: never
	Timeout    time.Duration // of each call
	Verify     time.Duration // how long the status may take to say off
}

// maxOutput bounds what is kept of an agent's output, in bytes.
const maxOutput = 64 << 10

// verifyEvery is how often the status is asked for while it does not say off.
const verifyEvery = time.Second

// ErrNotOff says that the node could not be shown to be switched off.
var ErrNotOff = errors.New("the node is not shown to be switched off")

// Agent is a fence agent. It keeps no state; its methods block until the agent has ended.
type Agent struct{ cfg Config }

// New returns the agent. It starts nothing.
func New(cfg Config) *Agent { return &Agent{cfg: cfg} }

// Program returns the agent's name.
func (a *Agent) Program() string { return a.cfg.Program }

// Off switches the node off and returns nil when the agent's status has said off after
// that. The error wraps ErrNotOff and says what the last try came to.
func (a *Agent) Off(ctx context.Context) error {
	var last error
	for range a.cfg.Retries + 1 {
		_, err := a.call(ctx, "off")
		// Whatever it says of itself, the status decides.
		if last = a.verify(ctx); last == nil {
			return a.rebooted(ctx)
		}
		if err != nil {
			last = errors.Join(err, last)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("%s: %w: %w", a.cfg.Program, ErrNotOff, last)
}

// verify asks for the status until it says off, for as long as that may take.
func (a *Agent) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Verify+a.cfg.Timeout)
	defer cancel()
	end := time.Now().Add(a.cfg.Verify)
	for {
		state, err := a.Status(ctx)
		switch {
		case state == Off:
			return nil
		case !time.Now().Before(end) && err != nil:
			return err
		case !time.Now().Before(end):
			return fmt.Errorf("after %v its status is %v", a.cfg.Verify, state)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(verifyEvery):
		}
	}
}

// rebooted switches the node on again, if that is wanted. That it fails is no matter of
// safety: the node is off.
func (a *Agent) rebooted(ctx context.Context) error {
	if a.cfg.Reboot {
		_, _ = a.call(ctx, "on")
	}
	return nil
}

// Status asks whether the node is switched on. With Unknown comes an error if there is a
// reason to tell.
func (a *Agent) Status(ctx context.Context) (State, error) {
	out, err := a.call(ctx, "status")
	exit := exitOn
	if err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok || !failed.Exited() {
			return Unknown, err
		}
		exit = failed.ExitCode()
	}
	state := ParseStatus(exit, out)
	if state == Unknown && err == nil {
		err = fmt.Errorf("%s: exit status %d and its words contradict each other: %.80q", a.cfg.Program, exit, out)
	}
	if state != Unknown {
		err = nil
	}
	return state, err
}

// Check reports whether the agent is there, knows the actions that are needed, and reaches
// its device. It switches nothing.
func (a *Agent) Check(ctx context.Context) error {
	out, err := a.call(ctx, "metadata")
	if err != nil {
		return err
	}
	m, err := ParseMetadata(out)
	if err != nil {
		return fmt.Errorf("%s: %w", a.cfg.Program, err)
	}
	if lacks := m.lacks("off", "status"); lacks != "" {
		return fmt.Errorf("%s does not know the actions %s", a.cfg.Program, lacks)
	}
	_, err = a.call(ctx, "monitor")
	return err
}

// call runs the agent once and returns its standard output. An error is what has kept it
// from ending, or an *exec.ExitError, with the last line that it has said.
func (a *Agent) call(ctx context.Context, action string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.cfg.Program)
	cmd.Stdin = strings.NewReader(a.input(action))
	out, said := &bounded{}, &bounded{}
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, said, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a child that keeps our pipes must not keep us
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%s action=%s: killed after %v", a.cfg.Program, action, a.cfg.Timeout)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s action=%s: %w", a.cfg.Program, action, ctx.Err())
	case err != nil:
		return out.text, fmt.Errorf("%s action=%s: %w: %s", a.cfg.Program, action, err, lastLine(said.text))
	}
	return out.text, nil
}

// input is what the agent reads.
func (a *Agent) input(action string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "action=%s\n", action)
	named := false
	for _, p := range a.cfg.Parameters {
		fmt.Fprintf(&b, "%s=%s\n", p.Key, p.Value)
		named = named || p.Key == "nodename"
	}
	if !named && a.cfg.Target != "" {
		fmt.Fprintf(&b, "nodename=%s\n", a.cfg.Target)
	}
	return b.String()
}

// bounded keeps the first maxOutput bytes of what is written, and swallows the rest.
type bounded struct{ text []byte }

// Write never fails.
func (b *bounded) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), maxOutput-len(b.text))]...)
	return len(p), nil
}

// lastLine is the last thing that an agent has said, for people.
func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return fmt.Sprintf("%.200q", lines[len(lines)-1])
}
