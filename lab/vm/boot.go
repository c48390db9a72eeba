package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	emulator      = "qemu-system-x86_64"
	defaultMemory = 1024
)

// boot runs qemu on the kernel and the file system, which it closes.
func (m Machine) boot(ctx context.Context, qemu string, k *kernel, image *os.File) (Result, error) {
	defer image.Close()
	cmd := exec.CommandContext(ctx, qemu, m.arguments(k)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	w, err := wire(cmd, image)
	if err != nil {
		return Result{}, err
	}
	begun := time.Now()
	ran := make(chan error, 1)
	go func() { ran <- w.run(cmd) }()
	var r Result
	var readers sync.WaitGroup
	readers.Go(func() { r.Output = readAll(w.output, m.Out) })
	readers.Go(func() { r.Console = readAll(w.console, nil) })
	readers.Go(func() { r.End = follow(w.words, w.commands) })
	err = <-ran
	readers.Wait()
	r.Took = time.Since(begun)
	r.Exit = r.takeStatus()
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("the machine was switched off after %v: %w; it printed:\n%s\nand its kernel said:\n%s",
			r.Took.Round(time.Millisecond), ctx.Err(), tail(r.Output), tail(r.Console))
	case err != nil:
		return r, fmt.Errorf("run the emulator: %w: %s", err, strings.TrimSpace(complaints.String()))
	}
	return r, nil
}

// arguments is qemu's command line. A machine that resets ends, as one that is switched off.
// Its time passes with each instruction, by two to the power of shift in ns, and jumps while it is idle.
func (m Machine) arguments(k *kernel) []string {
	memory := m.MemoryMiB
	if memory == 0 {
		memory = defaultMemory
	}
	shift := "2"
	if m.Fast {
		shift = "0"
	}
	args := []string{
		"-machine", "q35", "-accel", "tcg", "-icount", "shift=" + shift + ",sleep=off", "-rtc", "clock=vm", "-cpu", "max", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(k.dir, "vmlinux"), "-initrd", "/proc/self/fd/5",
		"-append", "console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on mitigations=off cryptomgr.notests " + mark,
		"-qmp", "stdio",
		"-chardev", "file,id=output,path=/proc/self/fd/3", "-chardev", "file,id=console,path=/proc/self/fd/4",
		"-serial", "chardev:console", "-serial", "chardev:output",
	}
	for _, d := range m.Devices {
		args = append(args, "-device", d)
	}
	return args
}

// wires are this process's ends of what the emulator writes to, and reads from.
type wires struct {
	output, console, words *os.File
	commands               io.WriteCloser
	theirs                 []*os.File // the other ends, to be closed here once it runs
}

// wire gives the emulator its files: 3 for the machine's output, 4 for its console, 5 with its file
// system, and the standard ones for its own protocol.
func wire(cmd *exec.Cmd, image *os.File) (*wires, error) {
	var w wires
	for _, mine := range []**os.File{&w.output, &w.console, &w.words} {
		from, to, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe for the emulator: %w", err)
		}
		*mine = from
		w.theirs = append(w.theirs, to)
	}
	cmd.ExtraFiles, cmd.Stdout = []*os.File{w.theirs[0], w.theirs[1], image}, w.theirs[2]
	var err error
	if w.commands, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe for the emulator: %w", err)
	}
	return &w, nil
}

// run runs the emulator to its end. It goes with this process, however that ends: the kernel
// ties it to the thread, which is kept for it.
func (w *wires) run(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Start()
	for _, f := range w.theirs {
		_ = f.Close() // the emulator has its own
	}
	if err != nil {
		_ = w.commands.Close() // Start's error says it all
		return err
	}
	return cmd.Wait()
}

// readAll reads what comes from a serial port to its end, and passes it on to a listener.
func readAll(from *os.File, out io.Writer) string {
	defer from.Close()
	if out == nil {
		out = io.Discard
	}
	var all strings.Builder
	if _, err := io.Copy(io.MultiWriter(&all, out), from); err != nil {
		_, _ = io.Copy(&all, from) // the listener has left; what comes before an error is what there is
	}
	return strings.ReplaceAll(all.String(), "\r", "")
}

// takeStatus takes the last line, which is init's, out of the output, and returns the status in it.
func (r *Result) takeStatus() int {
	i := strings.LastIndex(r.Output, "\n"+ended)
	if i < 0 {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(r.Output[i+1+len(ended):]))
	if err != nil || r.End != PoweredOff {
		return -1
	}
	r.Output = r.Output[:i]
	return n
}
