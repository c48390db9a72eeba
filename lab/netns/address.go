package netns

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/lab/verify"
)

// sampler asks the kernels of the nodes, one after the other, whether the VIPs are theirs:
// whether a packet to one would be delivered locally. One goroutine asks them all, so the
// order of its samples is the order of what they show.
type sampler struct {
	nodes    []string
	sockets  []int    // netlink sockets, one in each node's namespace
	requests [][]byte // one for each VIP
	buf      [4096]byte
}

// sampling is how often each kernel is usually asked.
const sampling = time.Millisecond

// Layout of a route request and its answer: a struct nlmsghdr and a struct rtmsg.
const (
	routeFamily = unix.SizeofNlMsghdr
	routeBits   = unix.SizeofNlMsghdr + 1
	routeType   = unix.SizeofNlMsghdr + 7
	routeAttrs  = unix.SizeofNlMsghdr + unix.SizeofRtMsg
)

func newSampler(nodes []*host, vips []netip.Addr) (*sampler, error) {
	s := &sampler{}
	for _, vip := range vips {
		s.requests = append(s.requests, routeRequest(vip))
	}
	for _, h := range nodes {
		err := h.inside(func() error {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
			if err != nil {
				return fmt.Errorf("open a netlink socket on %s: %w", h.Name, err)
			}
			s.nodes, s.sockets = append(s.nodes, h.Name), append(s.sockets, fd)
			return nil
		})
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// routeRequest is RTM_GETROUTE for one address, rtnetlink(7).
func routeRequest(vip netip.Addr) []byte {
	b := make([]byte, routeAttrs+unix.SizeofRtAttr+4)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[routeFamily], b[routeBits] = unix.AF_INET, 32
	binary.NativeEndian.PutUint16(b[routeAttrs:], unix.SizeofRtAttr+4)
	binary.NativeEndian.PutUint16(b[routeAttrs+2:], unix.RTA_DST)
	copy(b[routeAttrs+unix.SizeofRtAttr:], vip.AsSlice())
	return b
}

// run samples that often until ctx is done.
func (s *sampler) run(ctx context.Context, o *observer, every time.Duration) error {
	runtime.LockOSThread() // a thread of its own is woken sooner
	defer runtime.UnlockOSThread()
	return steadily(ctx, every, func() error {
		for vip, request := range s.requests {
			for i, node := range s.nodes {
				at := o.now()
				held, err := s.local(s.sockets[i], request)
				if err != nil {
					return fmt.Errorf("ask the kernel of %s for its addresses: %w", node, err)
				}
				o.recordOf(vip, func(r *verify.Recorder) { r.Sample(verify.Address, node, at, held) })
			}
		}
		return nil
	})
}

// local asks one kernel. The kernel answers within the call that asks.
func (s *sampler) local(fd int, request []byte) (bool, error) {
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, err
	}
	n, _, err := unix.Recvfrom(fd, s.buf[:], 0)
	if err != nil {
		return false, err
	}
	if n <= routeType || binary.NativeEndian.Uint16(s.buf[4:]) != unix.RTM_NEWROUTE {
		return false, nil // an error message: no route to the VIP at all
	}
	return s.buf[routeType] == unix.RTN_LOCAL, nil
}

func (s *sampler) close() {
	for _, fd := range s.sockets {
		_ = unix.Close(fd)
	}
}
