package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cgroup is the directory of a control group (version 2) that one start of a service has
// for itself. What is started in it stays in it, whatever session it makes for itself,
// and the kernel kills all of it at once. Empty: there is none, because this process may
// not make one; then the family has to do.
type cgroup string

// newCgroup makes a control group below that of this process.
func newCgroup(name, mark string) (cgroup, error) {
	own, err := ownCgroup()
	if err != nil {
		return "", err
	}
	// What a daemon that was killed has left goes, if it is empty.
	prefix := filepath.Join(own, "guard-"+url.PathEscape(name)+"-")
	left, _ := filepath.Glob(escapeGlob(prefix) + "*") // the pattern is right
	for _, dir := range left {
		_ = os.Remove(dir)
	}
	dir := prefix + mark
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a control group: %w", err)
	}
	g := cgroup(dir)
	if _, err := os.Stat(filepath.Join(dir, "cgroup.kill")); err != nil { // Linux 5.14
		g.remove()
		return "", fmt.Errorf("make a control group that can be killed: %w", err)
	}
	return g, nil
}

// ownCgroup finds the directory of this process's control group.
func ownCgroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	path, ok := "", false
	for line := range strings.Lines(string(text)) {
		if p, is := strings.CutPrefix(strings.TrimSpace(line), "0::"); is {
			path, ok = p, true
		}
	}
	for line := range strings.Lines(string(mounts)) {
		// proc_pid_mountinfo(5): root and mount point are the fields 4 and 5, the type
		// comes first behind a lone dash.
		before, after, _ := strings.Cut(line, " - ")
		f := strings.Fields(before)
		const root, point = 3, 4
		if ok && len(f) > point && f[root] == "/" && strings.HasPrefix(after, "cgroup2 ") {
			return filepath.Join(f[point], path), nil
		}
	}
	return "", errors.New("no control groups of version 2 are mounted")
}

// pids returns the processes in it and in the groups below, dead ones left out.
func (g cgroup) pids() ([]int, error) {
	if g == "" {
		return nil, nil
	}
	var all []int
	err := filepath.WalkDir(string(g), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for word := range strings.FieldsSeq(string(text)) {
			// 0 is a process that this namespace of process ids cannot name.
			pid, _ := strconv.Atoi(word)
			all = append(all, pid)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil // one has ended meanwhile, or all
	}
	return all, err
}

// kill sends SIGKILL to all that is in it.
func (g cgroup) kill() {
	if g != "" {
		_ = os.WriteFile(filepath.Join(string(g), "cgroup.kill"), []byte("1"), 0) // whether it helped is looked at
	}
}

// remove removes it and the groups that the service made in it. For a moment after its
// last process has ended the kernel calls it busy. One that stays so is of no harm.
func (g cgroup) remove() {
	const tries, pause = 20, 10 * time.Millisecond
	for range tries {
		var dirs []string
		_ = filepath.WalkDir(string(g), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir)
		}
		if _, err := os.Stat(string(g)); err != nil {
			return
		}
		time.Sleep(pause) // nothing tells when it can go
	}
}
