package guardian

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// linkFD is where a worker finds its end of the link: after the three standard files.
const linkFD = 3

// pauseName is the variable that holds the worker's pause, see Link.Pause.
const pauseName = "SOLOVIP_WORKER_PAUSE"

// What a worker says on the link, one word a message. What holds a "=" is for the
// service manager, see sd_notify(3).
const (
	wordHere  = "here"  // it takes signals from now on
	wordBeat  = "beat"  // its loop runs
	wordFinal = "final" // it ends, and to start it again would not help
	wordAgain = "again" // it ends, for this program to be started anew
	wordRest  = "rest"  // it ends, and has nothing to do until the configuration changes
)

// Link is a worker's end of its tie to the guardian. Its methods may be called at any
// time and never block: while the guardian stands still, what is said is lost.
type Link struct {
	fd   int
	gone chan struct{}

	// Pause is how long the worker is to wait after it has cleaned up, before it takes part
	// again: its predecessors have crashed one after the other.
	Pause time.Duration
}

// Inherit returns the link of a process that a guardian has started. Call it once, before
// anything else is started: nothing of it is handed down to what this process starts.
func Inherit() (*Link, error) {
	text, ok := os.LookupEnv(pauseName)
	if !ok {
		return nil, errors.New("no guardian has started this process: run it without --worker")
	}
	_ = os.Unsetenv(pauseName) // it cannot fail for a constant name
	ms, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", pauseName, err)
	}
	unix.CloseOnExec(linkFD)
	if _, err := unix.GetsockoptInt(linkFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil, fmt.Errorf("look at the link to the guardian: %w", err)
	}
	l := &Link{fd: linkFD, gone: make(chan struct{}), Pause: time.Duration(ms) * time.Millisecond}
	go func() {
		defer close(l.gone)
		_, _ = receive(l.fd, make([]byte, 1)) // it says nothing, so this is its end
	}()
	return l, nil
}

// Gone is closed when the guardian has died.
func (l *Link) Gone() <-chan struct{} { return l.gone }

// Here says that this process takes signals from now on.
func (l *Link) Here() { l.say(wordHere) }

// Beat says that the loop runs. Say it at least every BeatEvery.
func (l *Link) Beat() { l.say(wordBeat) }

// Final says that this process ends by its own decision.
func (l *Link) Final() { l.say(wordFinal) }

// Again says that this process has left everything in place, and ends for a successor: see
// Again of Run.
func (l *Link) Again() { l.say(wordAgain) }

// Rest says that this process, a worker beside others, ends because it has nothing to do: it
// is started again with the next SIGHUP.
func (l *Link) Rest() { l.say(wordRest) }

// Notify tells the service manager a state, through the guardian.
func (l *Link) Notify(state string) {
	if strings.Contains(state, "=") {
		l.say(state)
	}
}

func (l *Link) say(word string) {
	// A guardian that is gone is seen by Gone; one that is full of words has heard enough.
	_ = unix.Send(l.fd, []byte(word), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// receive reads one message. It returns 0 at the end.
func receive(fd int, buf []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
