package filewatch

import (
	"bytes"
	"context"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lookInterval is how often a file is looked at, whatever the kernel says.
const lookInterval = time.Second

// What of a directory is heard. A change is told when the writer closes the file, so that nobody
// reads a half of it.
const changes = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR

// Watcher watches files, all of them by one inotify instance, of which a user has not many.
// Its zero value is ready, and has nothing to be closed; it may be used by several
// goroutines at once.
type Watcher struct {
	mu      sync.Mutex // guards all below
	inotify *os.File   // nil while nothing is watched, or the kernel gives none
	ended   chan struct{}
	dirs    map[string]*dir
}

// dir is a directory with watched files.
type dir struct {
	wd    int // inotify's number of it; -1: none
	files map[*file]bool
}

// file is one Watch.
type file struct {
	dir, base string
	changed   chan struct{} // room for one
}

// Watch calls changed, first at once and then when the file at path may have changed, came
// or went, and returns when ctx ends. It does not call it from another goroutine.
func (w *Watcher) Watch(ctx context.Context, path string, changed func()) {
	f := &file{dir: filepath.Dir(path), base: filepath.Base(path), changed: make(chan struct{}, 1)}
	f.changed <- struct{}{}
	w.add(f)
	defer w.remove(f)
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for was := look(path); ; {
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
			was = look(path)
			changed()
		case <-ticker.C:
			w.arm(f.dir)
			if is := look(path); !same(was, is) {
				was = is
				changed()
			}
		}
	}
}

// look returns what is at path; nil: nothing that can be looked at.
func look(path string) fs.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// add begins to watch a file's directory.
func (w *Watcher) add(f *file) {
	w.mu.Lock()
	if len(w.dirs) == 0 {
		w.dirs = make(map[string]*dir)
		w.open()
	}
	d := w.dirs[f.dir]
	if d == nil {
		d = &dir{wd: -1, files: make(map[*file]bool)}
		w.dirs[f.dir] = d
	}
	d.files[f] = true
	w.mu.Unlock()
	w.arm(f.dir)
}

// open starts the reading of inotify. Without one, what Watch sees by itself has to do.
func (w *Watcher) open() {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	w.inotify, w.ended = os.NewFile(uintptr(fd), "inotify"), make(chan struct{})
	go w.read(w.inotify, w.ended)
}

// arm lets the kernel tell of a directory. Called again and again it finds one that has come,
// or that was replaced.
func (w *Watcher) arm(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dirs[path]
	if w.inotify == nil {
		return
	}
	wd := -1
	_ = w.control(func(fd int) (err error) {
		wd, err = unix.InotifyAddWatch(fd, path, changes)
		return err
	})
	if old := d.wd; old != wd {
		d.wd = wd
		w.forget(old)
	}
}

// forget ends what nobody wants to hear of any more.
func (w *Watcher) forget(wd int) {
	for _, d := range w.dirs {
		if d.wd == wd {
			return // two names of one directory
		}
	}
	if wd >= 0 {
		// It fails for a directory that is gone, of which the kernel has forgotten as well.
		_ = w.control(func(fd int) error { _, err := unix.InotifyRmWatch(fd, uint32(wd)); return err })
	}
}

// remove ends the watching of a file, and with the last one all of it.
func (w *Watcher) remove(f *file) {
	w.mu.Lock()
	d := w.dirs[f.dir]
	if delete(d.files, f); len(d.files) == 0 {
		delete(w.dirs, f.dir)
		if w.inotify != nil {
			w.forget(d.wd)
		}
	}
	var ended chan struct{}
	if len(w.dirs) == 0 && w.inotify != nil {
		_ = w.inotify.Close() // nothing is written to it
		ended, w.inotify = w.ended, nil
	}
	w.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// control calls f with the descriptor of inotify. The mutex is held.
func (w *Watcher) control(f func(fd int) error) error {
	raw, err := w.inotify.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// read hands on what the kernel says, until inotify is closed.
func (w *Watcher) read(inotify *os.File, ended chan struct{}) {
	defer close(ended)
	for buf := make([]byte, 16<<10); ; {
		n, err := inotify.Read(buf)
		if err != nil {
			return
		}
		w.tell(buf[:n])
	}
}

// tell hands on events as the kernel lays them out: each is a number, a mask, a cookie and
// the length of a name, four bytes each, and the name with zeros behind.
func (w *Watcher) tell(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int(int32(binary.NativeEndian.Uint32(events)))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := int(binary.NativeEndian.Uint32(events[12:]))
		name := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:][:length], "\x00"))
		events = events[unix.SizeofInotifyEvent+length:]
		for _, d := range w.dirs {
			if d.wd != wd && mask&unix.IN_Q_OVERFLOW == 0 {
				continue
			}
			for f := range d.files {
				if f.base == name || mask&unix.IN_Q_OVERFLOW != 0 {
					f.signal()
				}
			}
		}
	}
}

// signal tells of a change; one that waits already says the same.
func (f *file) signal() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}
