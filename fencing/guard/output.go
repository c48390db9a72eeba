package guard

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Bounds of what a command may put into the log; the rest is counted and dropped.
const (
	lineBytes      = 1024 // of a line
	linesPerPeriod = 200
	linePeriod     = 10 * time.Second
)

// output brings what commands write into the log, line by line.
type output struct {
	log *slog.Logger
	wg  sync.WaitGroup

	// mu guards what follows.
	mu      sync.Mutex
	closed  bool
	readers map[io.Closer]bool
}

func newOutput(log *slog.Logger) *output {
	return &output{log: log, readers: map[io.Closer]bool{}}
}

// follow reads r to its end in the background, and closes it.
func (o *output) follow(r io.ReadCloser, what string, level slog.Level) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		_ = r.Close()
		return
	}
	o.readers[r] = true
	o.wg.Go(func() {
		copyLines(r, func(line string, dropped int) {
			o.log.Log(context.Background(), level, "guard output", "command", what, "line", line, "dropped", dropped)
		}, time.Now)
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.readers, r)
		_ = r.Close()
	})
}

// close ends all reading.
func (o *output) close() {
	o.mu.Lock()
	o.closed = true
	for r := range o.readers {
		_ = r.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

// copyLines passes lines on until r ends, each cut to lineBytes, and no more than
// linesPerPeriod in a period; dropped counts those left out since the last one.
func copyLines(r io.Reader, emit func(line string, dropped int), now func() time.Time) {
	in := bufio.NewReaderSize(r, lineBytes)
	var begin time.Time
	count, dropped, inside := 0, 0, false
	for {
		part, err := in.ReadSlice('\n')
		if len(part) > 0 && !inside {
			if t := now(); t.Sub(begin) >= linePeriod {
				begin, count = t, 0
			}
			if count++; count > linesPerPeriod {
				dropped++
			} else {
				emit(strings.ToValidUTF8(strings.TrimRight(string(part), "\r\n"), "?"), dropped)
				dropped = 0
			}
		}
		inside = errors.Is(err, bufio.ErrBufferFull) // the rest of a line too long is skipped
		if err != nil && !inside {
			return
		}
	}
}
