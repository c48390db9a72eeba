package stories_test

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const hushedConf = `cluster edge {
    node n1 10.97.0.11
    node n2 10.97.0.12
    witness w1 10.97.0.13
    key_file %s
}
`

// TestHushFollowsTheConfiguration: nobody finds the addresses of this node's claims here as long
// as it does not hold them: from the start, with the claims of each reload, and no longer than
// it runs. The others are not there, so that it holds nothing.
func TestHushFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	b := newBench(t, "10.97.0")
	key := b.meshKey()
	n1 := b.machine("n1", 11)
	write := func(vips ...string) string {
		text := fmt.Sprintf(hushedConf, key)
		for i, vip := range vips {
			text += fmt.Sprintf("vrrp_instance VI_%d {\n interface eth0\n virtual_router_id %d\n virtual_ipaddress {\n %s\n }\n}\n", i, 50+i, vip)
		}
		return n1.write("a.conf", text, 0o644)
	}
	hushed := func(vips ...string) func() bool {
		return func() bool {
			out, err := exec.Command("ip", "netns", "exec", b.ns("n1"), "nft", "list", "table", "arp", "solovip").CombinedOutput()
			there := err == nil
			for _, vip := range []string{"10.97.0.101", "10.97.0.102"} {
				there = there && strings.Contains(string(out), vip) == strings.Contains(strings.Join(vips, " "), vip)
			}
			return there
		}
	}
	n1.solovip(write("10.97.0.101/24"))
	b.await(8*time.Second, "the address is hushed", hushed("10.97.0.101"), n1)
	write("10.97.0.101/24", "10.97.0.102/24")
	n1.signal(syscall.SIGHUP)
	b.await(8*time.Second, "that of a claim more is too", hushed("10.97.0.101", "10.97.0.102"), n1)
	write("10.97.0.102/24")
	n1.signal(syscall.SIGHUP)
	b.await(8*time.Second, "that of the claim that went is not", hushed("10.97.0.102"), n1)
	n1.stop()
	if out, err := exec.Command("ip", "netns", "exec", b.ns("n1"), "nft", "list", "ruleset").CombinedOutput(); err != nil || strings.Contains(string(out), "solovip") {
		t.Errorf("after the stop: %v\n%s", err, out)
	}
}
