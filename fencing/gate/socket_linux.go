package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// answerLimit bounds the wait for the kernel's answer. The kernel answers before the
// send returns, so reaching this means that an answer was lost.
const answerLimit = time.Second

// sendBuffer holds a transaction of some ten thousand VIPs, in bytes. In a container
// without CAP_NET_ADMIN outside it the system's limit applies (net.core.wmem_max),
// which is enough for hundreds; a larger transaction is refused as a whole then.
const sendBuffer = 4 << 20

// socket is a netlink socket in the network namespace of the thread that dialled it.
// The commands collect in Conn until flush.
type socket struct {
	*nftables.Conn
	raw *netlink.Conn
}

func dial() (*socket, error) {
	s := &socket{}
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(raw *netlink.Conn) error {
		s.raw = raw
		if err := raw.SetWriteBuffer(sendBuffer); err != nil {
			return err
		}
		return raw.SetReadDeadline(time.Now().Add(answerLimit))
	}))
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", hint(err))
	}
	s.Conn = c
	return s, nil
}

// flush sends the collected commands as one transaction and waits for all answers.
func (s *socket) flush() error {
	if err := s.raw.SetReadDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	return hint(s.Flush())
}

func (s *socket) close() {
	_ = s.CloseLasting() // nothing is pending and nothing can be done about it
}

// members returns the addresses in a set, in order. The error is fs.ErrNotExist when there
// is no such set.
func (s *socket) members(set *nftables.Set, k kind) ([]netip.Addr, error) {
	if _, err := s.ListTableOfFamily(set.Table.Name, set.Table.Family); err != nil {
		return nil, hint(err)
	}
	sets, err := s.GetSets(set.Table)
	if err != nil {
		return nil, hint(err)
	}
	named := func(other *nftables.Set) bool { return other.Name == set.Name }
	if !slices.ContainsFunc(sets, named) {
		return nil, fs.ErrNotExist
	}
	elems, err := s.GetSetElements(set)
	if err != nil {
		return nil, hint(err)
	}
	var addrs []netip.Addr
	for _, e := range elems {
		if a, ok := k.addr(e.Key); ok {
			addrs = append(addrs, a)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

func isNotThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// hint adds the remedy to the errors that have one.
func hint(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (nftables needs CAP_NET_ADMIN)", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w (does this kernel have nf_tables with the inet and arp families?)", err)
	}
	return err
}
