package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/solovip/solovip/fencing"
)

// defaultSize is how large the newest file gets, in bytes: about a thousand fencings.
const defaultSize = 1 << 20

// maxWaiting bounds the lines that wait in memory for a disk that cannot be written.
// When there are more the oldest is dropped: it was told in the log.
const maxWaiting = 256

// Config says where a ledger is.
type Config struct {
	Dir  string // made if it is not there
	Size int64  // of the newest file before it is rotated, in bytes; 0: 1 MiB
}

// Ledger writes fencings. It is safe for concurrent use; calls take turns and block for
// the disk.
type Ledger struct {
	cfg Config

	mu      sync.Mutex // guards what follows, and is held while the disk is written
	file    *os.File   // nil: not open
	size    int64
	torn    bool // the file does not end with a newline
	open    map[string]fencing.Record
	waiting [][]byte // lines that are not on disk yet, the oldest first
	dropped int      // lines that no place was left for
}

// New returns a ledger. It opens nothing before the first Append, so that a disk that
// cannot be written keeps no daemon from starting. history is what Read returned of the
// folder, or nil.
func New(cfg Config, history *History) *Ledger {
	if cfg.Size == 0 {
		cfg.Size = defaultSize
	}
	l := &Ledger{cfg: cfg, open: map[string]fencing.Record{}}
	if history != nil {
		l.open = history.Open()
	}
	return l
}

// Append writes the record, behind those that are still waiting, and returns when it is
// on disk. After an error it waits in memory for the next Append or Retry.
func (l *Ledger) Append(r fencing.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Open() {
		l.open[r.Claim] = r
	} else {
		delete(l.open, r.Claim)
	}
	if len(l.waiting) >= maxWaiting {
		l.waiting = slices.Delete(l.waiting, 0, 1)
		l.dropped++
	}
	l.waiting = append(l.waiting, r.Line())
	return l.flush()
}

// Retry writes what is waiting, and reports whether anything still is.
func (l *Ledger) Retry() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

// Close closes the file. Lines that still wait are tried once more.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.flush()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
		l.file = nil
	}
	return err
}

func (l *Ledger) flush() error {
	for len(l.waiting) > 0 {
		if err := l.write(l.waiting[0]); err != nil {
			if l.file != nil {
				_ = l.file.Close() // whatever is wrong with it, the next try begins anew
				l.file = nil
			}
			return fmt.Errorf("write the ledger of fencings: %w: %d of them are in memory only, %d are lost but for the log: free %s",
				err, len(l.waiting), l.dropped, l.cfg.Dir)
		}
		l.waiting = slices.Delete(l.waiting, 0, 1)
	}
	return nil
}

// write appends one line and waits until it is on disk.
func (l *Ledger) write(line []byte) error {
	if l.file == nil {
		if err := l.openFile(); err != nil {
			return err
		}
	}
	if l.size > 0 && l.size+int64(len(line)) > l.cfg.Size {
		carried := l.carried()
		// A file that begins nearly full would be rotated with each line.
		if l.size > 4*int64(len(carried)) {
			if err := l.rotate(carried); err != nil {
				return err
			}
		}
	}
	return l.put(line)
}

// put appends bytes that end with a newline. What was torn before gets an end of its
// own first, so that it does not take this line along.
func (l *Ledger) put(line []byte) error {
	if l.torn {
		line = append([]byte("\n"), line...)
	}
	l.torn = true // until the whole line is shown to be there
	n, err := l.file.Write(line)
	l.size += int64(n)
	if err != nil {
		// Half a line helps nobody; if it stays, the next one begins behind a newline.
		if l.file.Truncate(l.size-int64(n)) == nil {
			l.size -= int64(n)
		}
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.torn = false
	return nil
}

// openFile opens the newest file and sees how it ends.
func (l *Ledger) openFile() error {
	if err := os.MkdirAll(l.cfg.Dir, 0o750); err != nil {
		return err
	}
	name := numbered(l.cfg.Dir, 0)
	_, err := os.Stat(name)
	fresh := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.size, l.torn = info.Size(), false
	if l.size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, l.size-1); err != nil {
			return errors.Join(err, f.Close())
		}
		l.torn = last[0] != '\n'
	}
	l.file = f
	if fresh {
		return syncDir(l.cfg.Dir)
	}
	return nil
}

// carried returns the lines of the records that are still open.
func (l *Ledger) carried() []byte {
	var lines []byte
	for _, claim := range slices.Sorted(maps.Keys(l.open)) {
		r := l.open[claim]
		lines = append(lines, r.Line()...)
	}
	return lines
}

// rotate moves each file on by one, drops the oldest, and begins the newest with what is
// carried over. A crash on the way leaves all of that in some file.
func (l *Ledger) rotate(carried []byte) error {
	if err := l.file.Close(); err != nil {
		return err
	}
	l.file = nil
	for i := keepFiles - 1; i >= 0; i-- {
		err := os.Rename(numbered(l.cfg.Dir, i), numbered(l.cfg.Dir, i+1))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := l.openFile(); err != nil {
		return err
	}
	if len(carried) == 0 {
		return nil
	}
	return l.put(carried)
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
