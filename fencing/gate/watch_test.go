package gate

import (
	"context"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/boottime"
)

// What somebody else does to the tables is put right without a renewal, is told once each
// time, and what others do to their own tables is none of our business. The VIP that was
// shut stays shut, the one that was armed keeps its deadline.
func TestWatchRepairs(t *testing.T) {
	l := newLink(t)
	said := &await.Log{}
	g, err := Open("solovip_test", said.Logger())
	check(t, err)
	check(t, g.Guard([]netip.Addr{vip, vip2}))
	deadline := boottime.Now().Add(time.Minute)
	check(t, g.Arm(deadline, []netip.Addr{vip}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	here, err := netns.Get()
	check(t, err)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is in the wrong namespace
		if err := netns.Set(here); err != nil {
			t.Error(err)
			return
		}
		g.Watch(ctx)
	}()
	defer func() { stop(); <-done; _ = here.Close() }()

	const told = "it is back"
	damage := [][]string{
		{"flush", "ruleset"},
		{"delete", "table", "inet", "solovip_test"},
		{"delete", "table", "arp", "solovip_test"},
		{"flush", "table", "inet", "solovip_test"},
		{"flush", "set", "inet", "solovip_test", "vips"},
	}
	for i, cmd := range damage {
		nft(t, cmd...)
		await.That(t, strings.Join(cmd, " ")+" is repaired", func() bool { return strings.Count(said.String(), told) == i+1 })
		check(t, g.Check())
	}
	nft(t, "add", "table", "inet", "theirs")
	for range 20 {
		check(t, g.Arm(deadline, []netip.Addr{vip}))
	}
	await.That(t, "the change of others is seen", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		now, err := g.gen.now()
		return err == nil && now == g.gen.checked+g.gen.own
	})
	if n := strings.Count(said.String(), told); n != len(damage) {
		t.Errorf("told %d repairs of %d", n, len(damage))
	}
	l.hold(vip)
	l.hold(vip2)
	l.listen()
	l.ask(vip, vip2)
	l.waitFor("ping 10.9.0.100", time.Time{})
	if n := len(l.answers("ping 10.9.0.101")); n > 0 {
		t.Errorf("the VIP that was shut answered %d times", n)
	}
}
