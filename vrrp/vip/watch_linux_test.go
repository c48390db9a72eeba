package vip

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/solovip/solovip/internal/await"
)

// eventStream is a running Watch.
type eventStream struct {
	events chan Event
	seen   []Event
}

// watch starts Watch in the test's namespace and stops it when the test ends.
func watch(t *testing.T, k *Kernel) *eventStream {
	t.Helper()
	return watchWith(t, k, func(s *eventStream, e Event) { s.events <- e })
}

func watchWith(t *testing.T, k *Kernel, emit func(*eventStream, Event)) *eventStream {
	t.Helper()
	s := &eventStream{events: make(chan Event, 10000)}
	here := currentNamespace(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		here.enter(t)
		ended <- k.Watch(ctx, func(e Event) { emit(s, e) })
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Watch: %v", err)
			}
		case <-time.After(await.Patience):
			t.Error("Watch does not end with its context")
		}
	})
	return s
}

// await waits until exactly this event comes.
func (s *eventStream) await(t *testing.T, want Event) {
	t.Helper()
	s.awaitFunc(t, fmt.Sprintf("%+v", want), func(e Event) bool { return e == want })
}

func (s *eventStream) awaitFunc(t *testing.T, what string, match func(Event) bool) Event {
	t.Helper()
	deadline := time.After(await.Patience)
	for {
		select {
		case e := <-s.events:
			s.seen = append(s.seen, e)
			if match(e) {
				return e
			}
		case <-deadline:
			t.Fatalf("%s did not come in %s; came: %+v", what, await.Patience, s.seen)
		}
	}
}

// awaitLink waits for a link event of that name and state and returns its index.
func (s *eventStream) awaitLink(t *testing.T, iface string, there, up bool) int {
	t.Helper()
	what := fmt.Sprintf("link %s there=%t up=%t", iface, there, up)
	e := s.awaitFunc(t, what, func(e Event) bool {
		l, ok := e.(LinkEvent)
		return ok && l.Interface == iface && (l.Index != 0) == there && l.Up == up
	})
	return e.(LinkEvent).Index
}

// awaitAddress waits for an address of veth0 to come or go.
func (s *eventStream) awaitAddress(t *testing.T, iface, prefix string, added bool) {
	t.Helper()
	s.await(t, AddressEvent{iface, netip.MustParsePrefix(prefix), added})
}

func TestWatchStartsWithWhatIsThere(t *testing.T) {
	newPair(t)
	run(t, "ip", "link", "add", "down0", "type", "veth", "peer", "name", "down1")
	s := watch(t, openKernel(t))
	s.awaitLink(t, "lo", true, true)
	s.awaitLink(t, "down0", true, false)
	s.awaitAddress(t, "lo", "127.0.0.1/8", true)
	s.awaitAddress(t, "veth0", "10.9.0.1/24", true)
}

func TestWatchLinks(t *testing.T) {
	near, far := newPair(t)
	s := watch(t, openKernel(t))
	index := s.awaitLink(t, "veth0", true, true)

	// The cable is pulled at the other end: no carrier, though set up here.
	far.enter(t)
	run(t, "ip", "link", "set", "veth0", "down")
	s.awaitLink(t, "veth0", true, false)
	run(t, "ip", "link", "set", "veth0", "up")
	s.awaitLink(t, "veth0", true, true)

	// Set down here, by an administrator.
	near.enter(t)
	run(t, "ip", "link", "set", "veth0", "down")
	s.awaitLink(t, "veth0", true, false)

	// Renamed: the old name goes with its addresses, the new one comes with them.
	run(t, "ip", "link", "set", "veth0", "name", "wan0")
	s.awaitAddress(t, "veth0", "10.9.0.1/24", false)
	s.awaitLink(t, "veth0", false, false)
	s.awaitLink(t, "wan0", true, false)
	s.awaitAddress(t, "wan0", "10.9.0.1/24", true)

	run(t, "ip", "link", "delete", "wan0")
	s.awaitAddress(t, "wan0", "10.9.0.1/24", false)
	s.awaitLink(t, "wan0", false, false)

	// Made again: same name, another index.
	run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	if again := s.awaitLink(t, "veth0", true, false); again == index {
		t.Errorf("index %d again", again)
	}
}

// A bridge reports with a "delete" message that a port left it; the link is still there.
func TestWatchLinkThatLeavesBridge(t *testing.T) {
	newPair(t)
	run(t, "ip", "link", "add", "br0", "type", "bridge")
	run(t, "ip", "link", "set", "veth0", "master", "br0")
	s := watch(t, openKernel(t))
	s.awaitAddress(t, "veth0", "10.9.0.1/24", true)
	run(t, "ip", "link", "set", "veth0", "nomaster")
	run(t, "ip", "address", "add", "10.9.0.3/24", "dev", "veth0") // marks the end
	s.awaitFunc(t, "the mark", func(e Event) bool {
		if l, ok := e.(LinkEvent); ok && l.Interface == "veth0" && l.Index == 0 {
			t.Errorf("veth0 reported as gone")
		}
		return e == AddressEvent{"veth0", netip.MustParsePrefix("10.9.0.3/24"), true}
	})
}

// Somebody deletes a VIP behind the node's back. Refreshes in between are no news.
func TestWatchAddresses(t *testing.T) {
	newPair(t)
	k := openKernel(t)
	s := watch(t, k)
	vip := on("10.9.0.100/24")
	for range 3 {
		must(t, k.Add(vip, time.Minute))
	}
	s.awaitAddress(t, "veth0", "10.9.0.100/24", true)
	run(t, "ip", "address", "delete", "10.9.0.100/24", "dev", "veth0")
	s.awaitFunc(t, "VIP gone", func(e Event) bool {
		if e == (AddressEvent{"veth0", vip.Prefix, true}) {
			t.Error("a refresh was reported")
		}
		return e == AddressEvent{"veth0", vip.Prefix, false}
	})
}

// The reader is busy while the kernel has more to say than its queue holds. What it
// dropped comes to light all the same.
func TestWatchMakesUpForLostNotifications(t *testing.T) {
	newPair(t)
	k := openKernel(t)
	must(t, k.Add(on("10.9.0.100/24"), 0))
	busy, goOn := make(chan struct{}), make(chan struct{})
	var lost int // events that the reports add up to, counted when Watch goes on
	s := watchWith(t, k, func(s *eventStream, e Event) {
		if e == (AddressEvent{"veth0", netip.MustParsePrefix("10.9.0.100/24"), true}) {
			close(busy)
			<-goOn
		}
		s.events <- e
	})
	<-busy
	address := on("10.7.0.1/32")
	const flood = 6000
	for range flood {
		must(t, k.Add(address, 0))
		must(t, k.Delete(address))
	}
	must(t, k.Delete(on("10.9.0.100/24"))) // this one falls off the end of the queue
	close(goOn)
	s.awaitFunc(t, "VIP gone", func(e Event) bool {
		lost++
		return e == AddressEvent{"veth0", netip.MustParsePrefix("10.9.0.100/24"), false}
	})
	if lost > flood {
		t.Fatalf("nothing was lost in %d events: the test proves nothing", lost)
	}
	must(t, k.Add(address, 0)) // and notifications are followed again
	s.awaitAddress(t, "veth0", "10.7.0.1/32", true)
	t.Logf("%d of %d changes were reported", lost, 2*flood)
}
