package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Board is a terminal with a line at its end that says how far the runs are: what is
// written to it scrolls by above that line. A nil Board is none, and keeps quiet.
type Board struct {
	mu      sync.Mutex // guards all below, and the terminal
	out     io.Writer
	total   int
	done    int
	failed  int
	running []running // in the order in which they began
	stop    chan struct{}
	stopped chan struct{}
}

type running struct {
	name  string
	begun time.Time
}

// Terminal control: to the start of the line and clear it; shown at most once a second.
const (
	clearLine  = "\r\x1b[K"
	boardEvery = time.Second
	boardRuns  = 2  // that are named
	boardWidth = 79 // a line that a terminal breaks could not be cleared
)

// NewBoard returns a board for so many runs. Close it.
func NewBoard(out io.Writer, total int) *Board {
	b := &Board{out: out, total: total, stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(b.stopped)
		ticker := time.NewTicker(boardEvery)
		defer ticker.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-ticker.C:
				b.mu.Lock()
				_, _ = io.WriteString(b.out, b.line()) // a reader that is gone is not our trouble
				b.mu.Unlock()
			}
		}
	}()
	return b
}

// Begin notes that a run has begun.
func (b *Board) Begin(r *Run) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = append(b.running, running{r.Name(), time.Now()})
}

// End notes that a run is over.
func (b *Board) End(r *Run) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.running, func(is running) bool { return is.name == r.Name() }); i >= 0 {
		b.running = slices.Delete(b.running, i, i+1)
	}
	b.done++
	if !r.Pass() {
		b.failed++
	}
}

// Write writes whole lines above the board's own.
func (b *Board) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintf(b.out, "%s%s%s", clearLine, text, b.line()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Close takes the board's line away.
func (b *Board) Close() {
	if b == nil {
		return
	}
	close(b.stop)
	<-b.stopped
	_, _ = io.WriteString(b.out, clearLine) // a reader that is gone is not our trouble
}

// line returns the board's line. It does not end, so that what follows takes its place.
func (b *Board) line() string {
	var words []string
	for i, r := range b.running {
		if i == boardRuns {
			words = append(words, fmt.Sprintf("%d more", len(b.running)-i))
			break
		}
		words = append(words, fmt.Sprintf("%s (%d s)", r.name, int(time.Since(r.begun).Seconds())))
	}
	failed := ""
	if b.failed > 0 {
		failed = fmt.Sprintf(", %d failed", b.failed)
	}
	text := fmt.Sprintf("%d of %d done%s: %s", b.done, b.total, failed, strings.Join(words, "; "))
	return clearLine + text[:min(len(text), boardWidth)]
}
