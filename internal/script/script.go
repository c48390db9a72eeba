package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Script is a program to be run, with no input and no output.
type Script struct {
	Args []string // Args[0] is the program
	User string   // "user[ group]" or "user:group"; empty: this process's own
	Env  []string // added to this process's own, as NAME=VALUE
}

// grace is the time a script has to end by itself when its time is over.
const grace = time.Second

// Run runs the script and waits for its end. After limit its whole process group is asked
// to end, and killed a second later; when ctx is canceled it is killed at once. A nil error says that it exited with status 0; one that exited with another
// has an *exec.ExitError in its error.
func (s Script) Run(ctx context.Context, limit time.Duration) error {
	if len(s.Args) == 0 {
		return errors.New("no command")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		}
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	cmd.WaitDelay = grace // then it is killed
	cmd.Env = append(os.Environ(), s.Env...)
	if s.User != "" {
		cred, err := credential(s.User)
		if err != nil {
			return err
		}
		cmd.SysProcAttr.Credential = cred
	}
	err := cmd.Run()
	if cmd.Process != nil && ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has started; mostly nothing
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: killed after %v", s.Args[0], limit)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Args[0], err)
	}
	return nil
}

// credential resolves "user", "user group" or "user:group" to numbers.
func credential(spec string) (*syscall.Credential, error) {
	name, group, _ := strings.Cut(strings.ReplaceAll(spec, " ", ":"), ":")
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("script user %q: %w", name, err)
	}
	gid := u.Gid
	if group = strings.TrimLeft(group, ":"); group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return nil, fmt.Errorf("script group %q: %w", group, err)
		}
		gid = g.Gid
	}
	if u.Uid == strconv.Itoa(os.Geteuid()) && gid == strconv.Itoa(os.Getegid()) {
		return nil, nil //nolint:nilnil // no change of user is needed, and an ordinary user may not make one
	}
	uidN, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gidN, err2 := strconv.ParseUint(gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uidN), Gid: uint32(gidN)}, errors.Join(err1, err2)
}
