package vip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Watch reports links and IPv4 addresses to emit: first all there are, then each change,
// in the kernel's order, until ctx ends (nil) or netlink fails (an error). Emit is called
// from this goroutine, never twice at a time, and may block: what the kernel had to drop
// meanwhile is made up for by a full dump, of which the difference is reported, so that a
// change and its reverse may be reported as nothing.
func (k *Kernel) Watch(ctx context.Context, emit func(Event)) error {
	w := watcher{state: newState(), emit: emit}
	for {
		err := w.follow(ctx, k)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to end
		case errors.Is(err, unix.ENOBUFS):
			// Notifications were lost. A new socket, because those still queued on the
			// old one are older than the dump to come and would undo it.
		default:
			return fmt.Errorf("watch links and addresses: %w", err)
		}
	}
}

// watchBuffer is the size in bytes of the queue of notifications: some 3000 of them.
const watchBuffer = 2 << 20

// follow reports the difference to a full dump, then each change, until the socket fails.
func (w *watcher) follow(ctx context.Context, k *Kernel) error {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR)
	if err != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, socket.Close)()
	_ = socket.SetReceiveBufferSize(watchBuffer, true) // a smaller queue only means more dumps
	// Subscribed before the dump: what changes in between is in both, and applying it
	// twice ends in the same state.
	now, err := k.dump()
	if err != nil {
		return err
	}
	w.moveTo(now)
	for {
		messages, _, err := socket.Receive()
		if err != nil {
			return err
		}
		for _, message := range messages {
			w.apply(message.Header.Type, message.Data)
		}
	}
}

// dump asks the kernel for all links and IPv4 addresses.
func (k *Kernel) dump() (*state, error) {
	var s *state
	err := whole(func() error {
		s = newState()
		return k.dumpInto(s)
	})
	return s, err
}

func (k *Kernel) dumpInto(s *state) error {
	links := k.request(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	links.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	messages, err := links.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, data := range messages {
		if index, l, ok := parseLink(data); ok {
			s.links[index] = l
		}
	}
	addresses := k.request(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	addresses.AddData(nl.NewIfAddrmsg(unix.AF_INET))
	messages, err = addresses.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, data := range messages {
		// An address of a link that came after the links were listed is left to the
		// notifications, where its link stands before it.
		if a, ok := parseAddress(data); ok && s.links[a.index].name != "" {
			s.addresses[a] = true
		}
	}
	return nil
}

// state is what Watch has reported: links by index, and their addresses.
type state struct {
	links     map[int]linkState
	addresses map[addressOn]bool
}

// linkState is what is known of one link.
type linkState struct {
	name string
	up   bool
}

// addressOn is an address on the link with that index.
type addressOn struct {
	index  int
	prefix netip.Prefix
}

func newState() *state {
	return &state{links: map[int]linkState{}, addresses: map[addressOn]bool{}}
}

// watcher turns the kernel's messages into events: only what differs from state.
type watcher struct {
	*state
	emit func(Event)
}

// apply takes one notification in.
func (w *watcher) apply(kind uint16, data []byte) {
	switch kind {
	case unix.RTM_NEWLINK:
		if index, l, ok := parseLink(data); ok {
			w.setLink(index, l)
		}
	case unix.RTM_DELLINK:
		if index, _, ok := parseLink(data); ok {
			w.removeLink(index)
		}
	case unix.RTM_NEWADDR:
		if a, ok := parseAddress(data); ok {
			w.setAddress(a)
		}
	case unix.RTM_DELADDR:
		if a, ok := parseAddress(data); ok {
			w.removeAddress(a)
		}
	}
}

// moveTo reports how now differs from the state: first what is gone, then what came.
func (w *watcher) moveTo(now *state) {
	for _, a := range sortedAddresses(w.addresses) {
		if !now.addresses[a] {
			w.removeAddress(a)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(w.links)) {
		if _, there := now.links[index]; !there {
			w.removeLink(index)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(now.links)) {
		w.setLink(index, now.links[index])
	}
	for _, a := range sortedAddresses(now.addresses) {
		w.setAddress(a)
	}
}

func (w *watcher) setLink(index int, l linkState) {
	before, known := w.links[index]
	if known && before == l {
		return
	}
	var kept []addressOn
	if known && before.name != l.name {
		// To those who know interfaces by name, one went and another came.
		kept = w.addressesOf(index)
		w.removeLink(index)
	}
	w.links[index] = l
	w.emit(LinkEvent{Interface: l.name, Index: index, Up: l.up})
	for _, a := range kept {
		w.setAddress(a)
	}
}

func (w *watcher) removeLink(index int) {
	before, known := w.links[index]
	if !known {
		return
	}
	for _, a := range w.addressesOf(index) {
		w.removeAddress(a)
	}
	delete(w.links, index)
	w.emit(LinkEvent{Interface: before.name})
}

func (w *watcher) setAddress(a addressOn) {
	l, known := w.links[a.index]
	if !known || w.addresses[a] { // a refreshed lifetime is no change
		return
	}
	w.addresses[a] = true
	w.emit(AddressEvent{Interface: l.name, Prefix: a.prefix, Added: true})
}

func (w *watcher) removeAddress(a addressOn) {
	if !w.addresses[a] {
		return
	}
	delete(w.addresses, a)
	w.emit(AddressEvent{Interface: w.links[a.index].name, Prefix: a.prefix})
}

func (s *state) addressesOf(index int) []addressOn {
	var list []addressOn
	for _, a := range sortedAddresses(s.addresses) {
		if a.index == index {
			list = append(list, a)
		}
	}
	return list
}

func sortedAddresses(set map[addressOn]bool) []addressOn {
	return slices.SortedFunc(maps.Keys(set), func(a, b addressOn) int {
		return cmp.Or(cmp.Compare(a.index, b.index), a.prefix.Addr().Compare(b.prefix.Addr()),
			cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
}

// parseLink reads an RTM_NEWLINK or RTM_DELLINK. Not ok for messages of other families:
// a bridge says with RTM_DELLINK that a port left it, which is no link gone.
func parseLink(data []byte) (index int, l linkState, ok bool) {
	if len(data) < unix.SizeofIfInfomsg {
		return 0, linkState{}, false
	}
	message := nl.DeserializeIfInfomsg(data)
	attributes, err := nl.ParseRouteAttr(data[unix.SizeofIfInfomsg:])
	if err != nil || message.Family != unix.AF_UNSPEC {
		return 0, linkState{}, false
	}
	// The kernel derives IFF_RUNNING from the operational state (RFC 2863), IFF_LOWER_UP
	// from the carrier.
	const up = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	l.up = message.Flags&up == up
	for _, attribute := range attributes {
		if attribute.Attr.Type == unix.IFLA_IFNAME {
			l.name = unix.ByteSliceToString(attribute.Value)
		}
	}
	return int(message.Index), l, l.name != ""
}

// parseAddress reads an RTM_NEWADDR or RTM_DELADDR; not ok unless it is for IPv4.
func parseAddress(data []byte) (addressOn, bool) {
	if len(data) < unix.SizeofIfAddrmsg {
		return addressOn{}, false
	}
	message := nl.DeserializeIfAddrmsg(data)
	attributes, err := nl.ParseRouteAttr(data[unix.SizeofIfAddrmsg:])
	if err != nil || message.Family != unix.AF_INET {
		return addressOn{}, false
	}
	for _, attribute := range attributes {
		if attribute.Attr.Type != unix.IFA_LOCAL {
			continue
		}
		if addr, ok := netip.AddrFromSlice(attribute.Value); ok {
			return addressOn{int(message.Index), netip.PrefixFrom(addr, int(message.Prefixlen))}, true
		}
	}
	return addressOn{}, false
}
