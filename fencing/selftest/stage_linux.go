package selftest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/internal/boottime"
)

// addressLimit is how long the address may stay after its deadline. Lifetimes are whole
// seconds to the kernel, which looks at them now and then: 1.3 s is usual.
const addressLimit = 10 * time.Second

// blindLimit is how long the eye may not have asked around the deadline for a round to count.
const blindLimit = 50 * time.Millisecond

var errBusy = errors.New("this machine is too busy to test: nothing is wrong as far as could be seen")

// attempts is how many rounds are played at the most for each one that is to count.
const attempts = 8

// stage is the namespaces and what is in them.
type stage struct {
	opt Options
	eye *eye
}

// runStage tests; it runs in a network namespace of its own.
func runStage(ctx context.Context, opt Options) error {
	s := &stage{opt: opt}
	if err := s.build(); err != nil {
		return err
	}
	defer s.eye.close()
	conn, err := echo(ctx)
	if err != nil {
		return fmt.Errorf("echo datagrams: %w", err)
	}
	defer conn.Close()
	done := make(chan struct{})
	defer close(done)
	go s.eye.ask(done)
	go s.eye.hearUDP()
	go s.eye.hearARP()
	s.say("%s: a process that holds an address for %v, renewed each %v, is frozen %d times\n", kernel(), hold, renew, opt.Rounds)
	var margins []time.Duration
	failed := false
	for i := 0; len(margins) < 2*opt.Rounds; i++ {
		r, err := s.round(ctx, i)
		if err != nil {
			return err
		}
		if r.blind > blindLimit && r.udp >= 0 && r.arp >= 0 {
			s.say("round %d  does not count: this machine was too busy to ask for %v\n", i+1, round(r.blind))
			if i+1 >= attempts*opt.Rounds {
				return errBusy
			}
			continue
		}
		margins = append(margins, r.udp, r.arp)
		failed = failed || r.udp < 0 || r.arp < 0 || r.off > addressLimit
		s.say("round %d  UDP silent %v before the deadline, ARP %v before; the address off %v after\n", i+1, round(r.udp), round(r.arp), round(r.off))
	}
	if failed {
		s.say("FAILED: an answer came after the deadline, or the address stayed for more than %v\n", addressLimit)
		return ErrFailed
	}
	s.say("passed: silent between %v and %v before the deadline, never after it (questions each %v)\n",
		round(slices.Min(margins)), round(slices.Max(margins)), askEvery)
	return nil
}

func (s *stage) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.opt.Out, format, args...) // there is nobody else to tell
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// build lays a cable to a second namespace and puts the eye there. That namespace lives as
// long as the eye's sockets.
func (s *stage) build() error {
	return onThread(func() error {
		here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(here)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: eyeLink}, PeerName: stageLink, PeerNamespace: netlink.NsFd(here)}
		if err := netlink.LinkAdd(cable); err != nil {
			return fmt.Errorf("lay a cable: %w", err)
		}
		if err := bringUp(eyeLink, eyeAddr.String()); err != nil {
			return err
		}
		err = onThread(func() error {
			if err := unix.Setns(here, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return errors.Join(bringUp("lo", ""), bringUp(stageLink, stageAddr.String()))
		})
		if err != nil {
			return err
		}
		s.eye, err = newEye()
		return err
	})
}

func bringUp(name, addr string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return fmt.Errorf("add %s to %s: %w", addr, name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// onThread calls f on a thread of its own that ends with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with its namespace
		done <- f()
	}()
	return <-done
}

// figures are what a round has shown: how long before the deadline the last question was sent that
// was answered, how long after it the address was off, and for how long the eye did not ask.
type figures struct{ udp, arp, off, blind time.Duration }

// renewals is how many renewals are waited for until the holder is frozen.
const renewals = 4

// round has an address held, freezes the holder and watches.
func (s *stage) round(ctx context.Context, number int) (figures, error) {
	cmd, out, err := startHolder(s.opt.Again)
	if err != nil {
		return figures{}, fmt.Errorf("start a holder: %w", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed: there is nothing to learn
	}()
	lines := bufio.NewScanner(out)
	_, _, before := s.eye.seen()
	for range renewals {
		if !lines.Scan() {
			return figures{}, errors.New("the holder has ended: see above")
		}
	}
	if _, _, now := s.eye.seen(); now == before {
		return figures{}, errors.New("the address does not answer while it is held: nothing can be tested")
	}
	// Each time at another point between two renewals.
	if err := sleep(ctx, time.Duration(number)*renew/7%renew); err != nil {
		return figures{}, err
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return figures{}, fmt.Errorf("freeze the holder: %w", err)
	}
	deadline, err := lastDeadline(lines, out)
	if err != nil {
		return figures{}, err
	}
	off, err := waitOff(ctx, deadline)
	if err != nil {
		return figures{}, err
	}
	udp, arp, _ := s.eye.seen()
	return figures{deadline.Sub(udp), deadline.Sub(arp), off.Sub(deadline), s.eye.blind(deadline.Add(-hold), deadline)}, nil
}

// lastDeadline returns the last deadline that the frozen holder has printed.
func lastDeadline(lines *bufio.Scanner, out io.ReadCloser) (time.Time, error) {
	last := lines.Text()
	if pipe, ok := out.(interface{ SetReadDeadline(time.Time) error }); ok {
		if err := pipe.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return time.Time{}, err
		}
		for lines.Scan() {
			last = lines.Text()
		}
	}
	ns, err := parseDeadline(last)
	return boottime.At(time.Duration(ns)), err
}

// waitOff waits until the address is off and returns when that was seen.
func waitOff(ctx context.Context, deadline time.Time) (time.Time, error) {
	for {
		link, err := net.InterfaceByName(stageLink)
		if err != nil {
			return time.Time{}, err
		}
		addrs, err := link.Addrs()
		if err != nil {
			return time.Time{}, err
		}
		now := boottime.Now()
		there := slices.ContainsFunc(addrs, func(a net.Addr) bool { return a.String() == vipAddr.String() })
		if !there && now.After(deadline) || now.Sub(deadline) > 2*addressLimit {
			return now, nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// freebind lets a socket have an address that is not there yet.
func freebind(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) }); ctl != nil {
		return ctl
	}
	return err
}
