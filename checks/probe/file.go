package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/filewatch"
	"github.com/solovip/solovip/lvs"
)

// Files is what all FILE_CHECKs share: one way to hear of changes, and which files have been
// made. Its zero value is ready; it lives as long as the daemon.
type Files struct {
	watcher filewatch.Watcher
	made    sync.Map // of paths: init_file is done once, not again at each reload
}

// fileWatcher makes FILE_CHECK: the number in a file moves the weight.
type fileWatcher struct {
	check config.FileCheck
	files *Files
	log   *slog.Logger
}

func newFile(check config.FileCheck, o Options) fileWatcher {
	files := o.Files
	if files == nil {
		files = new(Files)
	}
	return fileWatcher{check, files, logger(o)}
}

// Watch reports once at first, and then when the number in the file is another. A file that is
// not there, or has no number in it, counts as 0; one that cannot be read changes nothing.
func (w fileWatcher) Watch(ctx context.Context, report func(Outcome)) {
	path := w.check.File.Path
	if err := w.make(); err != nil {
		w.log.Warn("track_file cannot be made", "file", path, "err", err)
	}
	var told *Outcome
	var number int64
	w.files.watcher.Watch(ctx, path, func() {
		n, err := readNumber(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			number = n
		} else {
			w.log.Warn("track_file cannot be used, its last number counts", "file", path, "err", err, "number", number)
		}
		if is := fileOutcome(w.check, number); told == nil || *told != is {
			told = &is
			report(is)
		}
	})
}

// make writes the file if init_file asks for it.
func (w fileWatcher) make() error {
	f := w.check.File
	if f.Init == nil {
		return nil
	}
	if _, done := w.files.made.LoadOrStore(f.Path, true); done {
		return nil
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if !f.Overwrite {
		flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	}
	file, err := os.OpenFile(f.Path, flags, 0o644) //nolint:gosec // scripts of other users may read it
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, *f.Init)
	return errors.Join(err, file.Close())
}

// readNumber reads the number that a file begins with.
func readNumber(path string) (int64, error) {
	// Without O_NONBLOCK, opening a pipe would wait for somebody who writes to it.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // only read
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(errNoFile, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, 128))
	if err != nil {
		return 0, err
	}
	return fileNumber(string(text))
}

var errNoFile = errors.New("is no regular file")

// fileNumber returns the number that a text begins with as C reads it: decimal, octal
// behind 0 or hexadecimal behind 0x. Without one it is 0. More than 32 bits hold is an error.
func fileNumber(text string) (int64, error) {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	sign, base, digits := int64(1), 10, "0123456789"
	switch {
	case strings.HasPrefix(text, "-"):
		sign, text = -1, text[1:]
	case strings.HasPrefix(text, "+"):
		text = text[1:]
	}
	switch {
	case len(text) > 2 && strings.EqualFold(text[:2], "0x"):
		base, digits, text = 16, "0123456789abcdefABCDEF", text[2:]
	case strings.HasPrefix(text, "0"):
		base, digits = 8, "01234567"
	}
	text = text[:len(text)-len(strings.TrimLeft(text, digits))]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, base, 64)
	if n *= sign; err != nil || n < math.MinInt32 || n > math.MaxInt32 {
		return 0, fmt.Errorf("a number like %s is too large", quoted(text))
	}
	return n, nil
}

// fileOutcome returns what a number says of a server. With a weight of 0 the server is up at 0 only.
func fileOutcome(check config.FileCheck, number int64) Outcome {
	move := number * int64(check.Weight) // both have 32 bits
	if check.Reverse {
		move = -move
	}
	switch {
	case check.Weight == 0 && (number == 0) == check.Reverse, move <= math.MinInt32:
		return Outcome{Why: fmt.Sprintf("file %s: %d with weight %d", check.File.Path, number, check.Weight)}
	case check.Weight == 0:
		return Outcome{OK: true}
	}
	return Outcome{OK: true, Adjust: lvs.Adjust{Kind: lvs.Add, Value: int(min(move, math.MaxInt32))}}
}
