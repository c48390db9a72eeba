package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	moby "github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lvs"
)

const (
	// answerLimit bounds one request with all its answers.
	answerLimit = 5 * time.Second
	// stopLimit is answerLimit of a sync daemon's stop, which the kernel may not answer.
	stopLimit = time.Second
	// loadLimit bounds the loading of the module.
	loadLimit = 10 * time.Second
)

// ErrNotLoaded says that the kernel has no IPVS: the module ip_vs is not there, or cannot
// be loaded from here.
var ErrNotLoaded = errors.New("the kernel has no IPVS: load the module ip_vs (modprobe ip_vs)")

// Conn is a connection to IPVS in one network namespace. It is not safe for concurrent use.
type Conn struct {
	namespace int
	family    int // number of the family IPVS in generic netlink
	// Both are nil after a request without an answer: the next one opens them anew.
	handle *moby.Handle
	own    *nl.SocketHandle
}

// Config says what to connect to.
type Config struct {
	// Namespace is a file descriptor of a network namespace; 0: that of the thread. Another
	// one than the thread's needs CAP_SYS_ADMIN.
	Namespace int
}

// Open connects to IPVS and loads its module when it is not there. The error is
// [ErrNotLoaded] when that does not help; it may help later.
func Open(ctx context.Context, cfg Config) (*Conn, error) {
	family, err := findFamily(ctx)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx); err != nil {
		return nil, err
	}
	c := &Conn{namespace: cfg.Namespace, family: family}
	_, err = c.timeouts()
	if errors.Is(err, syscall.ENOENT) {
		err = fmt.Errorf("the module ip_vs was loaded anew since this program first used it: start this program anew: %w", err)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// findFamily returns the number of the family IPVS. Asking for it has the kernel load the module, if
// it knows the module by that; if not, modprobe does.
func findFamily(ctx context.Context) (int, error) {
	family, err := netlink.GenlFamilyGet("IPVS")
	if errors.Is(err, syscall.ENOENT) {
		ctx, cancel := context.WithTimeout(ctx, loadLimit)
		defer cancel()
		out, failed := exec.CommandContext(ctx, "modprobe", "ip_vs").CombinedOutput()
		if family, err = netlink.GenlFamilyGet("IPVS"); err != nil && failed != nil {
			return 0, fmt.Errorf("%w: %w: %s", ErrNotLoaded, failed, strings.TrimSpace(string(out)))
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotLoaded, err)
	}
	return int(family.ID), nil
}

// prepared is closed when moby/ipvs has looked for IPVS. It does so once in a process, when it
// is first used: it runs modprobe without a limit, remembers for ever what it did not
// find, and tells a logger of its own. So that is done when IPVS is known to be there, aside,
// and nothing of it is told.
var prepared = sync.OnceValue(func() <-chan struct{} { //nolint:gochecknoglobals // as in moby/ipvs: once in a process
	done := make(chan struct{})
	go func() {
		defer close(done)
		logger := logrus.StandardLogger()
		defer logger.SetOutput(logger.Out)
		logger.SetOutput(io.Discard)
		if h, err := moby.New(""); err == nil { // who needs a handle meets the error again
			h.Close()
		}
	}()
	return done
})

// prepare waits until moby/ipvs has looked for IPVS.
func prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	select {
	case <-prepared():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("modprobe ip_vs does not end: %w", ctx.Err())
	}
}

// connect opens what is not open.
func (c *Conn) connect() error {
	if c.handle != nil {
		return nil
	}
	path, namespace := "", netns.None()
	if c.namespace != 0 {
		path, namespace = fmt.Sprintf("/proc/self/fd/%d", c.namespace), netns.NsHandle(c.namespace)
	}
	handle, err := moby.New(path)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", hint(err))
	}
	own, err := nl.GetNetlinkSocketAt(namespace, netns.None(), unix.NETLINK_GENERIC)
	if err != nil {
		handle.Close()
		return fmt.Errorf("open a netlink socket: %w", hint(err))
	}
	c.handle, c.own = handle, &nl.SocketHandle{Socket: own}
	return nil
}

// Close closes the connection. What the kernel balances stays.
func (c *Conn) Close() {
	if c.handle != nil {
		c.handle.Close()
		c.own.Close()
		c.handle, c.own = nil, nil
	}
}

// by has moby/ipvs do something, within a limit. It waits for an answer for ever, unless its
// socket is closed.
func (c *Conn) by(limit time.Duration, f func(h *moby.Handle) error) error {
	if err := c.connect(); err != nil {
		return err
	}
	late := time.AfterFunc(limit, c.handle.Close)
	err := f(c.handle)
	if late.Stop() {
		return hint(err)
	}
	c.Close()
	if err != nil {
		err = fmt.Errorf("the kernel does not answer: %w", os.ErrDeadlineExceeded)
	}
	return err
}

// ask sends a request of our own and returns the answers.
func (c *Conn) ask(flags int, r request) ([][]byte, error) {
	if err := c.connect(); err != nil {
		return nil, err
	}
	limit := answerLimit
	if r.command == cmdDelDaemon {
		limit = stopLimit
	}
	timeout := unix.NsecToTimeval(limit.Nanoseconds())
	if err := c.own.Socket.SetReceiveTimeout(&timeout); err != nil {
		return nil, err
	}
	m := nl.NewNetlinkRequest(c.family, flags)
	m.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_GENERIC: c.own}
	m.AddRawData(r.data())
	answers, err := m.Execute(unix.NETLINK_GENERIC, 0)
	if errors.Is(err, syscall.EAGAIN) {
		err = fmt.Errorf("the kernel does not answer: %w", os.ErrDeadlineExceeded)
	}
	return answers, hint(err)
}

// Apply carries steps out. When a step about a service fails, its further steps are left
// out and those of others are not. What is to be deleted and is not there is no
// error. The error names every step that failed.
func (c *Conn) Apply(steps []lvs.Step) error {
	var failed []error
	broken := make(map[lvs.ServiceKey]bool)
	for _, s := range steps {
		key, of := lvs.ServiceOf(s)
		if of && broken[key] {
			continue
		}
		if err := c.carryOut(s); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s, err))
			broken[key] = of
		}
	}
	return errors.Join(failed...)
}

func (c *Conn) carryOut(step lvs.Step) error {
	switch s := step.(type) {
	case lvs.AddService:
		return withModules(c.by(answerLimit, func(h *moby.Handle) error { return h.NewService(toService(s.Key, s.Service)) }))
	case lvs.EditService:
		return withModules(c.by(answerLimit, func(h *moby.Handle) error { return h.UpdateService(toService(s.Key, s.Service)) }))
	case lvs.DeleteService:
		return gone(c.by(answerLimit, func(h *moby.Handle) error { return h.DelService(toService(s.Key, lvs.Service{})) }))
	case lvs.AddDestination:
		return c.destination(cmdNewDest, (*moby.Handle).NewDestination, s.Key, s.Destination)
	case lvs.EditDestination:
		return c.destination(cmdSetDest, (*moby.Handle).UpdateDestination, s.Key, s.Destination)
	case lvs.DeleteDestination:
		return gone(c.destination(cmdDelDest, (*moby.Handle).DelDestination, s.Key, lvs.Destination{Addr: s.Addr}))
	case lvs.Flush:
		return c.by(answerLimit, (*moby.Handle).Flush)
	case lvs.SetTimeouts:
		return c.by(answerLimit, func(h *moby.Handle) error {
			return h.SetConfig(&moby.Config{TimeoutTCP: s.Timeouts.TCP, TimeoutTCPFin: s.Timeouts.TCPFin, TimeoutUDP: s.Timeouts.UDP})
		})
	case lvs.SetDaemon:
		return c.setDaemon(s)
	}
	panic("ipvs: unknown step")
}

// destination changes a destination: by moby/ipvs, or by a message of our own if it is one that
// moby/ipvs has no words for.
func (c *Conn) destination(command uint8, f func(*moby.Handle, *moby.Service, *moby.Destination) error, key lvs.ServiceKey, d lvs.Destination) error {
	if plain(key, d) {
		return c.by(answerLimit, func(h *moby.Handle) error { return f(h, toService(key, lvs.Service{}), toDestination(d)) })
	}
	_, err := c.ask(unix.NLM_F_ACK, request{command, []*nl.RtAttr{keyAttr(key), destinationAttr(d)}})
	return err
}

// setDaemon stops the sync daemon of a role and starts another one, if any: the settings of
// one that runs cannot be changed.
func (c *Conn) setDaemon(s lvs.SetDaemon) error {
	_, err := c.ask(unix.NLM_F_ACK, request{cmdDelDaemon, []*nl.RtAttr{daemonAttr(s.Role, nil)}})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = c.stopped(s.Role)
	}
	if err = gone(err); err != nil || s.Daemon == nil {
		return err
	}
	_, err = c.ask(unix.NLM_F_ACK, request{cmdNewDaemon, []*nl.RtAttr{daemonAttr(s.Role, s.Daemon)}})
	return err
}

// stopped looks whether a sync daemon is gone whose stop the kernel did not answer. It
// never answers when the daemon's thread had not begun to run yet: the thread then ends
// with EINTR, which netlink takes for the beginning of a dump.
func (c *Conn) stopped(role lvs.Role) error {
	daemons, err := c.daemons()
	if err == nil && daemons[role] != nil {
		err = fmt.Errorf("sync daemon %s does not stop: %w", role, os.ErrDeadlineExceeded)
	}
	return err
}

// gone takes it for no error that what was to be deleted is not there.
func gone(err error) error {
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// withModules says what is missing when a service cannot be.
func withModules(err error) error {
	if errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("%w: the kernel has no such scheduler or persistence engine (modules ip_vs_NAME, ip_vs_pe_NAME)", err)
	}
	return err
}

// hint adds the remedy to an error where there is one.
func hint(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: CAP_NET_ADMIN is missing", err)
	}
	return err
}
