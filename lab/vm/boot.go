package vm

import (
	"bufio"
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

// boot runs qemu on the kernel and the file system, which it removes.
func (m Machine) boot(ctx context.Context, k *kernel, image string) (Result, error) {
	defer os.Remove(image)
	qemu, err := exec.LookPath(emulator)
	if err != nil {
		return Result{}, fmt.Errorf("find the emulator: %w: %w", err, ErrMissing)
	}
	cmd := exec.CommandContext(ctx, qemu, m.arguments(k, image)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	w, err := wire(cmd)
	if err != nil {
		return Result{}, err
	}
	begun := time.Now()
	ran := make(chan error, 1)
	go func() { ran <- w.run(cmd) }()
	var r Result
	var readers sync.WaitGroup
	readers.Go(func() { r.Output = readLines(w.output) })
	readers.Go(func() { r.Console = readAll(w.console) })
	readers.Go(func() { r.End, r.Ended = follow(w.words, w.commands) })
	err = <-ran
	readers.Wait()
	r.Took = time.Since(begun)
	r.Exit = r.takeStatus()
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("the machine was switched off after %v: %w; it printed:\n%s\nand its kernel said:\n%s",
			r.Took.Round(time.Millisecond), ctx.Err(), tail(r.Text()), tail(r.Console))
	case err != nil:
		return r, fmt.Errorf("run the emulator: %w: %s", err, strings.TrimSpace(complaints.String()))
	}
	return r, nil
}

// arguments is qemu's command line. A machine that resets ends, as one that is switched off.
func (m Machine) arguments(k *kernel, image string) []string {
	memory := m.MemoryMiB
	if memory == 0 {
		memory = defaultMemory
	}
	args := []string{
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(k.dir, "vmlinux"), "-initrd", image,
		"-append", "console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on",
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

// wire gives the emulator its files: 3 for the machine's output, 4 for its console, and the
// standard ones for its own protocol.
func wire(cmd *exec.Cmd) (*wires, error) {
	var w wires
	for _, mine := range []**os.File{&w.output, &w.console, &w.words} {
		from, to, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe for the emulator: %w", err)
		}
		*mine = from
		w.theirs = append(w.theirs, to)
	}
	cmd.ExtraFiles, cmd.Stdout = w.theirs[:2], w.theirs[2]
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

// readAll reads a console to its end.
func readAll(from *os.File) string {
	defer from.Close()
	text, _ := io.ReadAll(from) // what came before an error is what there is
	return strings.ReplaceAll(string(text), "\r", "")
}

// readLines reads lines to the end, with the time at which each was complete.
func readLines(from *os.File) []Line {
	defer from.Close()
	var lines []Line
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadString('\n')
		if text != "" {
			lines = append(lines, Line{At: time.Now(), Text: strings.TrimRight(text, "\r\n")})
		}
		if err != nil {
			return lines
		}
	}
}

// takeStatus takes the last line, of init, out of the output, and returns the status that it says.
func (r *Result) takeStatus() int {
	for i := len(r.Output) - 1; i >= 0; i-- {
		if status, ok := strings.CutPrefix(r.Output[i].Text, ended); ok {
			n, err := strconv.Atoi(status)
			if err != nil || r.End != PoweredOff {
				return -1
			}
			r.Output = r.Output[:i]
			if i > 0 && r.Output[i-1].Text == "" {
				r.Output = r.Output[:i-1] // the line before, which init ends
			}
			return n
		}
	}
	return -1
}
