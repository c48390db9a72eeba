package stories_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const votersConf = `global_defs {
    vrrp_version 3
}
vrrp_instance VI_1 {
    interface eth0
    state BACKUP
    priority %d
    virtual_router_id 21
    advert_int 1
    virtual_ipaddress {
        192.168.62.30/24 dev eth0
    }
}
cluster edge {
    node n1 192.168.62.11
    node n2 192.168.62.12
    witness w1 192.168.62.13
    key_file %s
}
fencing {
    clear_after 1
}
`

// TestSplitOnARealNode cuts the holder off from the two other voters, as an operator does who
// wants to see it: its status tells what comes of it, the VIP moves, and when the time is over
// it comes back.
func TestSplitOnARealNode(t *testing.T) {
	t.Parallel()
	b := newBench(t, "192.168.62")
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	key := b.meshKey()
	n1, n2, w1 := b.machine("n1", 11), b.machine("n2", 12), b.machine("w1", 13)
	conf := n1.write("solovip.conf", fmt.Sprintf(votersConf, 150, key), 0o644)
	w1.start(bin, "witness", "-f", conf, "--run-dir", filepath.Join(w1.dir, "run"), "--state-dir", filepath.Join(w1.dir, "state"))
	n1.solovip(conf)
	n2.solovip(n2.write("solovip.conf", fmt.Sprintf(votersConf, 100, key), 0o644))
	const vip = "192.168.62.30"
	run := filepath.Join(n1.dir, "run")
	b.await(30*time.Second, "n1 holds, and is safe", func() bool {
		return n1.has(vip, "") && exec.Command(bin, "fence", "status", "--run-dir", run).Run() == nil
	}, n1, n2, w1)

	said := make(chan string, 1)
	go func() {
		cmd := exec.Command("ip", "netns", "exec", b.ns("n1"), bin, "split", "--yes", "--block", "vrrp,mesh,witness",
			"--peer", "n2", "--peer", "w1", "--for", "15s", "-f", conf, "--run-dir", run)
		out, err := cmd.CombinedOutput()
		said <- fmt.Sprintf("%s(%v)", out, err)
	}()
	b.await(20*time.Second, "n2 has the VIP, and n1 has not", func() bool { return n2.has(vip, "") && !n1.has(vip, "") }, n1, n2, w1)
	out := <-said
	b.await(30*time.Second, "n1 has it back", func() bool { return n1.has(vip, "") && !n2.has(vip, "") }, n1, n2, w1)
	t.Log(out)
	rest := out
	for _, want := range []string{"--- before\nSAFE", "\ncut off; the kernel ends it at ", "held by NOBODY", "\nover after 15", "\n--- after\n", "(<nil>)"} {
		at := strings.Index(rest, want)
		if at < 0 {
			t.Fatalf("%q does not come, or not in its place, in\n%s", want, out)
		}
		rest = rest[at:]
	}
}
