package guardian

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// worker is one worker and what is known of its present process.
type worker struct {
	Worker

	cmd     *exec.Cmd // nil: no process
	here    bool      // it takes signals
	up      bool      // its loop has run
	ready   bool      // it has said READY=1
	stopped bool      // it was told to stop
	killed  bool      // and to die
	final   bool      // it has said that it ends
	again   bool      // and that the whole program is to be started anew
	rests   bool      // and that there is nothing to do for it
	changed bool      // it was told that the configuration has changed
	leaving int       // ticks until it is killed, when it is to leave; 0: it need not
	missed  int       // ticks of this process since its last word
	lived   int       // and since its start

	ever    bool // a process of it was up once
	crashes int  // in a row
	wait    int  // without a process: ticks until the next one is started
}

// heard is a word of a worker's process, or with an empty word its end.
type heard struct {
	from *worker
	word string
}

// start starts the worker's next process. Its words, and its end, go to into.
//
// Call it from a goroutine that is locked to its thread and stays: the kernel sends the
// parent-death signal when the thread ends that has started the process.
func (w *worker) start(program string, pause time.Duration, into chan<- heard) error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make the link to worker %s: %w", w.Name, err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "link")
	cmd := exec.Command(program, w.Args...) //nolint:noctx // it ends by signals
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(environment(), pauseName+"="+strconv.FormatInt(pause.Milliseconds(), 10))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	err = cmd.Start()
	_ = theirs.Close() // the worker has its own copy, or there is none
	if err != nil {
		_ = unix.Close(ends[0])
		return fmt.Errorf("start worker %s: %w", w.Name, err)
	}
	w.cmd = cmd
	w.here, w.up, w.stopped, w.killed, w.final, w.again, w.missed, w.lived = false, false, false, false, false, false, 0, 0
	w.rests, w.changed, w.leaving = false, false, 0
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := receive(ends[0], buf)
			if n <= 0 || err != nil {
				break
			}
			into <- heard{w, string(buf[:n])}
		}
		_ = unix.Close(ends[0])
		_ = cmd.Wait() // ProcessState says it all
		into <- heard{w, ""}
	}()
	return nil
}

// environment is this process's without what is between it and the service manager.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return name == "NOTIFY_SOCKET" || name == "WATCHDOG_USEC" || name == "WATCHDOG_PID" || name == pauseName
	})
}

// signal sends a signal to the process, if there is one that takes signals.
func (w *worker) signal(s os.Signal) {
	if w.cmd != nil && w.here {
		_ = w.cmd.Process.Signal(s) // it may just have ended
	}
}

// stop tells the process once to stop in order, as soon as it takes signals.
func (w *worker) stop() {
	if w.here && !w.stopped {
		w.stopped = true
		w.signal(syscall.SIGTERM)
	}
}

// leave tells the process to end as it is, within leaveMax.
func (w *worker) leave() {
	if w.leaving == 0 {
		w.leaving = ticks(leaveMax)
		w.signal(TakeOver)
	}
}

// kill ends the process. With stacks it says before where its goroutines are.
func (w *worker) kill(stacks bool) {
	if w.cmd == nil || w.killed {
		return
	}
	w.killed = true
	process := w.cmd.Process
	if !stacks {
		_ = process.Kill() // it may just have ended
		return
	}
	_ = process.Signal(syscall.SIGQUIT)
	time.AfterFunc(lastWords, func() { _ = process.Kill() })
}

// lastWords is how long a hung process has to say where it hangs.
const lastWords = 100 * time.Millisecond

// code is the exit code that the process's end comes to.
func (w *worker) code() int {
	if code := w.cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 1 // by a signal
}
