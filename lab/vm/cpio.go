package vm

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// archive is a cpio archive in the format "newc", as kernels unpack it for a first root file
// system (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
type archive struct {
	to    io.Writer
	err   error           // the first of any write
	at    int64           // how much is written
	inode int             // the last one given
	done  map[string]bool // by path
}

// The types of files in an archive.
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

func newArchive(to io.Writer) *archive {
	return &archive{to: to, done: map[string]bool{"/": true, ".": true}}
}

// dir adds a directory and those that it is in.
func (a *archive) dir(name string) {
	name = path.Clean(name)
	if a.done[name] {
		return
	}
	a.dir(path.Dir(name))
	a.entry(name, modeDir|0o755, nil, 0)
}

// bytes adds a file with that content.
func (a *archive) bytes(name string, mode fs.FileMode, content string) {
	a.dir(path.Dir(name))
	a.entry(name, modeFile|int(mode.Perm()), strings.NewReader(content), int64(len(content)))
}

// link adds a symbolic link.
func (a *archive) link(name, target string) {
	a.dir(path.Dir(name))
	a.entry(name, modeLink|0o777, strings.NewReader(target), int64(len(target)))
}

// file adds a file of this host.
func (a *archive) file(name, host string) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	a.dir(path.Dir(name))
	a.entry(name, modeFile|int(info.Mode().Perm()), f, info.Size())
	return a.err
}

// tree adds a file of this host, or a directory with all that is in it.
func (a *archive) tree(name, host string) error {
	return filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(host, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			a.dir(path.Join(name, below))
			return nil
		}
		return a.file(path.Join(name, below), p)
	})
}

// entry adds what was not added before.
func (a *archive) entry(name string, mode int, content io.Reader, size int64) {
	name = path.Clean(name)
	if a.done[name] {
		return
	}
	a.done[name] = true
	a.inode++
	a.record(strings.TrimPrefix(name, "/"), mode, content, size)
}

func (a *archive) record(name string, mode int, content io.Reader, size int64) {
	fields := []int64{int64(a.inode), int64(mode), 0, 0, 1, 0, size, 0, 0, 0, 0, int64(len(name) + 1), 0}
	var header strings.Builder
	header.WriteString("070701")
	for _, f := range fields {
		fmt.Fprintf(&header, "%08X", f)
	}
	header.WriteString(name + "\x00")
	a.write(strings.NewReader(header.String()), int64(header.Len()))
	if size > 0 {
		a.write(content, size)
	}
}

// write adds that many bytes, and what aligns the next ones to four.
func (a *archive) write(from io.Reader, size int64) {
	if a.err != nil {
		return
	}
	if _, a.err = io.CopyN(a.to, from, size); a.err != nil {
		return
	}
	a.at += size
	pad := (4 - a.at%4) % 4
	_, a.err = a.to.Write(make([]byte, pad))
	a.at += pad
}

// close ends the archive.
func (a *archive) close() error {
	a.record("TRAILER!!!", 0, nil, 0)
	return a.err
}
