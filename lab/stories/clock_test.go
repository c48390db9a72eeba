package stories_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// Namespaces share the wall clock of their host, so the lab cannot step it. A machine of its own can.

const clockConf = `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority PRIORITY
    virtual_ipaddress {
        10.9.0.100/24
    }
}
cluster lab {
    node n1 10.9.0.1
    node n2 10.9.0.2
    witness w1 10.9.0.3
    key_file /lab/key
}
witness {
    endpoints http://10.9.0.3:2379
}
`

const clockStory = `
mkdir /lab
/story/solovip keygen -o /lab/key >/dev/null
ip link add br0 type bridge; ip link set br0 up
for i in 1 2 3; do
  ip netns add h$i
  ip link add p$i type veth peer name eth0 netns h$i
  ip link set p$i master br0 up
  ip -n h$i addr add 10.9.0.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link set lo up
done
fail() { echo "FAILED: $*"; tail -n 30 /lab/log1 /lab/log2 /lab/log3; exit 1; }
# await LIMIT WHAT COMMAND...: until the command succeeds
await() {
  left=$(($1 * 4)); what=$2; shift 2
  until "$@"; do
    left=$((left - 1)); test $left -gt 0 || fail "waited in vain: $what"
    sleep 0.25
  done
}
holds() { ip -n h$1 addr show dev eth0 | grep -q 10.9.0.100; }
heard() { ip netns exec h1 /story/solovip status --run-dir /run/1 | grep -q '^safety *safe'; }
sed s/PRIORITY/150/ /story/conf >/lab/conf1
sed s/PRIORITY/100/ /story/conf >/lab/conf2
ip netns exec h3 /story/solovip witness -f /lab/conf1 --run-dir /run/3 --state-dir /lab/3 >/lab/log3 2>&1 &
for i in 1 2; do
  ip netns exec h$i /story/solovip node -f /lab/conf$i --run-dir /run/$i --state-dir /lab/$i >/lab/log$i 2>&1 &
  eval N$i=$!
done
await 60 "n1 holds" holds 1
await 60 "all is well" heard
for i in 1 2; do ip -n h$i monitor address >/lab/seen$i & done
for step in 86400 -31536000 3 40000000 -5; do
  date -s @$(($(date +%s) + step)) >/dev/null || fail "the clock cannot be set"
  sleep 5
  holds 1 || fail "n1 has lost it, the clock having gone by $step s"
done
grep -q 'Deleted.*10.9.0.100' /lab/seen1 && fail "n1 has not had it all the time"
grep -q 10.9.0.100 /lab/seen2 && fail "n2 has had it"
heard || fail "not all is well after the steps"
echo "it has stayed"
kill -KILL $N1 $(cat /proc/$N1/task/*/children)
date -s @$(($(date +%s) - 7200)) >/dev/null
await 6 "n2 takes over" holds 2
echo "it has moved"
`

// TestWallClockSteps: the wall clock of nodes and witness jumps by seconds, a day and years, forth and
// back. The holder stays; and when it is killed the other one takes over, whatever the clock says.
func TestWallClockSteps(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"conf": clockConf, "story": clockStory} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	r, err := vm.Machine{
		Modules: []string{"veth", "bridge", "nf_tables"}, Programs: []string{"ip"},
		Files:   map[string]string{"/story/solovip": bin, "/story/conf": filepath.Join(dir, "conf"), "/story/story": filepath.Join(dir, "story")},
		Command: []string{"sh", "/story/story"},
	}.Run(ctx)
	if err != nil {
		vmtest.Missing(t, err)
	}
	t.Logf("%v, after %v", r.End, r.Took.Round(100*time.Millisecond))
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"it has stayed", "it has moved"} {
		if !strings.Contains(r.Output, line) {
			t.Errorf("the machine did not say %q:\n%s", line, r.Output)
		}
	}
}
