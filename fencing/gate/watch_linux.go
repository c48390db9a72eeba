package gate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// lookEvery is how often Watch asks whether anything has changed. To ask takes the
// kernel microseconds. To be told would make it write a message for each element of
// each renewal, which takes longer than the renewal itself.
const lookEvery = 100 * time.Millisecond

// generation counts the transactions of nftables in a network namespace.
type generation struct {
	conn *netlink.Conn
	// checked is the kernel's count when the tables were looked at last; own is how many
	// transactions we have made since.
	checked, own uint32
}

// openGeneration opens a socket in the network namespace of the calling thread.
func openGeneration() (generation, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return generation{}, fmt.Errorf("open a netlink socket: %w", hint(err))
	}
	return generation{conn: conn}, nil
}

// now asks the kernel for its count.
func (g *generation) now() (uint32, error) {
	if err := g.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return 0, err
	}
	const family = 4 // bytes before the attributes: struct nfgenmsg
	replies, err := g.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, family),
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the generation of nftables: %w", err)
	}
	for _, r := range replies {
		if len(r.Data) < family {
			continue
		}
		ad, err := netlink.NewAttributeDecoder(r.Data[family:])
		if err != nil {
			return 0, fmt.Errorf("read the generation of nftables: %w", err)
		}
		ad.ByteOrder = binary.BigEndian
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				return ad.Uint32(), nil
			}
		}
	}
	return 0, errors.New("the kernel does not say which generation of nftables it has")
}

// Watch looks at the tables when somebody else has changed anything in nftables, and
// puts them back if it was them, within a fraction of a second. What it found goes to
// the log. It blocks until ctx ends, and has to run on a thread in the network namespace of
// Open. Without it only a renewal notices, and only that
// its tables or elements are not there.
func (g *Gate) Watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	said := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := g.look(); err == nil {
			said = false
		} else if !said {
			said = true
			g.log.Error("the gate cannot be looked after; it is tried again", "err", err)
		}
	}
}

// look repairs the tables if somebody else has changed them since the last look.
func (g *Gate) look() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, err := g.gen.now()
	if err != nil {
		return err
	}
	if now == g.gen.checked+g.gen.own {
		return nil
	}
	before := g.gen
	g.gen.checked, g.gen.own = now, 0
	found := g.check()
	if found == nil {
		return nil
	}
	if errors.Is(found, ErrGone) {
		if err = g.rebuild(); err == nil {
			g.log.Warn("somebody had changed the gate; it is back", "found", found)
			return nil
		}
	}
	g.gen = before // so that the next look does not take it for seen
	return errors.Join(found, err)
}
