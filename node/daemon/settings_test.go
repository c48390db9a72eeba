package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/solovip/solovip/config"
)

// Guards of one claim stop one after the other, so whoever takes it from a node that has
// not said that they are stopped waits for all; and they are started anew together, so the
// one that gives up first does so for all. Those of every node are waited for by nobody.
func TestPlanOfGuards(t *testing.T) {
	file := filepath.Join(t.TempDir(), "guards.conf")
	text := `vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	virtual_ipaddress {
		10.0.0.100
	}
}
guard web {
	protects VI_1
	systemd nginx
	stop_timeout 3
	restart 4
}
guard app {
	protects VI_1
	start "/bin/true"
	pid_file /run/app.pid
	restart always
}
guard log {
	protects VI_1
	systemd rsyslog
	run_on always
	stop_timeout 30
	restart 1
}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, report := config.Load(file, config.Options{})
	if report.HasErrors() {
		t.Fatal(report.Errors())
	}
	s, err := plan(cfg, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := s.node.Claims[0]
	const want = 3*time.Second + guardKill + 2*time.Second + guardKill
	if c.GuardLimit != want || c.GuardTries != 2 || !c.Guarded || !c.GuardedAlways {
		t.Errorf("limit %v, want %v; tries %d, want 2; guarded %t and %t", c.GuardLimit, want, c.GuardTries, c.Guarded, c.GuardedAlways)
	}
}
