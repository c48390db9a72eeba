package await

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen: much longer than it takes on a
// busy machine.
const Patience = 20 * time.Second

// That waits until something is so, and ends the test if it does not come.
func That(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	look, late := time.NewTicker(5*time.Millisecond), time.After(Patience)
	defer look.Stop()
	for !is() {
		select {
		case <-look.C:
		case <-late:
			tb.Fatalf("waited %v in vain: %s", Patience, what)
		}
	}
}

// Log collects what is written to it. The zero Log is empty.
type Log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Logger returns a logger that writes to l.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
