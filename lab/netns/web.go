package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NginxPath returns where nginx is; it is often in no ordinary user's PATH.
func NginxPath() (string, error) {
	for _, path := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/sbin/nginx"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("find nginx: %w (install the package nginx-light, or leave it out)", exec.ErrNotFound)
}

// nginxConfig answers every request with the node's name. In an ordinary user's
// namespaces root is the only user there is.
const nginxConfig = `user root;
worker_processes 1;
pid nginx.pid;
error_log nginx.err;
events {}
http {
    access_log off;
    client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
    server { listen 0.0.0.0:%d; location / { return 200 "%s\n"; } }
}
`

func (h *host) nginxFile() string  { return filepath.Join(h.dir, "nginx.conf") }
func (h *host) healthFile() string { return filepath.Join(h.dir, "check_web.sh") }

// healthScript is what people have as check_web.sh: the service answers, and as it should.
const healthScript = `#!/bin/bash
exec 3<>/dev/tcp/%v/%d || exit 1
printf 'GET / HTTP/1.0\r\n\r\n' >&3
read -r -t 1 line <&3 && [[ $line == *' 200 '* ]]
`

// writeNginx writes the configuration of the host's nginx, and its health check.
func (h *host) writeNginx() error {
	if err := os.WriteFile(h.healthFile(), fmt.Appendf(nil, healthScript, h.Addr, ServicePort), 0o755); err != nil { //nolint:gosec // a program
		return err
	}
	return os.WriteFile(h.nginxFile(), fmt.Appendf(nil, nginxConfig, ServicePort, h.Name), 0o644)
}

// webGuard returns the guard block of a host's nginx, as one would write it.
func (h *host) webGuard(nginx, claim string) string {
	start := strings.Join([]string{nginx, "-p", h.dir, "-e", "nginx.err", "-c", h.nginxFile()}, " ")
	return fmt.Sprintf(`guard web {
    protects %s
    start %q
    pid_file %s
    stop_timeout 0.5
    health %s
    health_interval 0.2
    health_timeout 1.5
    restart 2
}
`, claim, start, filepath.Join(h.dir, "nginx.pid"), h.healthFile())
}

// signalWeb sends a signal to every process of the host's nginx.
func (h *host) signalWeb(sig syscall.Signal) error {
	pids, err := h.processes(true)
	if err != nil {
		return err
	}
	found := 0
	for _, pid := range pids {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || strings.TrimSpace(string(name)) != "nginx" {
			continue
		}
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal %v to the service of %s: %w", sig, h.Name, err)
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("signal %v to the service of %s: no nginx runs there", sig, h.Name)
	}
	return nil
}

// breakService makes the configuration of the host's nginx one that it does not start with.
func (h *host) breakService() error {
	return os.WriteFile(h.nginxFile(), []byte("http {\n"), 0o644)
}

// flushRules removes all rules of the host's nftables, as nft flush ruleset does.
func (h *host) flushRules() error {
	conn, err := nftables.New(nftables.WithNetNSFd(h.ns))
	if err != nil {
		return fmt.Errorf("reach the firewall of %s: %w", h.Name, err)
	}
	conn.FlushRuleset()
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("flush the rules of %s: %w", h.Name, err)
	}
	return nil
}

// assign puts the address on the host, as an operator would by hand.
func (h *host) assign(ip net.IP, mask net.IPMask) error {
	return h.inside(func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return fmt.Errorf("find %s of %s: %w", iface, h.Name, err)
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: mask}}); err != nil {
			return fmt.Errorf("put %v on %s: %w", ip, h.Name, err)
		}
		return nil
	})
}
