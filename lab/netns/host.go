package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/disk"
	"github.com/solovip/solovip/lab/scenario"
)

// host is a machine of the lab.
type host struct {
	scenario.Host
	ns       int     // its network namespace
	cables   []cable // the first one leads to the first network
	dir      string  // its files
	firewall firewall
	system   scenario.System // nodes only: what it runs, from its next start on
	disk     *disk.Disk      // what its daemon writes to; nil: one that is never slow
	off      atomic.Bool     // it has no power

	mu   sync.Mutex // guards main and told
	main *exec.Cmd  // the daemon; nil: not running
	told bool       // the lab has asked the daemon to end, or made it
}

// inside calls f on a thread in the host's network namespace.
func (h *host) inside(f func() error) error { return inNamespace(h.ns, f) }

// start starts the host's daemon with its output added to the host's log. When it ends,
// ended is called with how, and whether the lab wanted it to.
func (h *host) start(argv []string, ended func(how string, wanted bool)) error {
	log, err := os.OpenFile(h.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", h.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it ends by the scenario, or with the stage
	cmd.Dir = h.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := h.inside(cmd.Start); err != nil {
		return fmt.Errorf("start %s on %s: %w", filepath.Base(argv[0]), h.Name, err)
	}
	h.mu.Lock()
	h.main, h.told = cmd, false
	h.mu.Unlock()
	go func() {
		_ = cmd.Wait() // ProcessState says it all
		h.mu.Lock()
		h.main = nil
		wanted := h.told
		h.mu.Unlock()
		ended(cmd.ProcessState.String(), wanted)
	}()
	return nil
}

// reload asks the host's daemon to read its configuration again.
func (h *host) reload() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.main == nil {
		return fmt.Errorf("reload %s: no daemon runs there", h.Name)
	}
	return h.main.Process.Signal(syscall.SIGHUP)
}

// stop asks the host's daemon to end in order.
func (h *host) stop() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.main == nil {
		return fmt.Errorf("stop %s: no daemon runs there", h.Name)
	}
	h.told = true
	return h.main.Process.Signal(syscall.SIGTERM)
}

// kill kills every process of the host, or with services false all but the guarded
// service, at the same instant: none gets to see another one gone.
func (h *host) kill(services bool) error {
	h.mu.Lock()
	h.told = true
	h.mu.Unlock()
	if err := h.signal(syscall.SIGSTOP, services); err != nil {
		return err
	}
	return h.signal(syscall.SIGKILL, services)
}

// signal sends a signal to every process of the host, or with services false to all but
// the guarded service, until no new one has turned up.
func (h *host) signal(sig syscall.Signal, services bool) error {
	var done []int
	const rounds = 20 // a process that forks faster than this is beyond the lab
	for range rounds {
		pids, err := h.processes(services)
		if err != nil {
			return err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(done, pid) })
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("signal %v to process %d of %s: %w", sig, pid, h.Name, err)
			}
		}
		done = append(done, pids...)
	}
	return fmt.Errorf("signal %v to %s: new processes came for %d rounds", sig, h.Name, rounds)
}

// signalNode sends a signal to one of the two processes of the host's node: its worker, or
// its guardian.
func (h *host) signalNode(worker bool, sig syscall.Signal) error {
	pids, err := h.processes(false)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.Contains(cmdline, []byte("\x00node\x00")) && worker == bytes.Contains(cmdline, []byte("\x00--worker\x00")) {
			return unix.Kill(pid, sig)
		}
	}
	return fmt.Errorf("signal %v to a process of the node on %s: there is none", sig, h.Name)
}

// fill writes to the host's disk until nothing more fits.
func (h *host) fill() error {
	f, err := os.Create(filepath.Join(h.stateDir(), "ballast"))
	if err != nil {
		return fmt.Errorf("fill the disk of %s: %w", h.Name, err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			return nil
		} else if err != nil {
			return fmt.Errorf("fill the disk of %s: %w", h.Name, err)
		}
	}
}

// processes returns the ids, in the stage's own count, of the live processes in the
// host's network namespace.
func (h *host) processes(services bool) ([]int, error) {
	want, err := namespaceID(fmt.Sprintf("/proc/self/fd/%d", h.ns))
	if err != nil {
		return nil, err
	}
	self, err := namespacePIDs("/proc/self/status")
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		dir := filepath.Join("/proc", e.Name())
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		// A process that ends under our eyes, and a dead one, has no namespace to read.
		if id, err := namespaceID(dir + "/ns/net"); err != nil || id != want {
			continue
		}
		all, err := namespacePIDs(dir + "/status")
		if err != nil || len(all) < len(self) {
			continue
		}
		// This process itself is in there by its first thread, should that one have been
		// used to enter the namespace: the runtime cannot end it as it ends others.
		pid := all[len(self)-1]
		if pid == os.Getpid() || !services && isService(dir) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func namespaceID(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("look at namespace %s: %w", path, err)
	}
	return st.Ino, nil
}

// namespacePIDs returns a process's ids from the namespace of the mounted /proc inwards.
func namespacePIDs(status string) ([]int, error) {
	data, err := os.ReadFile(status)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		ids, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		var pids []int
		for id := range strings.FieldsSeq(ids) {
			pid, err := strconv.Atoi(id)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", status, err)
			}
			pids = append(pids, pid)
		}
		return pids, nil
	}
	return nil, fmt.Errorf("read %s: no NSpid line", status)
}

// isService reports whether the process is the guarded service and not a daemon.
func isService(procDir string) bool {
	if name, err := os.ReadFile(procDir + "/comm"); err == nil && string(name) == "nginx\n" {
		return true
	}
	cmdline, err := os.ReadFile(procDir + "/cmdline")
	return err == nil && bytes.Contains(cmdline, []byte("\x00lab\x00"+serviceName+"\x00"))
}

// setPort sets the switch's end of the host's cable up or down; down, the host has no
// carrier. Without a link it does so for all its cables.
func (h *host) setPort(up bool, link string) error {
	for _, c := range h.cables {
		if link != "" && link != c.name {
			continue
		}
		if err := setLink(c.port, up); err != nil {
			return fmt.Errorf("the port of %s: %w", h.Name, err)
		}
	}
	return nil
}

// setInterface sets the host's own end of its cable up or down, without a link all of them.
func (h *host) setInterface(up bool, link string) error {
	return h.inside(func() error {
		for _, c := range h.cables {
			if link != "" && link != c.name {
				continue
			}
			if err := setLink(c.name, up); err != nil {
				return fmt.Errorf("an interface of %s: %w", h.Name, err)
			}
		}
		return nil
	})
}

func setLink(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	set := netlink.LinkSetDown
	if up {
		set = netlink.LinkSetUp
	}
	if err := set(link); err != nil {
		return fmt.Errorf("set %s up (%v): %w", name, up, err)
	}
	return nil
}

// powerOff takes the host away in one instant: no process gets to see the link gone, and
// nothing that the kernel says of the dead ones leaves it. Then its kernel has forgotten
// what daemons gave it.
func (h *host) powerOff() error {
	if err := h.signal(syscall.SIGSTOP, true); err != nil {
		return err
	}
	h.off.Store(true)
	if err := h.setPort(false, ""); err != nil {
		return err
	}
	if err := h.kill(true); err != nil {
		return err
	}
	return h.inside(h.forget)
}

// forget removes what daemons gave the host's kernel: addresses, and interfaces of their own.
func (h *host) forget() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list the interfaces of %s: %w", h.Name, err)
	}
	for _, link := range links {
		name := link.Attrs().Name
		i := slices.IndexFunc(h.cables, func(c cable) bool { return c.name == name })
		switch {
		case i < 0 && link.Type() == "macvlan":
			if err := netlink.LinkDel(link); err != nil {
				return fmt.Errorf("forget %s on %s: %w", name, h.Name, err)
			}
			continue
		case i < 0:
			continue
		}
		if err := netlink.LinkSetDown(link); err != nil {
			return fmt.Errorf("set %s of %s down: %w", name, h.Name, err)
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return fmt.Errorf("list the addresses of %s: %w", h.Name, err)
		}
		for _, addr := range addrs {
			if addr.IP.Equal(h.cables[i].addr.AsSlice()) {
				continue
			}
			if err := netlink.AddrDel(link, &addr); err != nil {
				return fmt.Errorf("forget %v on %s: %w", addr.IP, h.Name, err)
			}
		}
	}
	return nil
}

// wipe removes what the host's daemon keeps over restarts. It must have ended.
func (h *host) wipe() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.main != nil {
		return fmt.Errorf("wipe %s: its daemon still runs", h.Name)
	}
	if err := os.RemoveAll(h.stateDir()); err != nil {
		return fmt.Errorf("wipe %s: %w", h.Name, err)
	}
	return os.Mkdir(h.stateDir(), 0o755)
}

func (h *host) runDir() string   { return filepath.Join(h.dir, "run") }
func (h *host) stateDir() string { return filepath.Join(h.dir, "state") }

func (h *host) logPath() string { return filepath.Join(h.dir, "log") }

// tailLines is how much of a log a report shows.
const tailLines = 25

// log returns the end of what the host's daemons wrote.
func (h *host) log() Log {
	data, _ := os.ReadFile(h.logPath()) // no file: no daemon has run here
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return Log{Host: h.Name, Path: h.logPath(), Tail: lines[max(0, len(lines)-tailLines):]}
}
