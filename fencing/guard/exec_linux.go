package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is a command we started, in a session of its own, which it leads.
type child struct {
	pid  int
	done chan struct{} // closed when it has ended and err is set
	err  error         // nil: exit 0
}

// startProcess starts a program, in a control group unless that is empty; follow gets
// the end to read its output from.
func startProcess(cmd *exec.Cmd, group cgroup, follow func(*os.File)) (*child, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// Our end of the pipe only: a service in the background keeps the other, and to wait
	// for it to close would be to wait for the service.
	cmd.Stdout, cmd.Stderr, cmd.Dir = w, w, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if group != "" {
		dir, err := os.Open(string(group))
		if err != nil {
			_, _ = r.Close(), w.Close()
			return nil, err
		}
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	follow(r)
	c := &child{pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() { // ends with the process
		c.err = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// gateScript waits for a line on descriptor 3 before it becomes the program. Without
// one, because we died before the run file was written, it ends and has done nothing.
const gateScript = `IFS= read -r go <&3 && exec "$@" 3<&-`

// startGated starts a program that takes effect only after commit has returned nil,
// under the process id that commit is given.
//
// It starts in the control group; where that is refused, group becomes empty and it
// starts without.
func startGated(args, env []string, group *cgroup, follow func(*os.File), commit func(pid int) error) (*child, error) {
	if _, err := exec.LookPath(args[0]); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	program := func() *exec.Cmd {
		cmd := exec.Command("/bin/sh", append([]string{"-c", gateScript, "guard"}, args...)...) //nolint:noctx // a service outlives what started it
		cmd.Env = env
		cmd.ExtraFiles = []*os.File{r}
		return cmd
	}
	c, err := startProcess(program(), *group, follow)
	if err != nil && *group != "" {
		group.remove()
		*group = ""
		c, err = startProcess(program(), "", follow)
	}
	_ = r.Close()
	if err != nil {
		return nil, err
	}
	if err := commit(c.pid); err != nil {
		return nil, err // w closes, and the program is not started
	}
	_, err = w.WriteString("go\n")
	return c, err
}

// run runs a command to its end, or until ctx ends; then it and what it started is
// killed, and the error is ctx's.
func run(ctx context.Context, args, env []string, follow func(*os.File)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // its whole process group is killed below
	cmd.Env = env
	c, err := startProcess(cmd, "", follow)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	_ = unix.Kill(-c.pid, unix.SIGKILL) // not reaped yet, so the number is its own
	select {
	case <-c.done:
		return fmt.Errorf("%s was killed: %w", args[0], ctx.Err())
	case <-time.After(killLimit): // it sits in the kernel; the goroutine stays until it ends
		return fmt.Errorf("%s cannot be killed: %w", args[0], ctx.Err())
	}
}

// exitCode returns the exit status of a command that ran, and whether it has one.
func exitCode(err error) (int, bool) {
	if err == nil {
		return 0, true
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), true
	}
	return 0, false
}
