package netns

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
)

// KeepalivedPath returns where keepalived is; it is often in no ordinary user's PATH.
func KeepalivedPath() (string, error) {
	for _, path := range []string{"keepalived", "/usr/sbin/keepalived", "/usr/local/sbin/keepalived", "/sbin/keepalived"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("find keepalived: %w (install the package keepalived, or leave it out)", exec.ErrNotFound)
}

// setup writes the files of a system under test and says how its daemons are started.
type setup struct {
	job        Job
	dir        string // of the run
	report     string // the oracle's socket
	keepalived string // its path, when it is under test
	etcd       string // its path, when it is the witness
	nginx      string // its path, when it is the guarded service
}

// prepare finds and makes what all hosts share.
func (s *setup) prepare() error {
	if s.job.Scenario.Web {
		var err error
		if s.nginx, err = NginxPath(); err != nil {
			return err
		}
	}
	if s.plays(scenario.Keepalived) {
		var err error
		if s.keepalived, err = KeepalivedPath(); err != nil {
			return err
		}
	}
	if s.job.System == scenario.Keepalived || s.job.System == scenario.VRRP {
		return nil
	}
	if s.job.System == scenario.Lease && len(s.job.Scenario.Named(scenario.Etcd)) > 0 {
		var err error
		if s.etcd, err = EtcdPath(); err != nil {
			return err
		}
	}
	out, err := exec.Command(s.job.Solovip, "keygen", "-o", s.keyFile()).CombinedOutput() //nolint:noctx // writes a file
	if err != nil {
		return fmt.Errorf("make a mesh key: %w: %s", err, out)
	}
	return nil
}

// plays reports whether some node runs the system at some time.
func (s *setup) plays(system scenario.System) bool {
	return s.job.System == system || s.job.Scenario.Begin == system ||
		slices.ContainsFunc(s.job.Scenario.Steps, func(step scenario.Step) bool { return step.System == system })
}

// install lets a node run a system from its next start on; empty: the system under test.
func (s *setup) install(h *host, system scenario.System) error {
	h.system = cmp.Or(system, s.job.System)
	return os.WriteFile(s.configFile(h), []byte(s.config(h, h.system)), 0o644)
}

// edit replaces a text in a node's configuration.
func (s *setup) edit(h *host, from, to string) error {
	text, err := os.ReadFile(s.configFile(h))
	if err != nil {
		return fmt.Errorf("edit the configuration of %s: %w", h.Name, err)
	}
	edited := strings.ReplaceAll(string(text), from, to)
	if edited == string(text) {
		return fmt.Errorf("edit the configuration of %s: there is no %q in it", h.Name, from)
	}
	return os.WriteFile(s.configFile(h), []byte(edited), 0o644)
}

// write writes the configuration of a node, and the scripts of its service.
func (s *setup) write(h *host) error {
	if err := s.guarded(h).Install(); err != nil {
		return err
	}
	if s.job.Scenario.Web {
		if err := h.writeNginx(); err != nil {
			return err
		}
	}
	if s.shoots() {
		if err := s.writeAgent(h); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.witnessFile(), []byte(s.config(h, s.job.System)), 0o644); err != nil { // the nodes' differ in what a witness ignores
		return err
	}
	return s.install(h, s.job.Scenario.Begin)
}

// command returns how the host's daemon is started, nil if it runs none.
func (s *setup) command(h *host) []string {
	switch {
	case h.Role == scenario.Node && h.system == scenario.Keepalived:
		return []string{
			s.keepalived, "--use-file", s.configFile(h), "--dont-fork", "--log-console", "--no-syslog",
			"--vrrp", "--pid", filepath.Join(h.dir, "keepalived.pid"), "--vrrp_pid", filepath.Join(h.dir, "vrrp.pid"),
		}
	case h.Role == scenario.Node:
		return s.solovip("node", h, s.configFile(h))
	case h.Role == scenario.Witness && s.votes():
		return s.solovip("witness", h, s.witnessFile())
	case h.Role == scenario.Etcd && s.job.System == scenario.Lease:
		return s.member(h)
	case h.Role == scenario.Server:
		return []string{s.job.Lab, "lab", serverName, h.Name}
	}
	return nil
}

// order returns the command line of an operator's command on a host.
func (s *setup) order(h *host, step scenario.Step) []string {
	if step.Do == scenario.TakeOver {
		return []string{s.job.Solovip, "node", "--" + string(step.Do), "--run-dir", h.runDir()}
	}
	argv := append([]string{s.job.Solovip}, strings.Split(string(step.Do), "-")...)
	if step.Do != scenario.FenceClear {
		argv = append(argv, "--yes")
	}
	argv = append(argv, "--run-dir", h.runDir())
	if step.Peer != "" {
		argv = append(argv, "--to", step.Peer)
	}
	if step.Do == scenario.Handover || step.Do == scenario.FenceNow {
		argv = append(argv, s.claim(cmp.Or(step.Claim, s.job.Scenario.Claims[0].Name)))
	}
	return argv
}

func (s *setup) solovip(command string, h *host, file string) []string {
	return []string{
		s.job.Solovip, command, "-f", file,
		"--run-dir", h.runDir(), "--state-dir", h.stateDir(),
	}
}

func (s *setup) keyFile() string { return filepath.Join(s.dir, "mesh.key") }

func (s *setup) configFile(h *host) string {
	if h.system == scenario.Keepalived {
		return filepath.Join(h.dir, "keepalived.conf")
	}
	return filepath.Join(h.dir, "solovip.conf")
}

// service returns the command line that controls the guarded service on a host.
func (s *setup) service(verb string, h *host) string {
	return strings.Join(s.guarded(h).Command(verb), " ")
}

// guarded returns the host's service.
func (s *setup) guarded(h *host) Service {
	return Service{Node: h.Name, Dir: h.dir, Report: s.report, Lab: s.job.Lab}
}

// onDisk returns how a program is started whose disk can be slow.
func (s *setup) onDisk(h *host, argv []string) []string {
	if h.disk == nil {
		return argv
	}
	return append([]string{s.job.Lab, "lab", diskName, "--socket=" + s.diskSocket(h)}, argv...)
}

func (s *setup) diskSocket(h *host) string { return filepath.Join(h.dir, "disk.sock") }

func (s *setup) fifo(h *host) string { return filepath.Join(h.dir, "notify") }

// minister does for keepalived what a guard does for solovip: it starts and stops the
// service as the node's state changes. keepalived tells states by a FIFO too, and not
// only to scripts, which it cannot start in an ordinary user's namespace: there it may
// not set groups. It reads until the FIFO is closed, and tells each state.
func (s *setup) minister(h *host, states io.Reader, says func(instance, state string)) error {
	lines := bufio.NewScanner(states)
	for lines.Scan() {
		instance, now := state(lines.Text())
		if now == "" {
			continue
		}
		says(instance, now)
		if instance != s.job.Scenario.Claims[0].Name {
			continue
		}
		argv := s.guarded(h).Command("stop")
		if now == "MASTER" {
			argv = s.guarded(h).Command("start")
		}
		cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // has its own limits, and ends with the stage
		if err := h.inside(cmd.Run); err != nil {
			return fmt.Errorf("%s on %s: %w", filepath.Base(argv[0]), h.Name, err)
		}
	}
	return nil
}

// openFIFO makes and opens the FIFO by which a host's keepalived tells its states.
func (s *setup) openFIFO(h *host) (*os.File, error) {
	if err := unix.Mkfifo(s.fifo(h), 0o600); err != nil {
		return nil, fmt.Errorf("make %s: %w", s.fifo(h), err)
	}
	return os.OpenFile(s.fifo(h), os.O_RDWR, 0) // for writing too, so that a restart of keepalived is no end
}
