package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/solovip/solovip/config/syntax"
)

// cross looks at what only the whole configuration shows.
func (l *loader) cross() {
	l.crossAddresses()
	l.crossInterfaces()
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

// crossInterfaces looks for an address that two claims have on different interfaces.
// Linux answers for it on both, and so does the gate, which lets it through as long as one
// of them is held: where permission has a deadline that would be two holders. A link-local
// address belongs to its interface.
func (l *loader) crossInterfaces() {
	if !l.cfg.Permits() || l.cfg.Fencing.Gate != GateOn {
		return
	}
	group := make(map[string]string) // of an instance
	for _, g := range l.cfg.SyncGroups {
		for _, name := range g.Instances {
			group[name] = g.Name
		}
	}
	type place struct {
		claim, iface string
		pos          syntax.Pos
	}
	seen := make(map[netip.Addr]place)
	for _, in := range l.cfg.Instances {
		here := place{claim: cmp.Or(group[in.Name], in.Name)}
		for _, a := range slices.Concat(in.Addresses, in.Excluded) {
			addr := a.Prefix.Addr()
			here.iface, here.pos = a.Interface, a.Pos
			before, ok := seen[addr]
			switch {
			case addr.Is6() && addr.IsLinkLocalUnicast():
			case !ok:
				seen[addr] = here
			case before.claim != here.claim && before.iface != here.iface:
				l.report.Add(Finding{
					Pos: a.Pos, Width: len(addr.String()),
					Text: fmt.Sprintf("%s is on %s in %s and on %s in %s, at %s: Linux answers for it on both, whichever is held",
						addr, here.iface, quote(here.claim), before.iface, quote(before.claim), before.pos),
					Remedy: "take one of the two out, or put both instances into one vrrp_sync_group",
				})
			}
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
