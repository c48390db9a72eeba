package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// roleVariable tells a copy of this program which part it has.
const roleVariable = "SOLOVIP_SELFTEST"

// The parts.
const (
	roleStage  = "stage"
	roleHolder = "holder"
)

// ErrFailed says that the address answered after its deadline, or stayed.
var ErrFailed = errors.New("the gate does not do on this host what it must")

// Options says how to test.
type Options struct {
	// Again are the arguments by which this program comes to Run again.
	Again  []string
	Rounds int // how often the holder is frozen, from 1
	Out    io.Writer
}

// Run tests and prints what it finds. The error is ErrFailed, or what kept it from testing.
func Run(ctx context.Context, opt Options) error {
	switch os.Getenv(roleVariable) {
	case roleStage:
		return runStage(ctx, opt)
	case roleHolder:
		return runHolder(os.Stdout)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, opt.Again...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleStage)
	var said strings.Builder // why it has failed
	cmd.Stdout, cmd.Stderr = opt.Out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	err = cmd.Run()
	why := strings.TrimPrefix(strings.TrimSpace(said.String()), "solovip: ")
	switch {
	case err != nil && strings.Contains(why, ErrFailed.Error()):
		return ErrFailed
	case err != nil && why != "":
		return errors.New(why)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("make namespaces: %w: run this as root, or allow ordinary users to make user namespaces", err)
	case err != nil:
		return fmt.Errorf("test in namespaces: %w", err)
	}
	return nil
}

// startHolder starts the process that is to be frozen.
func startHolder(again []string) (*exec.Cmd, io.ReadCloser, error) {
	cmd := exec.Command("/proc/self/exe", again...) //nolint:noctx // it is killed by hand
	cmd.Env = append(os.Environ(), roleVariable+"="+roleHolder)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, out, cmd.Start()
}

// kernel returns the name and release of this kernel.
func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
}

// parseDeadline reads what the holder prints: nanoseconds on the boot clock.
func parseDeadline(line string) (int64, error) { return strconv.ParseInt(line, 10, 64) }
