package mesh

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// memberlist's framing, as far as it must be known to tell who has the key. An
// encrypted packet is version, nonce and sealed bytes, with the label as
// authenticated data; an encrypted stream begins with a type byte and a length,
// which are authenticated with it. The tests talk to memberlist itself, so a change
// of it is seen.
const (
	sealedVersion   = 1  // 0 is the padded form, which nobody here speaks
	sealedStream    = 10 // the type byte of an encrypted stream
	streamHeadBytes = 5  // type byte, length
	nonceBytes      = 12
	maxStream       = 2 * maxMessage // bytes
)

// maxSources bounds for how many senders it is remembered that they were logged;
// packets of any more are only counted.
const maxSources = 256

// Counts says how often something was dropped since New.
type Counts struct {
	OtherCluster uint64 // packets and streams with another cluster's label, or none
	WrongKey     uint64 // those that the key does not open
	NotMember    uint64 // those from an address that is no configured member's
	Stale        uint64 // those that had waited in a socket for more than staleAfter
	Refused      uint64 // streams over the limit of concurrent ones, or broken off
	Malformed    uint64 // messages that are none
	Newer        uint64 // messages of a newer version of solovip
	Stranger     uint64 // messages and reports with a name that is no configured member's
	Unsent       uint64 // messages that could not be sent, or not in time
	Undelivered  uint64 // events for which Config.Deliver was too slow
}

// counters are Counts being counted.
type counters struct {
	otherCluster, wrongKey, notMember, stale, refused atomic.Uint64
	malformed, newer, stranger, unsent, undelivered   atomic.Uint64
}

func (c *counters) snapshot() Counts {
	return Counts{
		OtherCluster: c.otherCluster.Load(), WrongKey: c.wrongKey.Load(), NotMember: c.notMember.Load(),
		Stale: c.stale.Load(), Refused: c.refused.Load(), Malformed: c.malformed.Load(), Newer: c.newer.Load(),
		Stranger: c.stranger.Load(), Unsent: c.unsent.Load(), Undelivered: c.undelivered.Load(),
	}
}

// admission lets in what comes from a member of this cluster, before memberlist sees
// any of it: memberlist would log each packet and parse an unproven one.
type admission struct {
	label   string
	aead    cipher.AEAD // nil: not encrypted
	members map[netip.Addr]string
	counts  *counters
	log     *slog.Logger

	mu     sync.Mutex          // guards logged
	logged map[source]struct{} // senders that were logged already
}

// source is a sender, by its address or its name, and what is wrong with it.
type source struct {
	addr netip.Addr
	name string
	why  string
}

func newAdmission(cfg Config, counts *counters) (*admission, error) {
	a := &admission{
		label:   cfg.Cluster,
		members: map[netip.Addr]string{cfg.Bind.Addr(): cfg.Name},
		counts:  counts,
		log:     cfg.Logger,
		logged:  make(map[source]struct{}),
	}
	for _, p := range cfg.Peers {
		a.members[p.Addr] = p.Name
	}
	if cfg.Key == nil {
		return a, nil
	}
	block, err := aes.NewCipher(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("mesh key: %w", err)
	}
	if a.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("mesh key: %w", err)
	}
	return a, nil
}

// packet returns what follows the label of a packet from a member.
func (a *admission) packet(b []byte, from netip.Addr) ([]byte, bool) {
	b, label, err := memberlist.RemoveLabelHeaderFromPacket(b)
	if err != nil || label != a.label {
		a.refuseCluster(from, label)
		return nil, false
	}
	if !a.opens(b, []byte(label)) {
		a.refuseKey(from)
		return nil, false
	}
	return b, a.member(from)
}

// stream reads the label and, when encrypted, the whole of what the other side has to
// say, and returns a connection that has all but the label still to be read. The
// caller has set a deadline, and closes conn when there is none returned.
func (a *admission) stream(conn net.Conn, from netip.Addr) (net.Conn, bool) {
	labelled, label, err := memberlist.RemoveLabelHeaderFromStream(conn)
	if err != nil || labelled == conn { // broken off, or nothing said at all: a lost packet, a port scan
		a.counts.refused.Add(1)
		return nil, false
	}
	if label != a.label {
		a.refuseCluster(from, label)
		return nil, false
	}
	if !a.member(from) {
		return nil, false
	}
	if a.aead == nil {
		return labelled, true
	}
	read, err := a.readSealed(labelled)
	if errors.Is(err, errSeal) {
		a.refuseKey(from)
		return nil, false
	}
	if err != nil {
		a.counts.refused.Add(1)
		return nil, false
	}
	return &replayConn{Conn: labelled, unread: read}, true
}

var errSeal = errors.New("not sealed with the cluster's key")

// readSealed reads one encrypted message and returns it as it came, once it has
// proved to be sealed with the key.
func (a *admission) readSealed(conn net.Conn) ([]byte, error) {
	r := bufio.NewReader(conn)
	head := make([]byte, streamHeadBytes)
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return nil, err
	}
	if head[0] != sealedStream {
		return nil, errSeal
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length > maxStream {
		return nil, fmt.Errorf("stream of %d bytes", length)
	}
	all := make([]byte, streamHeadBytes+int(length))
	copy(all, head)
	if _, err := io.ReadFull(r, all[streamHeadBytes:]); err != nil {
		return nil, err
	}
	if !a.opens(all[streamHeadBytes:], append(head, a.label...)) {
		return nil, errSeal
	}
	return all, nil
}

// opens reports whether the key opens sealed, or there is none.
func (a *admission) opens(sealed, authenticated []byte) bool {
	if a.aead == nil {
		return true
	}
	if len(sealed) < 1+nonceBytes+a.aead.Overhead() || sealed[0] != sealedVersion {
		return false
	}
	_, err := a.aead.Open(nil, sealed[1:1+nonceBytes], sealed[1+nonceBytes:], authenticated)
	return err == nil
}

func (a *admission) refuseCluster(from netip.Addr, label string) {
	a.counts.otherCluster.Add(1)
	switch {
	case label == "" && a.firstTime(source{addr: from, why: "no mesh"}):
		a.log.Warn("traffic on the mesh port dropped that is no solovip mesh's", "source", from)
	case label != "" && a.firstTime(source{addr: from, why: "cluster"}):
		a.log.Warn("mesh traffic of another cluster dropped; the cluster must have one name on all members",
			"source", from, "name", label, "cluster", a.label)
	}
}

func (a *admission) refuseKey(from netip.Addr) {
	a.counts.wrongKey.Add(1)
	if a.firstTime(source{addr: from, why: "key"}) {
		a.log.Warn("mesh traffic dropped: not encrypted with this cluster's key; copy the key file from another member",
			"source", from, "member", a.members[from])
	}
}

// member reports whether from is a member's address. A key may have gone astray, and
// without one this is all there is.
func (a *admission) member(from netip.Addr) bool {
	if _, ok := a.members[from]; ok {
		return true
	}
	a.counts.notMember.Add(1)
	if a.firstTime(source{addr: from, why: "member"}) {
		a.log.Warn("mesh traffic dropped: the address is not in the cluster block; "+
			"add the member to the configuration of all members", "source", from)
	}
	return false
}

// firstTime reports whether this is to be logged: once for each sender and cause.
func (a *admission) firstTime(s source) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.logged[s]; known || len(a.logged) >= maxSources {
		return false
	}
	a.logged[s] = struct{}{}
	return true
}

// replayConn is a connection some of which was read ahead.
type replayConn struct {
	net.Conn
	unread []byte
}

func (c *replayConn) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}
