package etcd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
)

// member is one process of the etcd that the distribution ships (Debian 12: 3.4.23).
type member struct {
	url string
	cmd *exec.Cmd
}

// distribution starts an etcd of n members from the binary in PATH.
func distribution(t *testing.T, n int) []member {
	t.Helper()
	path, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: install the package etcd-server", err)
		}
		t.Skip(err)
	}
	var urls, peers, cluster []string
	for i := range n {
		urls = append(urls, "http://"+freeAddr(t))
		peers = append(peers, "http://"+freeAddr(t))
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	var members []member
	for i := range n {
		cmd := exec.CommandContext(context.Background(), path, "--name", fmt.Sprintf("m%d", i), "--data-dir", t.TempDir(),
			"--listen-client-urls", urls[i], "--advertise-client-urls", urls[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
			"--initial-cluster", strings.Join(cluster, ","))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				b := out.Bytes()
				t.Logf("%s", b[max(0, len(b)-4000):])
			}
		})
		members = append(members, member{urls[i], cmd})
	}
	return members
}

// The etcd of an old distribution serves as well as ours.
func TestOldEtcd(t *testing.T) {
	m := distribution(t, 1)[0]
	c := client(t, etcd.Config{Endpoints: []string{m.url}})
	recovered(t, c)
	version := do(t, c, renew("lb01", 0, 1)).Nodes["lb01"].Version
	if out := do(t, c, renew("lb01", 0, 2)); out.Done {
		t.Error("written although the record had changed")
	}
	seen := watch(t, c)
	complete(t, seen)
	settled(t, c, seen)
	swap := renew("lb01", version, 2)
	swap.Claims = []witness.ClaimRecord{claim("VI_1", "lb01")}
	if out := do(t, c, swap); !out.Done || out.Claims["VI_1"].Version != out.Revision || out.Nodes["lb01"].Version != out.Revision {
		t.Errorf("%+v: want both records written, at one revision", out)
	}
	if o := next(t, seen); len(o.Nodes) != 1 || len(o.Claims) != 1 {
		t.Errorf("watched %+v, want both records at once", o)
	}
}

// The member in use is frozen, then its successor killed, of which either may be the leader too.
func TestMembersLost(t *testing.T) {
	members := distribution(t, 3)
	cfg := etcd.Config{Timeout: 500 * time.Millisecond}
	for _, m := range members {
		cfg.Endpoints = append(cfg.Endpoints, m.url)
	}
	recovered(t, client(t, cfg))
	c := client(t, cfg)
	beat := uint64(0)
	renewed := func(what string) {
		t.Helper()
		start := time.Now()
		for beat++; ; {
			out, err := c.Do(t.Context(), witness.Swap{})
			if err == nil {
				out, err = c.Do(t.Context(), renew("lb01", out.Nodes["lb01"].Version, beat))
			}
			if err == nil && out.Done && out.Nodes["lb01"].Record.Beat == beat {
				break
			}
			// With default settings a leader is elected within 1 to 2 s, rarely twice that.
			if time.Since(start) > 8*time.Second {
				t.Fatalf("%s: no renewal any more: done %v, %v", what, out.Done, err)
			}
		}
		t.Logf("%s: renewed after %v", what, time.Since(start))
	}
	signal := func(i int, s os.Signal) {
		if err := members[i].cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	renewed("all well")
	signal(0, syscall.SIGSTOP)
	renewed("first frozen")
	signal(0, syscall.SIGCONT)
	signal(1, syscall.SIGKILL)
	renewed("second killed")
}
