package gate

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"

	"github.com/solovip/solovip/internal/boottime"
)

var (
	// ErrGone says that the gate's tables are not in the kernel as they were made. Until
	// Restore has put them back, guarded VIPs may be open for good.
	ErrGone = errors.New("the gate is not in the kernel as it was made")

	// ErrLate says that a deadline had passed, or could not be set in time. The VIPs
	// concerned are shut.
	ErrLate = errors.New("too late for the deadline")
)

// maxHold is the longest time a VIP may be armed for. Permissions last seconds; more
// than this is an instant that is not on the boot clock.
const maxHold = time.Hour

// minHold is the shortest time worth arming for. It also keeps a timeout from being
// rounded to zero, which to the kernel means: for ever.
const minHold = 2 * time.Millisecond

// slacks are how much earlier than the deadline the gate closes, attempt by attempt.
// A timeout is relative and counts from when the kernel gets to it, so it is set short
// by the slack, and an attempt that took longer than its slack does not count. On a
// machine so slow that the last one is not enough, the VIP is shut.
var slacks = [...]time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond} //nolint:gochecknoglobals // a table

// Gate is the nftables tables that silence VIPs. Its methods may be called
// concurrently; each is one transaction, and blocks for its answer only.
// Addresses are IPv4 or IPv6 without a zone.
type Gate struct {
	layout *layout
	log    *slog.Logger

	// mu serialises transactions, so that memory and kernel change together; it is held
	// during netlink calls on purpose. It guards all below.
	mu     sync.Mutex
	vips   map[netip.Addr]bool
	hushed map[netip.Addr]bool
	armed  map[netip.Addr]time.Time // what the kernel was told, on the boot clock
	sock   *socket                  // for changes of elements; nil: none is open
	gen    generation
}

// Open creates the tables inet and arp of the given name in the network namespace of
// the calling thread. VIPs that tables of this name guard already stay guarded, and
// are shut; those that they hush stay hushed. Call it in one process at a time. The log
// gets what others do to the tables.
func Open(table string, log *slog.Logger) (*Gate, error) {
	if table == "" || len(table) > 64 || strings.Trim(table, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return nil, fmt.Errorf("open gate %q: a table's name is 1 to 64 of a-z, 0-9 and _", table)
	}
	g := &Gate{layout: newLayout(table), log: log, vips: map[netip.Addr]bool{}, hushed: map[netip.Addr]bool{}, armed: map[netip.Addr]time.Time{}}
	if err := g.inherit(); err != nil {
		return nil, fmt.Errorf("open gate %s: read what is guarded: %w", table, err)
	}
	if err := g.rebuild(); err != nil {
		return nil, fmt.Errorf("open gate %s: %w", table, err)
	}
	var err error
	if g.gen, err = openGeneration(); err != nil {
		return nil, fmt.Errorf("open gate %s: %w", table, err)
	}
	return g, nil
}

// Guard makes the VIPs subject to the gate; they are shut until armed. A VIP that is
// guarded already keeps its state, and costs nothing.
func (g *Gate) Guard(addrs []netip.Addr) error {
	addrs, err := plain(addrs)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return g.vips[a] })
	if len(addrs) == 0 {
		return nil
	}
	for _, a := range addrs {
		g.vips[a] = true
	}
	err = g.commit(func(c *socket) error {
		return g.eachSet(addrs, 0, vipsOf, c.SetAddElements)
	})
	if err != nil {
		for _, a := range addrs {
			delete(g.vips, a) // so that the next call tries again
		}
		return fmt.Errorf("guard %s: %w", list(addrs), err)
	}
	return nil
}

// Hush makes this host deaf to who asks for the VIPs, by ARP or neighbour discovery, whenever
// they are not armed, guarded or not: whoever puts one on this host by hand, no neighbour
// finds it here. Nothing else about them is silenced. They replace those of earlier calls.
func (g *Gate) Hush(addrs []netip.Addr) error {
	addrs, err := plain(addrs)
	if err != nil {
		return fmt.Errorf("hush: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.hushed
	g.hushed = make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		g.hushed[a] = true
	}
	if maps.Equal(before, g.hushed) {
		return nil
	}
	err = g.commit(func(c *socket) error {
		return errors.Join(g.remove(c, sorted(before), hushedOf, 0), g.eachSet(addrs, 0, hushedOf, c.SetAddElements))
	})
	if err != nil {
		g.hushed = before // so that the next call tries again
		return fmt.Errorf("hush %s: %w", list(addrs), err)
	}
	return nil
}

// Unguard takes the VIPs out of the gate: from then on nothing is silenced but what Hush
// does. Call it when they were shown to be off this host. VIPs that are not guarded are ignored.
func (g *Gate) Unguard(addrs []netip.Addr) error {
	addrs, err := plain(addrs)
	if err != nil {
		return fmt.Errorf("unguard: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range addrs {
		delete(g.vips, a)
		delete(g.armed, a)
	}
	err = g.commit(func(c *socket) error {
		return errors.Join(g.remove(c, addrs, vipsOf, 0), g.remove(c, addrs, armedOf, minHold))
	})
	if err != nil {
		return fmt.Errorf("unguard %s: %w", list(addrs), err)
	}
	return nil
}

// Arm lets the guarded VIPs speak until the given instant of the boot clock, and not
// after it; it replaces their earlier deadline, be that earlier or later. The kernel
// shuts them a little before the instant: by the slack and up to two of its ticks,
// together 18 ms at 250 Hz.
//
// After ErrLate the VIPs are shut. After another error they keep the deadline they
// had. When the kernel has lost the tables or an element, all is put back on the way.
func (g *Gate) Arm(until time.Time, addrs []netip.Addr) error {
	addrs, err := plain(addrs)
	if err != nil {
		return fmt.Errorf("arm: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range addrs {
		if !g.vips[a] {
			return fmt.Errorf("arm %s: it is not guarded", a)
		}
	}
	for _, slack := range slacks {
		start := boottime.Now()
		left := until.Sub(start.Add(slack))
		if left > maxHold {
			return fmt.Errorf("arm %s for %v: not a deadline on the boot clock", list(addrs), left)
		}
		if left < minHold {
			break
		}
		lost, err := g.arm(left, until, addrs)
		if lost {
			if err = g.rebuild(); err == nil {
				g.log.Warn("the gate was not in the kernel as it was made; it is back")
			}
		}
		if err != nil {
			return fmt.Errorf("arm %s: %w", list(addrs), err)
		}
		if boottime.Now().Sub(start) <= slack {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("arm %s: %w", list(addrs), ErrLate), g.shut(addrs))
}

// arm is one attempt of Arm. It reports lost when the kernel has not got what memory
// says it has; memory has the new deadline then.
//
// An element that should be there is deleted and added again in the one transaction:
// adding alone leaves the old timeout on kernels before 6.12. It also makes the kernel
// check what a clock read before the send cannot: a process that is stopped between
// the two, and continued after the old deadline, finds the element expired, and the
// transaction fails as a whole.
func (g *Gate) arm(left time.Duration, until time.Time, addrs []netip.Addr) (lost bool, err error) {
	var fresh, known []netip.Addr
	for _, a := range addrs {
		if _, ok := g.armed[a]; ok {
			known = append(known, a)
		} else {
			fresh = append(fresh, a)
		}
	}
	err = g.transact(func(c *socket) error {
		return errors.Join(
			g.remove(c, fresh, armedOf, left), // what an attempt without an answer may have left
			g.eachSet(known, 0, armedOf, c.SetDeleteElements),
			g.eachSet(addrs, left, armedOf, c.SetAddElements))
	})
	if err != nil && !isNotThere(err) {
		return false, err
	}
	for _, a := range addrs {
		g.armed[a] = until
	}
	return err != nil, nil
}

// Shut silences the VIPs at once; they stay guarded.
func (g *Gate) Shut(addrs []netip.Addr) error {
	addrs, err := plain(addrs)
	if err != nil {
		return fmt.Errorf("shut: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut(addrs)
}

func (g *Gate) shut(addrs []netip.Addr) error {
	for _, a := range addrs {
		delete(g.armed, a)
	}
	err := g.commit(func(c *socket) error {
		return g.remove(c, addrs, armedOf, minHold)
	})
	if err != nil {
		return fmt.Errorf("shut %s: %w", list(addrs), err)
	}
	return nil
}

// Restore puts the tables back as they should be: all guarded VIPs, each armed one
// with what is left of its time.
func (g *Gate) Restore() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.rebuild(); err != nil {
		return fmt.Errorf("restore the gate: %w", err)
	}
	return nil
}

// Close removes the tables, and the Gate must not be used again. It refuses while VIPs
// are guarded: they would be open.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.vips) > 0 {
		return fmt.Errorf("close the gate: still guarded: %s", list(g.guarded()))
	}
	g.drop()
	_ = g.gen.conn.Close() // nothing is to be saved from it
	c, err := dial()
	if err != nil {
		return fmt.Errorf("close the gate: %w", err)
	}
	defer c.close()
	for _, t := range g.layout.tables {
		c.AddTable(t) // so that there is one to delete
		c.DelTable(t)
	}
	if err := c.flush(); err != nil {
		return fmt.Errorf("close the gate: %w", err)
	}
	return nil
}

// commit runs one transaction; when the tables are not there it makes them anew from
// memory, which the caller has brought up to date.
func (g *Gate) commit(fill func(*socket) error) error {
	err := g.transact(fill)
	if isNotThere(err) {
		if err = g.rebuild(); err == nil {
			g.log.Warn("the gate was not in the kernel as it was made; it is back")
		}
	}
	return err
}

// transact runs one transaction of element changes on the socket that is kept for
// them: to close one costs a grace period of the kernel, some 20 ms, after a deletion.
// After an error the socket goes, for answers may be left in it.
func (g *Gate) transact(fill func(*socket) error) error {
	if g.sock == nil {
		c, err := dial()
		if err != nil {
			return err
		}
		g.sock = c
	}
	err := fill(g.sock)
	if err == nil {
		err = g.sock.flush()
	}
	if err != nil {
		g.drop()
		return err
	}
	g.gen.own++
	return nil
}

func (g *Gate) drop() {
	if g.sock != nil {
		g.sock.close()
		g.sock = nil
	}
}

// rebuild replaces the tables by what memory says. Armed VIPs get what is left of
// their time, under the rule of slacks; when none of the attempts keeps it, all are
// shut and the error is ErrLate.
func (g *Gate) rebuild() error {
	for _, slack := range slacks {
		start := boottime.Now()
		answer, err := g.replace(start.Add(slack))
		if err != nil {
			return err
		}
		if len(g.armed) == 0 || answer.Sub(start) <= slack {
			return nil
		}
	}
	clear(g.armed)
	_, err := g.replace(time.Time{})
	return errors.Join(ErrLate, err)
}

// replace is one attempt of rebuild; timeouts count from the given instant. It returns
// when the answer came.
func (g *Gate) replace(from time.Time) (answer time.Time, err error) {
	c, err := dial()
	if err != nil {
		return time.Time{}, err
	}
	defer c.close()
	if err := g.layout.install(c.Conn); err != nil {
		return time.Time{}, err
	}
	err = errors.Join(
		g.eachSet(g.guarded(), 0, vipsOf, c.SetAddElements),
		g.eachSet(sorted(g.hushed), 0, hushedOf, c.SetAddElements))
	if err != nil {
		return time.Time{}, err
	}
	maps.DeleteFunc(g.armed, func(_ netip.Addr, until time.Time) bool { return until.Sub(from) < minHold })
	armed := slices.SortedFunc(maps.Keys(g.armed), netip.Addr.Compare)
	// In few messages, however many deadlines there are: the answers to hundreds do not fit
	// into what the kernel keeps for this socket.
	left := func(a netip.Addr) time.Duration { return g.armed[a].Sub(from) }
	if err := g.eachSetFor(armed, left, armedOf, c.SetAddElements); err != nil {
		return time.Time{}, err
	}
	if err := c.flush(); err != nil {
		return time.Time{}, err
	}
	g.gen.own++
	return boottime.Now(), nil
}

// remove deletes elements whether or not they are there: it adds them first, which
// nobody sees, as the transaction takes effect as a whole.
func (g *Gate) remove(c *socket, addrs []netip.Addr, of func(pair) *nftables.Set, timeout time.Duration) error {
	return errors.Join(
		g.eachSet(addrs, timeout, of, c.SetAddElements),
		g.eachSet(addrs, 0, of, c.SetDeleteElements))
}

func vipsOf(p pair) *nftables.Set   { return p.vips }
func armedOf(p pair) *nftables.Set  { return p.armed }
func hushedOf(p pair) *nftables.Set { return p.hushed }

// eachSet applies a command to every set that the addresses belong to.
func (g *Gate) eachSet(addrs []netip.Addr, timeout time.Duration, of func(pair) *nftables.Set,
	do func(*nftables.Set, []nftables.SetElement) error,
) error {
	return g.eachSetFor(addrs, func(netip.Addr) time.Duration { return timeout }, of, do)
}

// eachSetFor does so with a timeout of each address's own.
func (g *Gate) eachSetFor(addrs []netip.Addr, timeout func(netip.Addr) time.Duration, of func(pair) *nftables.Set,
	do func(*nftables.Set, []nftables.SetElement) error,
) error {
	for _, p := range g.layout.pairs {
		if of(p) == nil {
			continue
		}
		for _, portion := range p.elements(addrs, timeout) {
			if err := do(of(p), portion); err != nil {
				return fmt.Errorf("set %s: %w", of(p).Name, err)
			}
		}
	}
	return nil
}

// guarded returns the guarded VIPs in order.
func (g *Gate) guarded() []netip.Addr { return sorted(g.vips) }

func sorted(addrs map[netip.Addr]bool) []netip.Addr {
	return slices.SortedFunc(maps.Keys(addrs), netip.Addr.Compare)
}

// plain returns the addresses sorted and each once, and refuses what no set can hold.
func plain(addrs []netip.Addr) ([]netip.Addr, error) {
	for _, a := range addrs {
		if !a.IsValid() || a.Is4In6() || (a.Zone() != "") != (kindOf(a) == linkLocal) || len(a.Zone()) >= nameBytes {
			return nil, fmt.Errorf("%q is not a plain IPv4 or IPv6 address, nor a link-local one with its interface", a)
		}
	}
	return slices.Compact(slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare)), nil
}

// list names addresses for people, many by their number only.
func list(addrs []netip.Addr) string {
	const most = 4
	var b strings.Builder
	for i, a := range addrs {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(addrs)-most)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return b.String()
}
