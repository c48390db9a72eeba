package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrMissing says that something is missing on this host that a machine needs.
var ErrMissing = errors.New("`make deps` in the source of solovip installs all that virtual machines need")

// kernel is an unpacked kernel.
type kernel struct {
	dir     string
	release string
	modules map[string]module   // by name
	soft    map[string][]string // by name, the names of those that it also wants
}

// module is a file of a kernel's modules.
type module struct {
	path  string   // below the directory of modules
	needs []string // the paths of all that have to be loaded before
}

// newestKernel returns the kernel that was downloaded last.
func newestKernel() (*kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the kernel for virtual machines: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "solovip", "vm", "*", "vmlinux"))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("no kernel for virtual machines in %s; lab/vm/kernel.sh in the source of solovip downloads it (%w)", filepath.Join(cache, "solovip", "vm"), ErrMissing)
	}
	newest, at := "", int64(0)
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.ModTime().UnixNano() > at {
			newest, at = filepath.Dir(path), info.ModTime().UnixNano()
		}
	}
	k := &kernel{dir: newest, release: filepath.Base(newest), modules: map[string]module{}, soft: map[string][]string{}}
	index, err := os.ReadFile(filepath.Join(k.moduleDir(), "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("read the index of the kernel's modules: %w", err)
	}
	for line := range strings.Lines(string(index)) {
		path, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		k.modules[moduleName(path)] = module{path: path, needs: strings.Fields(needs)}
	}
	return k, k.readSoft()
}

func (k *kernel) moduleDir() string { return filepath.Join(k.dir, "lib", "modules", k.release) }

// moduleName returns a module's name from its file's, with the one spelling of it.
func moduleName(path string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".ko"), "-", "_")
}

// files returns the module files that are needed for the modules. Whether they are loaded
// in the right order is for modprobe.
func (k *kernel) files(names []string) ([]string, error) {
	var files []string
	seen := map[string]bool{}
	add := func(path string) {
		if !seen[path] {
			seen[path] = true
			files = append(files, path)
		}
	}
	for len(names) > 0 {
		name, _, _ := strings.Cut(names[0], " ") // parameters follow
		names = names[1:]
		m, ok := k.modules[moduleName(name)]
		if !ok {
			return nil, fmt.Errorf("kernel %s has no module %s here: kernel.sh unpacks those for networks and watchdogs", k.release, name)
		}
		for _, path := range append(m.needs, m.path) {
			if !seen[path] {
				names = append(names, k.soft[moduleName(path)]...)
			}
			add(path)
		}
	}
	return files, nil
}

// readSoft reads which modules others want to have, without being linked to them: each
// that goes by a name that "softdep MODULE pre: NAME" gives.
func (k *kernel) readSoft() error {
	soft, err := os.ReadFile(filepath.Join(k.moduleDir(), "modules.softdep"))
	if err != nil {
		return fmt.Errorf("read what the kernel's modules want: %w", err)
	}
	alias, err := os.ReadFile(filepath.Join(k.moduleDir(), "modules.alias"))
	if err != nil {
		return fmt.Errorf("read the other names of the kernel's modules: %w", err)
	}
	for line := range strings.Lines(string(soft)) {
		words := strings.Fields(line)
		if len(words) != 4 || words[2] != "pre:" {
			continue
		}
		for line := range strings.Lines(string(alias)) {
			if a := strings.Fields(line); len(a) == 3 && a[1] == words[3] && k.modules[a[2]].path != "" {
				k.soft[words[1]] = append(k.soft[words[1]], a[2])
			}
		}
	}
	return nil
}
