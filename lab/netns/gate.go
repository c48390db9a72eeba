package netns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"

	"github.com/solovip/solovip/lab/verify"
)

// gateLook is how often the nodes' gates are looked at: a report shows them, no verdict
// rests on them.
const gateLook = 10 * time.Millisecond

// gateRest is for how many looks a node rests whose kernel has no gate.
const gateRest = 10

// gateEye looks into the nodes' kernels whether a gate lets the VIPs speak. On a node without
// a gate it sees nothing.
type gateEye struct {
	nodes []*host
	vips  []netip.Addr
	armed *nftables.Set

	conns []*nftables.Conn // by node; nil: to be opened
	rests []int            // by node: how many looks it still rests
}

func newGateEye(nodes []*host, vips []netip.Addr) *gateEye {
	return &gateEye{
		nodes: nodes, vips: vips, conns: make([]*nftables.Conn, len(nodes)), rests: make([]int, len(nodes)),
		armed: &nftables.Set{Name: "armed", Table: &nftables.Table{Name: "solovip", Family: nftables.TableFamilyINet}},
	}
}

// run looks until ctx is done.
func (e *gateEye) run(ctx context.Context, o *observer) error {
	defer func() {
		for i := range e.nodes {
			e.drop(i)
		}
	}()
	return steadily(ctx, gateLook, func() error {
		for i, h := range e.nodes {
			at := o.now()
			armed, err := e.look(i)
			if err != nil {
				return fmt.Errorf("look at the gate of %s: %w", h.Name, err)
			}
			for vip, addr := range e.vips {
				o.recordOf(vip, func(r *verify.Recorder) {
					if slices.Contains(armed, addr) {
						r.Open(verify.Gate, h.Name, at)
					} else {
						r.Close(verify.Gate, h.Name, at)
					}
				})
			}
		}
		return nil
	})
}

// look returns what may speak on a node. The kernel may list an element whose time is over,
// with nothing left of it. Where the set is not, or goes just now, nothing is armed.
func (e *gateEye) look(i int) ([]netip.Addr, error) {
	if e.rests[i] > 0 {
		e.rests[i]--
		return nil, nil
	}
	if e.conns[i] == nil {
		conn, err := nftables.New(nftables.WithNetNSFd(e.nodes[i].ns), nftables.AsLasting())
		if err != nil {
			return nil, err
		}
		e.conns[i] = conn
	}
	elements, err := e.conns[i].GetSetElements(e.armed)
	if err != nil {
		e.drop(i) // an answer may be left in it
		e.rests[i] = gateRest
		return nil, nil //nolint:nilerr // the library hides which error it was
	}
	var armed []netip.Addr
	for _, el := range elements {
		if addr, ok := netip.AddrFromSlice(el.Key); ok && el.Expires > 0 {
			armed = append(armed, addr)
		}
	}
	return armed, nil
}

func (e *gateEye) drop(i int) {
	if e.conns[i] != nil {
		_ = e.conns[i].CloseLasting() // it was only read from
		e.conns[i] = nil
	}
}
