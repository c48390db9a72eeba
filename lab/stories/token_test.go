package stories_test

import (
	"fmt"
	"testing"
	"time"
)

const tokenConf = `cluster edge {
    node n1 10.96.0.11
    node n2 10.96.0.12
    insecure on
}
vrrp_script tracked {
    script "@DIR@/tell tracked"
    interval 1
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority %d
    virtual_ipaddress {
        10.96.0.100/24
    }
    track_script {
        tracked
    }
    notify_master "@DIR@/tell notify_master"
    notify_stop "@DIR@/tell notify_stop"
}
guard app {
    protects VI_1
    start "@DIR@/tell start"
    stop "@DIR@/tell stop"
    status "@DIR@/status"
    health "@DIR@/tell health"
    health_interval 0.2
}
`

// tellToken writes down with which token it was called; @DIR@/on says that the service runs.
const tellToken = `#!/bin/sh
echo $SOLOVIP_TOKEN >@DIR@/$1.new && mv @DIR@/$1.new @DIR@/$1.token
case $1 in start) : >@DIR@/on ;; stop) rm -f @DIR@/on ;; esac
exit 0
`

// TestTokenReachesEveryScript: every script and guard command of the holder learns the token that the
// status shows, so that a service can fence its own storage by it; and the next holder's is higher.
func TestTokenReachesEveryScript(t *testing.T) {
	t.Parallel()
	const vip = "10.96.0.100"
	b := newBench(t, "10.96.0")
	n1, n2 := b.machine("n1", 11), b.machine("n2", 12)
	for m, priority := range map[*machine]int{n1: 150, n2: 100} {
		m.write("tell", tellToken, 0o755)
		m.write("status", "#!/bin/sh\ntest -e @DIR@/on\n", 0o755)
		m.solovip(m.write("a.conf", fmt.Sprintf(tokenConf, priority), 0o644))
	}
	// all waits until the commands of the holder have been called with the token that its status shows.
	all := func(m *machine, commands ...string) (token int) {
		t.Helper()
		b.await(20*time.Second, m.name+" holds, and all know its token", func() bool {
			s, ok := m.status()
			if !ok || !m.has(vip, "") || len(s.Claims) != 1 {
				return false
			}
			token = s.Claims[0].Token
			for _, c := range commands {
				if m.number(c+".token") != token {
					return false
				}
			}
			return token > 0
		}, m)
		return token
	}
	first := all(n1, "notify_master", "start", "health", "tracked")
	n1.stop()
	for _, c := range []string{"stop", "notify_stop"} {
		if got := n1.number(c + ".token"); got != first {
			t.Errorf("%s was called with token %d, want %d", c, got, first)
		}
	}
	if second := all(n2, "notify_master", "start", "health", "tracked"); second <= first {
		t.Errorf("n2 holds with token %d after n1 had %d", second, first)
	}
}
