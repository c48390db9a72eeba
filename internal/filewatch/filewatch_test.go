package filewatch

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/solovip/solovip/internal/await"
)

// content watches a file and keeps what is in it.
type content struct {
	mu   sync.Mutex
	text string
	told int
}

// follow watches a file until the test, or stop, ends it.
func follow(t *testing.T, w *Watcher, path string) (c *content, stop func()) {
	t.Helper()
	c = &content{text: "unread"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Watch(ctx, path, func() {
			text, err := os.ReadFile(path)
			if err != nil {
				text = []byte("none")
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.text = string(text)
			c.told++
		})
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return c, stop
}

// is waits until the file was seen with the text.
func (c *content) is(t *testing.T, text string) {
	t.Helper()
	await.That(t, "seen: "+text, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.text == text
	})
}

// put writes a file.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// must ends the test if something was not possible.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestWatchSees: however the file changes, what is in it is seen.
func TestWatchSees(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var w Watcher
	c, _ := follow(t, &w, path)
	c.is(t, "none")
	put(t, path, "made")
	c.is(t, "made")
	put(t, path, "MADE") // as long, and maybe at the same time
	c.is(t, "MADE")
	put(t, path+".new", "renamed")
	must(t, os.Rename(path+".new", path))
	c.is(t, "renamed")
	must(t, os.Remove(path))
	c.is(t, "none")

	// A link is looked through, and the directory may be another one.
	put(t, filepath.Join(dir, "target"), "target")
	must(t, os.Symlink("target", path))
	c.is(t, "target")
	put(t, filepath.Join(dir, "target"), "other target")
	c.is(t, "other target")
	must(t, os.Rename(dir, dir+".old"))
	c.is(t, "none")
	must(t, os.Mkdir(dir, 0o700))
	put(t, path, "new directory")
	c.is(t, "new directory")
}

// TestWatchIsAtOnce: the kernel tells, and nothing waits for the next look.
func TestWatchIsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var w Watcher
	c, stop := follow(t, &w, path)
	c.is(t, "none")
	stop() // so that it looks no more; what follows goes through tell alone
	f := &file{dir: filepath.Dir(path), base: filepath.Base(path), changed: make(chan struct{}, 1)}
	w.add(f)
	defer w.remove(f)
	put(t, path, "text")
	await.That(t, "told by the kernel", func() bool { return len(f.changed) == 1 })
}

// TestWatchIsQuiet: other files in the directory, and other directories, disturb nobody.
func TestWatchIsQuiet(t *testing.T) {
	dir := t.TempDir()
	var w Watcher
	one, stop := follow(t, &w, filepath.Join(dir, "one"))
	two, _ := follow(t, &w, filepath.Join(dir, "two"))
	one.is(t, "none")
	two.is(t, "none")
	for range 10 {
		put(t, filepath.Join(dir, "two"), "2")
		put(t, filepath.Join(dir, "three"), "3")
	}
	two.is(t, "2")
	stop()
	if one.told != 1 {
		t.Errorf("told %d times of a file that is not there", one.told)
	}
}

// TestWatchEnds: with the last file the watching ends, and may begin anew.
func TestWatchEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var w Watcher
	for range 3 {
		a, stopA := follow(t, &w, path)
		b, stopB := follow(t, &w, path)
		put(t, path, "text")
		a.is(t, "text")
		b.is(t, "text")
		stopA()
		put(t, path, "more text")
		b.is(t, "more text")
		stopB()
		if w.inotify != nil || len(w.dirs) != 0 {
			t.Errorf("left: %v, %v", w.inotify, w.dirs)
		}
		must(t, os.Remove(path))
	}
}
