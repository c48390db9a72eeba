package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/fencing"
)

func record(n int, claim string) fencing.Record {
	return fencing.Record{
		ID: fmt.Sprintf("1-%d", n), Time: time.Unix(int64(n), 0).UTC(), Node: "lb01", Claim: claim,
		Cause: fencing.Permission, Why: "the permission has ended", Result: fencing.Done,
		Cleared: &fencing.Clearing{By: "rule"},
	}
}

func stillOpen(n int, claim string) fencing.Record {
	r := record(n, claim)
	r.Cleared = nil
	return r
}

func appendAll(t *testing.T, l *Ledger, records ...fencing.Record) {
	t.Helper()
	for _, r := range records {
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func mustRead(t *testing.T, dir string) *History {
	t.Helper()
	h, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ids(records []fencing.Record) string {
	var all []string
	for _, r := range records {
		all = append(all, r.ID)
	}
	return strings.Join(all, " ")
}

func TestReadsWhatWasAppended(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "need")
	if h := mustRead(t, dir); len(h.Records)+len(h.Damaged) != 0 {
		t.Fatalf("nothing there: %+v", h)
	}
	l := New(Config{Dir: dir}, nil)
	begun := stillOpen(2, "VI_2")
	begun.Result = fencing.UnderWay
	appendAll(t, l, record(1, "VI_1"), begun, record(3, "VI_3"), stillOpen(2, "VI_2"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h := mustRead(t, dir)
	want := []fencing.Record{record(1, "VI_1"), stillOpen(2, "VI_2"), record(3, "VI_3")}
	if diff := cmp.Diff(want, h.Records); diff != "" {
		t.Errorf("each fencing once, as it stood last (-want +got):\n%s", diff)
	}
	if open := h.Open(); len(open) != 1 || open["VI_2"].ID != "1-2" {
		t.Errorf("open: %v", open)
	}
}

// A power cut at any byte of the last line costs that line alone, and what is appended
// after it is read, whatever the cut has left.
func TestPowerCut(t *testing.T) {
	before, torn, after := record(1, "VI_1"), record(2, "VI_2"), record(3, "VI_3")
	whole := append(before.Line(), torn.Line()...)
	for cut := len(before.Line()) + 1; cut < len(whole); cut++ {
		for _, tail := range []string{"", "\x00\x00\x00\x00"} {
			dir := t.TempDir()
			text := append(bytes.Clone(whole[:cut]), tail...)
			if err := os.WriteFile(numbered(dir, 0), text, 0o600); err != nil {
				t.Fatal(err)
			}
			l := New(Config{Dir: dir}, nil)
			appendAll(t, l, after)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			h := mustRead(t, dir)
			want, damaged := "1-1 1-3", 1
			if cut == len(whole)-1 { // only its newline is missing
				want = "1-1 1-2 1-3"
				if tail == "" {
					damaged = 0
				}
			}
			if ids(h.Records) != want || len(h.Damaged) != damaged {
				t.Fatalf("cut at %d of %d, then %q: read %q, damaged %v", cut, len(whole), tail, ids(h.Records), h.Damaged)
			}
			if cut%16 != 0 {
				break // one tail is enough for most cuts
			}
		}
	}
}

func TestDamageIsReportedWithItsPlace(t *testing.T) {
	dir := t.TempDir()
	a, b, c := record(1, "VI_1"), record(2, "VI_2"), record(3, "VI_3")
	text := append(a.Line(), bytes.Replace(b.Line(), []byte("lb01"), []byte("lb09"), 1)...)
	text = append(text, c.Line()...)
	if err := os.WriteFile(numbered(dir, 0), text, 0o600); err != nil {
		t.Fatal(err)
	}
	h := mustRead(t, dir)
	if got := ids(h.Records); got != "1-1 1-3" {
		t.Errorf("read %q", got)
	}
	want := numbered(dir, 0) + ":2: the line is damaged and was left out"
	if len(h.Damaged) != 1 || h.Damaged[0].String() != want {
		t.Errorf("damaged: %v, want %s", h.Damaged, want)
	}
}

// Rotation keeps the number and size of files within bounds, and loses no record that is
// still open, however old.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	const size = 4 << 10
	l := New(Config{Dir: dir, Size: size}, nil)
	appendAll(t, l, stillOpen(0, "old"))
	for n := range 200 {
		if n == 100 { // another daemon goes on
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = New(Config{Dir: dir, Size: size}, mustRead(t, dir))
		}
		appendAll(t, l, record(n+1, "VI_1"))
	}
	h := mustRead(t, dir)
	if open := h.Open(); len(open) != 1 || open["old"].ID != "1-0" {
		t.Errorf("open: %v", open)
	}
	if last := h.Records[len(h.Records)-1]; last.ID != "1-200" || len(h.Damaged) > 0 {
		t.Errorf("the last is %s, damaged %v", last.ID, h.Damaged)
	}
	files, err := filepath.Glob(numbered(dir, 0) + "*")
	if err != nil || len(files) != keepFiles+1 {
		t.Errorf("files: %v (%v)", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > size {
			t.Errorf("%s has more than %d bytes: %v", f, size, err)
		}
	}
	// Cleared, it is carried on no more.
	appendAll(t, l, record(0, "old"))
	if open := mustRead(t, dir).Open(); len(open) != 0 {
		t.Errorf("open after clearing: %v", open)
	}
}

// So many open records that a new file would be nearly full do not rotate it each time.
func TestRotationWithManyOpen(t *testing.T) {
	dir := t.TempDir()
	l := New(Config{Dir: dir, Size: 2 << 10}, nil)
	for n := range 50 {
		appendAll(t, l, stillOpen(n, fmt.Sprintf("VI_%d", n)))
	}
	if got := len(mustRead(t, dir).Open()); got != 50 {
		t.Errorf("%d are open of 50", got)
	}
	if _, err := os.Stat(numbered(dir, 3)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("rotated more than twice: %v", err)
	}
}

// A full disk is an error, not a loss: what waits is written when there is room, and no
// half line is left.
func TestFullDisk(t *testing.T) {
	onFullDisk(t, func(dir string) error {
		l := New(Config{Dir: filepath.Join(dir, "ledger")}, nil)
		if err := l.Append(record(0, "VI_1")); err != nil {
			return fmt.Errorf("with room: %w", err)
		}
		filler := filepath.Join(dir, "filler")
		if err := fill(filler); err != nil {
			return err
		}
		failed := 0
		for n := 1; n <= 100; n++ {
			if err := l.Append(record(n, "VI_1")); err != nil {
				if failed++; !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "in memory only") {
					return fmt.Errorf("append %d: %w", n, err)
				}
			}
		}
		if failed == 0 {
			return errors.New("the disk is full and nothing failed")
		}
		if err := os.Remove(filler); err != nil {
			return err
		}
		if err := l.Retry(); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
		h, err := Read(filepath.Join(dir, "ledger"))
		if err != nil {
			return err
		}
		if len(h.Records) != 101 || len(h.Damaged) != 0 {
			return fmt.Errorf("read %d of 101, damaged %v", len(h.Records), h.Damaged)
		}
		return nil
	})
}

func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4<<10)); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

// onFullDisk calls f with a folder that holds very little, in a mount namespace of a
// thread that ends with it.
func onFullDisk(t *testing.T, f func(dir string) error) {
	t.Helper()
	dir := t.TempDir()
	errNamespace := errors.New("no file system of one's own")
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with its namespace
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
		}
		if err != nil {
			done <- fmt.Errorf("%w: %w", errNamespace, err)
			return
		}
		done <- f(dir)
	}()
	err := <-done
	switch {
	case errors.Is(err, errNamespace) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// When nothing can be written for long, memory is bounded and the error says what is lost.
func TestWaitingIsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := New(Config{Dir: filepath.Join(dir, "file", "ledger")}, nil) // a folder in a file
	var err error
	for n := range maxWaiting + 10 {
		if err = l.Append(record(n, "VI_1")); err == nil {
			t.Fatal("written into a file as if it were a folder")
		}
	}
	if want := fmt.Sprintf("%d of them are in memory only, 10 are lost", maxWaiting); !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant: %s", err, want)
	}
}

// FuzzRead reads whatever a disk may hold; it must neither fail nor lose what is appended.
func FuzzRead(f *testing.F) {
	a, b := record(1, "VI_1"), record(2, "VI_2")
	f.Add(append(a.Line(), b.Line()...))
	f.Add(append(a.Line()[:60], b.Line()...))
	f.Add([]byte("\x00\x00\n\n{\"id\":\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(numbered(dir, 0), text, 0o600); err != nil {
			t.Fatal(err)
		}
		h := mustRead(t, dir)
		l := New(Config{Dir: dir}, h)
		last := record(99, "VI_9")
		last.ID = "appended"
		appendAll(t, l, last)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again := mustRead(t, dir)
		if len(again.Records) == 0 || again.Records[len(again.Records)-1].ID != "appended" && !strings.Contains(string(text), "appended") {
			t.Errorf("what was appended behind %q is not read", text)
		}
	})
}
