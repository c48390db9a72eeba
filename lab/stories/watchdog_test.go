package stories_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/lab/vm"
	"github.com/solovip/solovip/lab/vmtest"
)

// These stories are told in a virtual machine with an emulated hardware watchdog, which
// really resets it. In it n1 is under test, in mode quorum with the witness w1; the third
// member never comes. By timing auto R is 2.84 s, and the guards need 3.5 s to stop at the
// most, so the watchdog counts 5 s.

// dogLast is the longest that a guarded service may go on after the last renewal was sent: R + X + G.
const dogLast = 2840*time.Millisecond + 100*time.Millisecond + 3500*time.Millisecond

const dogConf = `vrrp_instance VI_1 {
    interface v0
    virtual_router_id 51
    priority 150
    virtual_ipaddress {
        10.9.0.100/24
    }
}
cluster lab {
    node n1 10.9.0.1
    node n2 10.9.0.3
    witness w1 10.9.0.2
    key_file /lab/key
}
guard web {
    protects VI_1
    start "/lab/web start"
    stop "/lab/web stop"
    status "/lab/web status"
    stop_timeout 3
}
fencing {
    watchdog required DEVICE
}
`

// dogService is the guarded service: a process that writes down that it lives. With the file
// /lab/stubborn nobody can show that it is stopped.
const dogService = `#!/bin/sh
case $1 in
start) setsid sleep 1000000 >/dev/null 2>&1 & echo $! >/run/web.pid ;;
stop) test -e /lab/stubborn || kill $(cat /run/web.pid) ;;
status)
  test -e /lab/stubborn && exit 0
  kill -0 $(cat /run/web.pid) 2>/dev/null || exit 1 ;;
esac
`

// dogPrelude has the words of the stories.
const dogPrelude = `
mkdir /lab
ip netns add w
ip link add v0 type veth peer name v1 netns w
ip addr add 10.9.0.1/24 dev v0; ip link set v0 up
ip -n w addr add 10.9.0.2/24 dev v1; ip -n w link set v1 up; ip -n w link set lo up
cp /story/web /lab/web
/story/solovip keygen -o /lab/key >/dev/null

fail() { echo "FAILED: $*"; tail -n 40 /lab/log1 /lab/log; exit 1; }
set -u; W=
# await LIMIT WHAT COMMAND...: until the command succeeds
await() {
  left=$(($1 * 4)); what=$2; shift 2
  until "$@"; do
    left=$((left - 1)); test $left -gt 0 || fail "waited in vain: $what"
    sleep 0.25
  done
}
holds() { ip addr show dev v0 | grep -q 10.9.0.100; }
free() { ! holds; }
serves() { kill -0 $(cat /run/web.pid 2>/dev/null) 2>/dev/null; }
rests() { ! serves; }
told() { grep -q "$1" /lab/log; }
gone() { ! kill -0 $1 2>/dev/null; }
witness() { ip netns exec w /story/solovip witness -f /lab/conf --run-dir /run/w --state-dir /lab/w >/lab/wlog 2>&1 & W=$!; }
# start DEVICE
start() {
  sed "s|DEVICE|$1|" /story/conf >/lab/conf
  test -n "$W" || witness
  /story/solovip node -f /lab/conf --run-dir /run/n --state-dir /lab/n >>/lab/log 2>&1 & N=$!
}
# The guardian first: it is not to see the worker stand still.
freeze() { kill -STOP $N $(workers); }
workers() { cat /proc/$N/task/*/children; }
stop() { kill -TERM $N; await 20 "the daemon stops" gone $N; }
now() { read -r up rest </proc/uptime; echo "$up"; }
# lives NAME: says when it lives, until it does not, and whether the service does too
lives() { while sleep 0.2; do serves && echo "$1: serves at $(now)" || echo "$1: lives at $(now)"; done; }
# quiet: nobody resets the machine for longer than the watchdog counts
quiet() { sleep 7; echo "alive after: $1"; }
`

// dogMachine is a machine in which a story is told.
func dogMachine(t *testing.T, story string) vm.Machine {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"conf": dogConf, "web": dogService, "story": dogPrelude + story} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return vm.Machine{
		Modules: []string{"i6300esb", "veth", "nf_tables"}, Devices: []string{"i6300esb"},
		Programs: []string{"ip"},
		Files: map[string]string{
			"/story/solovip": bin, "/story/conf": filepath.Join(dir, "conf"), "/story/web": filepath.Join(dir, "web"), "/story/story": filepath.Join(dir, "story"),
		},
		Command: []string{"sh", "/story/story"},
	}
}

// tell runs a story in its machine.
func tell(t *testing.T, story string) vm.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	r, err := dogMachine(t, story).Run(ctx)
	if err != nil {
		vmtest.Missing(t, err)
	}
	t.Logf("%v, after %v", r.End, r.Took.Round(100*time.Millisecond))
	return r
}

// times returns the times in the machine at which it printed that line.
func times(t *testing.T, r vm.Result, line string) []time.Duration {
	t.Helper()
	var all []time.Duration
	for text := range strings.Lines(r.Output) {
		at, ok := strings.CutPrefix(text, line+" at ")
		if !ok || !strings.HasSuffix(at, "\n") {
			continue
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(at), 64)
		if err != nil {
			t.Fatalf("the line %q has no time", text)
		}
		all = append(all, time.Duration(seconds*float64(time.Second)))
	}
	return all
}

// wantReset fails unless the watchdog has reset the machine, soon enough after it printed the
// line, and not while there was nobody left to be stopped.
func wantReset(t *testing.T, r vm.Result, name string) {
	t.Helper()
	begun, served := times(t, r, name), times(t, r, name+": serves")
	if r.End != vm.WatchdogReset || len(begun) != 1 || len(served) == 0 {
		t.Fatalf("want a reset by the watchdog of a machine that is %s: it was %v, and printed:\n%s", name, r.End, r.Output)
	}
	last := served[len(served)-1]
	if lived := times(t, r, name+": lives"); len(lived) > 0 && name == "frozen" {
		t.Errorf("the service has ended by itself: %v", lived)
	} else if len(lived) > 0 {
		last = max(last, lived[len(lived)-1])
	}
	t.Logf("%s: the machine lived for another %v", name, last-begun[0])
	if last-begun[0] > dogLast {
		t.Errorf("%s: the machine lived for another %v, want %v at the most", name, last-begun[0], dogLast)
	}
}

// TestWatchdog tells them next to each other, and to no others: they want the processors.
func TestWatchdog(t *testing.T) {
	t.Run("resets a frozen node", resetsAFrozenNode)
	t.Run("resets where a service does not stop", resetsWhereAServiceDoesNotStop)
	t.Run("spares who lets go", sparesWhoLetsGo)
}

// resetsAFrozenNode: every process of the daemon stands still while it holds the claim, and
// nobody is left to stop the guarded service.
func resetsAFrozenNode(t *testing.T) {
	t.Parallel()
	r := tell(t, `
start /dev/watchdog
await 30 "it holds" holds; await 10 "it serves" serves
sleep 6
serves || fail "it does not serve any more"
echo "frozen at $(now)"; freeze
lives frozen
`)
	wantReset(t, r, "frozen")
}

// resetsWhereAServiceDoesNotStop: the daemon lives, and says that its service cannot be shown
// to be stopped; the service is one that does not stop.
func resetsWhereAServiceDoesNotStop(t *testing.T) {
	t.Parallel()
	r := tell(t, `
start /dev/watchdog
await 30 "it holds" holds; await 10 "it serves" serves
touch /lab/stubborn
echo "stopping at $(now)"; kill -TERM $N
(await 10 "it says so" told "cannot be shown to be stopped"; echo "it says so") &
lives stopping
`)
	// The permission is not renewed any more, and lasts for R from the last renewal.
	wantReset(t, r, "stopping")
	if !strings.Contains(r.Output, "it says so") {
		t.Errorf("the daemon did not say it: %v", r.Err())
	}
}

// sparesWhoLetsGo: nothing is reset where everything is shown to be stopped.
func sparesWhoLetsGo(t *testing.T) {
	t.Parallel()
	r := tell(t, `
start /dev/watchdog7
await 20 "it says that there is no watchdog" told "nothing is held here: a watchdog is required"
sleep 5
holds && fail "it holds without the watchdog that is required"
stop; echo "required: nothing is held without"

start /dev/watchdog
await 30 "it holds" holds; await 10 "it serves" serves
kill -STOP $W; echo "renewals fail"
await 10 "it lets go" free; await 5 "its service stops" rests
quiet "renewals failed"
kill -CONT $W
await 30 "it holds again" holds; await 20 "it serves again" serves

told "watchdog open" || fail "it has no watchdog"
cp /lab/log /lab/log1; >/lab/log
kill -KILL $(workers); echo "worker killed"
await 30 "the worker is replaced" told "watchdog open"
await 30 "it holds again" holds; await 20 "it serves again" serves
quiet "the worker was replaced"

stop
rests || fail "the service runs after the stop"
quiet "an orderly stop"
`)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"required: nothing is held without", "alive after: renewals failed", "alive after: the worker was replaced", "alive after: an orderly stop"} {
		if !strings.Contains(r.Output, line) {
			t.Errorf("the machine did not say %q", line)
		}
	}
}
