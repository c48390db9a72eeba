package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths in the machine.
const (
	guestBusybox = "/busybox/busybox"
	guestPath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/busybox"
)

// ended begins the last line of a machine's output.
const ended = "vm: the command ended with status "

// initramfs writes the machine's file system into a file, and returns that. It is in memory, so that
// nothing is left when this process dies.
func (k *kernel) initramfs(m Machine) (_ *os.File, err error) {
	fd, err := unix.MemfdCreate("solovip-vm", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for the machine's file system: %w", err)
	}
	f := os.NewFile(uintptr(fd), "the machine's file system")
	defer func() {
		if err != nil {
			_ = f.Close() // it is of no use
		}
	}()
	w := bufio.NewWriter(f)
	a := newArchive(w)
	for _, dir := range []string{"/proc", "/sys", "/dev", "/tmp", "/run", "/var/lib", "/root", "/etc", "/mnt"} {
		a.dir(dir)
	}
	if err := errors.Join(m.addFiles(a), addBusybox(a), k.addModules(a, append(slices.Clone(m.Modules), m.Spare...))); err != nil {
		return nil, err
	}
	a.bytes("/init", 0o755, m.init())
	a.bytes("/command", 0o755, m.script())
	a.bytes("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
	a.bytes("/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n")
	a.bytes("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n")
	if err := errors.Join(a.close(), w.Flush()); err != nil {
		return nil, fmt.Errorf("write the machine's file system: %w", err)
	}
	return f, nil
}

// addFiles adds what the machine's owner wants in it.
func (m Machine) addFiles(a *archive) error {
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		if err := a.tree(name, m.Files[name]); err != nil {
			return fmt.Errorf("put %s into the machine: %w", m.Files[name], err)
		}
		if err := addLibraries(a, m.Files[name]); err != nil {
			return err
		}
	}
	for _, name := range m.Programs {
		path, err := exec.LookPath(name)
		if err != nil {
			return fmt.Errorf("put a program into the machine: %w (%w)", err, ErrMissing)
		}
		if err := a.file(path, path); err != nil {
			return fmt.Errorf("put a program into the machine: %w", err)
		}
		if err := addLibraries(a, path); err != nil {
			return err
		}
	}
	return nil
}

// addLibraries adds the shared libraries of a program; of anything else, none.
func addLibraries(a *archive, program string) error {
	if info, err := os.Stat(program); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return nil // what is not there has been told
	}
	out, err := exec.CommandContext(context.Background(), "ldd", program).Output()
	if err != nil {
		return nil // it is static, or a script
	}
	for line := range strings.Lines(string(out)) {
		// "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)" or "/lib64/ld-linux-x86-64.so.2 (0x...)"
		for word := range strings.FieldsSeq(line) {
			if filepath.IsAbs(word) {
				if err := a.file(word, word); err != nil {
					return fmt.Errorf("put a library of %s into the machine: %w", program, err)
				}
			}
		}
	}
	return nil
}

// addBusybox adds the small programs that scripts use, and this host's shell: busybox's would
// take its own programs before any other of the same name.
func addBusybox(a *archive) error {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("find the machine's small programs: %w; install the package busybox-static (%w)", err, ErrMissing)
	}
	if err := a.file(guestBusybox, path); err != nil {
		return fmt.Errorf("put busybox into the machine: %w", err)
	}
	if err := a.file("/bin/sh", "/bin/sh"); err != nil {
		return fmt.Errorf("put a shell into the machine: %w", err)
	}
	if err := addLibraries(a, "/bin/sh"); err != nil {
		return err
	}
	applets, err := exec.CommandContext(context.Background(), path, "--list").Output()
	if err != nil {
		return fmt.Errorf("ask busybox what it can do: %w", err)
	}
	for name := range strings.FieldsSeq(string(applets)) {
		a.link("/busybox/"+name, guestBusybox)
	}
	a.link("/sbin/modprobe", guestBusybox) // what the kernel calls
	return nil
}

// addModules adds modules, what they depend on, and the index by which they are found.
func (k *kernel) addModules(a *archive, names []string) error {
	files, err := k.files(names)
	if err != nil {
		return err
	}
	for _, path := range append(files, "modules.dep", "modules.alias", "modules.symbols", "modules.softdep", "modules.builtin") {
		if err := a.file("/lib/modules/"+k.release+"/"+path, filepath.Join(k.moduleDir(), path)); err != nil {
			return fmt.Errorf("put a module into the machine: %w", err)
		}
	}
	return nil
}

// init is the machine's first process: it makes what programs expect of a system, runs the
// command with its output on the second serial port, and switches the machine off.
func (m Machine) init() string {
	var b strings.Builder
	b.WriteString(`#!` + guestBusybox + ` sh
export PATH=` + guestPath + ` HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s /run /var/run
stty -F /dev/ttyS1 raw -echo
ip link set lo up
hostname vm
`)
	for _, module := range m.Modules {
		b.WriteString("modprobe " + module + "\n") // it complains on the console
	}
	b.WriteString("/command </dev/null >/dev/ttyS1 2>&1\n")
	b.WriteString("printf '\\n" + ended + "%d\\n' $? >/dev/ttyS1\n")
	b.WriteString("poweroff -f\n")
	return b.String()
}

// script runs the command. It is not part of init, whose shell takes programs of its own first.
func (m Machine) script() string {
	b := strings.Builder{}
	b.WriteString("#!/bin/sh\ncd /root\n")
	for _, v := range m.Env {
		name, value, _ := strings.Cut(v, "=")
		b.WriteString("export " + name + "=" + quote(value) + "\n")
	}
	b.WriteString("exec")
	for _, arg := range m.Command {
		b.WriteString(" " + quote(arg))
	}
	b.WriteString("\n")
	return b.String()
}

// quote makes one word of the shell out of any text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
