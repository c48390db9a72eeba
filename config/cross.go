package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/solovip/solovip/config/syntax"
)

// cross looks at what only the whole configuration shows.
func (l *loader) cross() {
	l.crossAddresses()
	l.crossVRIDs()
	l.crossNames()
	l.crossServices()
}

// crossAddresses looks for an address that is there twice on one interface: two instances
// would pull at it, and the one that lets go takes it from the other.
func (l *loader) crossAddresses() {
	type key struct {
		iface string
		addr  netip.Addr
	}
	type place struct {
		name string
		pos  syntax.Pos
	}
	seen := make(map[key]place)
	for _, in := range l.cfg.Instances {
		for _, a := range slices.Concat(in.Addresses, in.Excluded) {
			k := key{a.Interface, a.Prefix.Addr()}
			if before, ok := seen[k]; ok {
				l.report.Add(Finding{
					Pos: a.Pos, Width: len(k.addr.String()),
					Text:   fmt.Sprintf("%s is twice on %s: it is in %s already, at %s", k.addr, k.iface, quote(before.name), before.pos),
					Remedy: "take one of the two out",
				})
				continue
			}
			seen[k] = place{in.Name, a.Pos}
		}
	}
}

// crossVRIDs looks for two instances that would take each other's adverts for their own.
func (l *loader) crossVRIDs() {
	for i, d := range l.drafts {
		for _, o := range l.drafts[:i] {
			if d.VRID == 0 || d.VRID != o.VRID || d.Interface != o.Interface || d.is6() != o.is6() || !sameAudience(d, o) {
				continue
			}
			l.fail(d.vrid, "give each instance of an interface a number of its own, the same on all nodes",
				"virtual_router_id %d is used twice on %s: %s has it already", d.VRID, d.Interface, quote(o.Name))
		}
	}
}

// sameAudience reports whether the adverts of two instances reach the same sockets.
func sameAudience(a, b *draft) bool {
	if (len(a.UnicastPeers) > 0) != (len(b.UnicastPeers) > 0) {
		return false
	}
	if len(a.UnicastPeers) == 0 {
		return a.McastGroup == b.McastGroup
	}
	return slices.ContainsFunc(a.UnicastPeers, func(p netip.Addr) bool { return slices.Contains(b.UnicastPeers, p) })
}

// crossNames looks for a claim that has two meanings: a group and an instance of one name.
func (l *loader) crossNames() {
	for _, g := range l.groups {
		for _, d := range l.drafts {
			if d.Name == g.Name && !slices.Contains(g.Instances, d.Name) {
				l.fail(g.name, "rename one of the two", "%s is a sync group and an instance that is not in it: claims need names of their own", quote(g.Name))
			}
		}
	}
}
