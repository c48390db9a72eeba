package netns

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/scenario"
)

// clusterName names the claim, the mesh and the instance in the lab's files.
const (
	clusterName = "lab"
	claimName   = "VI_1"
	routerID    = 77
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
	if s.job.System == scenario.Keepalived {
		var err error
		s.keepalived, err = KeepalivedPath()
		return err
	}
	if s.job.System == scenario.VRRP {
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
	return os.WriteFile(s.configFile(h), []byte(s.config(h)), 0o644)
}

// command returns how the host's daemon is started, nil if it runs none.
func (s *setup) command(h *host) []string {
	switch {
	case h.Role == scenario.Node && s.job.System == scenario.Keepalived:
		return []string{
			s.keepalived, "--use-file", s.configFile(h), "--dont-fork", "--log-console", "--no-syslog",
			"--vrrp", "--pid", filepath.Join(h.dir, "keepalived.pid"), "--vrrp_pid", filepath.Join(h.dir, "vrrp.pid"),
		}
	case h.Role == scenario.Node:
		return s.solovip("node", h, s.configFile(h))
	case h.Role == scenario.Witness && s.job.System.Exclusive():
		nodes := s.job.Scenario.Named(scenario.Node)
		return s.solovip("witness", h, filepath.Join(s.dir, nodes[0].Name, "solovip.conf"))
	case h.Role == scenario.Etcd && s.job.System == scenario.Lease:
		return s.member(h)
	}
	return nil
}

// order returns the command line of an operator's command on a host.
func (s *setup) order(h *host, step scenario.Step) []string {
	if step.Do == scenario.TakeOver {
		return []string{s.job.Solovip, "node", "--" + string(step.Do), "--run-dir", h.runDir()}
	}
	argv := append([]string{s.job.Solovip}, strings.Fields(string(step.Do))...)
	argv = append(argv, "--yes", "--run-dir", h.runDir())
	if step.Peer != "" {
		argv = append(argv, "--to", step.Peer)
	}
	if step.Do == scenario.Handover {
		argv = append(argv, claimName)
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
	if s.job.System == scenario.Keepalived {
		return filepath.Join(h.dir, "keepalived.conf")
	}
	return filepath.Join(h.dir, "solovip.conf")
}

// config returns the text of a node's configuration: for all systems the same instance.
func (s *setup) config(h *host) string {
	var b strings.Builder
	fifo := ""
	if s.job.System == scenario.Keepalived {
		fifo = fmt.Sprintf("    vrrp_notify_fifo %s\n", s.fifo(h))
	}
	fmt.Fprintf(&b, `global_defs {
    router_id %s
    vrrp_version 3
%s}
vrrp_instance %s {
    state BACKUP
    interface %s
    virtual_router_id %d
    priority %d
    advert_int %v
    virtual_ipaddress {
        %v dev %s
    }
}
`, h.Name, fifo, claimName, iface, routerID, h.Priority, s.job.Scenario.AdvertInterval().Seconds(), s.job.Scenario.VIP, iface)
	if s.job.System.Solovip() {
		b.WriteString(s.blocks(h))
	}
	return b.String()
}

// blocks returns what solovip adds to a keepalived.conf, as far as the mode has it.
func (s *setup) blocks(h *host) string {
	var b strings.Builder
	if s.job.System != scenario.VRRP {
		fmt.Fprintf(&b, "cluster %s {\n", clusterName)
		for _, n := range s.job.Scenario.Named(scenario.Node) {
			fmt.Fprintf(&b, "    node %s %v\n", n.Name, n.Addr)
		}
		if s.job.System.Exclusive() {
			for _, w := range s.job.Scenario.Named(scenario.Witness) {
				fmt.Fprintf(&b, "    witness %s %v\n", w.Name, w.Addr)
			}
		}
		fmt.Fprintf(&b, "    mesh_port %d\n    key_file %s\n}\n", meshPort, s.keyFile())
	}
	if s.job.System == scenario.Lease {
		b.WriteString("witness {\n    endpoints")
		for _, role := range []scenario.Role{scenario.Witness, scenario.Etcd} {
			for _, w := range s.job.Scenario.Named(role) {
				fmt.Fprintf(&b, " http://%v:%d", w.Addr, witnessPort)
			}
		}
		if s.job.Scenario.Timing != "" {
			fmt.Fprintf(&b, "\n    timing %s", s.job.Scenario.Timing)
		}
		b.WriteString("\n}\n")
	}
	// So that a preferred node that was fenced comes back while the run lasts.
	fmt.Fprintf(&b, "fencing {\n    clear_after 2\n    gate %s\n}\n", cmp.Or(s.job.Scenario.Gate, "on"))
	if s.job.Scenario.Web {
		b.WriteString(h.webGuard(s.nginx))
		return b.String()
	}
	fmt.Fprintf(&b, "guard echo {\n    protects %s\n    stop_timeout 0.5\n    start %q\n    stop %q\n    status %q\n}\n",
		claimName, s.service("start", h), s.service("stop", h), s.service("status", h))
	return b.String()
}

// service returns the command line that controls the guarded service on a host.
func (s *setup) service(verb string, h *host) string {
	return strings.Join(s.guarded(h).Command(verb), " ")
}

// guarded returns the host's service.
func (s *setup) guarded(h *host) Service {
	return Service{Node: h.Name, Dir: h.dir, Report: s.report, Lab: s.job.Lab}
}

func (s *setup) fifo(h *host) string { return filepath.Join(h.dir, "notify") }

// minister does for keepalived what a guard does for solovip: it starts and stops the
// service as the node's state changes. keepalived tells states by a FIFO too, and not
// only to scripts, which it cannot start in an ordinary user's namespace: there it may
// not set groups. It reads until the FIFO is closed.
func (s *setup) minister(h *host, states io.Reader) error {
	lines := bufio.NewScanner(states)
	for lines.Scan() {
		words := strings.Fields(lines.Text()) // INSTANCE "VI_1" MASTER 150
		if len(words) < 3 || words[0] != "INSTANCE" {
			continue
		}
		argv := s.guarded(h).Command("stop")
		if words[2] == "MASTER" {
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
