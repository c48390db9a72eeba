package config

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/solovip/solovip/config/syntax"
)

// finishBalancing settles what does not depend on the real servers.
func (l *loader) finishBalancing(d *virtualDraft) {
	word := d.head[0]
	plain := slices.ContainsFunc(d.Services, func(s ServiceAddr) bool { return s.FWMark == 0 })
	switch {
	case !plain && d.Protocol != 0:
		l.warn(d.proto, "take it out", "a firewall mark stands for any protocol: protocol is ignored")
		d.Protocol = 0
	case plain && d.Protocol == 0:
		d.Protocol = UDP
		l.warn(word, "write protocol TCP, or protocol UDP if that is meant", "virtual_server %s has no protocol: keepalived uses UDP", d.Name)
	}
	if d.OnePacket && plain && d.Protocol != UDP {
		d.OnePacket = false
		l.warn(d.ops, "take it out, or write protocol UDP", "ops is for UDP: it is ignored")
	}
	if d.sched.Pos.IsZero() {
		l.warn(word, "write lvs_sched wlc, or another one", "virtual_server %s has no scheduler: wlc is used", d.Name)
	}
	if d.method == nil {
		l.warn(word, "write lvs_method NAT, DR or TUN", "virtual_server %s has no forwarding method: NAT is used", d.Name)
	}
	if d.Persistence == 0 && slices.ContainsFunc(d.Services, func(s ServiceAddr) bool { return s.FWMark == 0 && s.Addr.Port() == 0 }) {
		d.Persistence = defaultPersistence
		l.warn(word, "write a port behind the address, or persistence_timeout", "virtual_server %s without a port must be persistent: persistence_timeout 360 is used", d.Name)
	}
	bits := map[string]SchedFlags{
		"sh-fallback": SchedFlag1, "mh-fallback": SchedFlag1, "sh-port": SchedFlag2, "mh-port": SchedFlag2,
		"flag-1": SchedFlag1, "flag-2": SchedFlag2, "flag-3": SchedFlag3,
	}
	for _, w := range d.flags {
		if of, _, _ := strings.Cut(w.Text, "-"); of != "flag" && of != d.Scheduler {
			l.warn(w, "take it out, or write lvs_sched "+of, "%s is a flag of the scheduler %s, not of %s: it is ignored", w.Text, of, d.Scheduler)
			continue
		}
		d.SchedFlags |= bits[w.Text]
	}
}

// finishVirtual settles what depends on the real servers.
func (l *loader) finishVirtual(d *virtualDraft, block *syntax.Node) {
	if len(d.RealServers) == 0 {
		if !d.lost && !l.anyBad(block, "real_server") {
			l.fail(d.head[0], "write real_server ADDRESS PORT { ... }", "virtual_server %s has no real server: keepalived drops it", d.Name)
		}
		return
	}
	if d.Sorry != nil {
		d.Sorry.Forwarding = first(d.sorryMethod, d.method, Forwarding{})
		d.Sorry.Addr = l.portOf(d, d.Sorry.Addr, d.Sorry.Forwarding, d.sorry)
	} else if d.sorryMethod != nil {
		l.warn(d.head[0], "write sorry_server ADDRESS PORT", "sorry_server_lvs_method without a sorry_server: it is ignored")
	}
	l.finishFamily(d)
	l.finishGranularity(d)
	l.finishQuorum(d)
	l.cfg.VirtualServers = append(l.cfg.VirtualServers, d.VirtualServer)
	l.virtuals = append(l.virtuals, d)
}

// finishFamily settles the address family of services that are firewall marks, and finds
// servers that are not of the family of their service. Only a tunnel can change it.
func (l *loader) finishFamily(d *virtualDraft) {
	six, known := d.six, d.family
	for _, m := range d.members {
		if m.FWMark != 0 && !m.family {
			continue
		}
		if d.family && d.six != m.IPv6 && d.Group == "" {
			l.warn(d.head[0], "take ip_family out", "ip_family is not that of the address: it is ignored")
		}
		six, known = m.IPv6, true
		break
	}
	if !known {
		i := max(slices.IndexFunc(d.RealServers, func(r RealServer) bool { return r.Forwarding.Method != TUN }), 0)
		six = d.RealServers[i].Addr.Addr().Is6()
		mixed := slices.ContainsFunc(d.RealServers, func(r RealServer) bool { return r.Addr.Addr().Is6() != six })
		if d.RealServers[i].Forwarding.Method == TUN && mixed {
			six = false
		}
	}
	for i, m := range d.members {
		if m.FWMark != 0 && !m.family {
			d.Services[i].IPv6 = six
		}
	}
	for _, r := range d.RealServers {
		l.sameFamily(d, r.Addr, r.Forwarding, "real_server", r.Pos)
	}
	if s := d.Sorry; s != nil && !l.sameFamily(d, s.Addr, s.Forwarding, "sorry_server", s.Pos) {
		d.Sorry = nil
	}
}

func (l *loader) sameFamily(d *virtualDraft, addr netip.AddrPort, f Forwarding, keyword string, pos syntax.Pos) bool {
	if f.Method == TUN || !slices.ContainsFunc(d.Services, func(s ServiceAddr) bool { return s.IPv6 != addr.Addr().Is6() }) {
		return true
	}
	l.fail(syntax.Word{Pos: pos, Width: 1}, "use one family in a virtual server, or lvs_method TUN",
		"%s %s is not of the address family of its virtual server: keepalived leaves it out", keyword, spaced(addr))
	return false
}

// finishGranularity reads persistence_granularity: a mask for IPv4, a length for IPv6.
func (l *loader) finishGranularity(d *virtualDraft) {
	w := d.granularity
	if w.Pos.IsZero() {
		return
	}
	if d.Services[0].IPv6 {
		if v, ok := l.number(Warning, "persistence_granularity", w, 1, 128, "it is ignored"); ok {
			d.Granularity = v % 128
			l.granular(d)
		}
		return
	}
	mask, err := netip.ParseAddr(w.Text)
	if err == nil && mask.Is4() && mask.As4()[0] != 0 && contiguous(mask) {
		d.Granularity = maskBits(mask) % 32
		l.granular(d)
		return
	}
	l.warn(w, "write a network mask, for instance 255.255.255.0", "persistence_granularity %s is no network mask: it is ignored", quote(w.Text))
}

// granular makes a virtual server persistent that has a granularity.
func (l *loader) granular(d *virtualDraft) {
	if d.Persistence == 0 {
		d.Persistence = defaultPersistence
		l.warn(d.granularity, "write persistence_timeout 360, or take persistence_granularity out", "persistence_granularity without persistence_timeout: 360 is used")
	}
}

// contiguous reports whether the one bits of a mask are the first bits of it.
func contiguous(mask netip.Addr) bool {
	b := mask.As4()
	v := binary.BigEndian.Uint32(b[:])
	return v|(v-1) == ^uint32(0) // all below its lowest one bit is below all its one bits
}

// finishQuorum keeps the quorum where it can be reached, as keepalived does.
func (l *loader) finishQuorum(d *virtualDraft) {
	total := 0
	for _, r := range d.RealServers {
		total += r.Weight
	}
	if d.Quorum > total {
		if total > 0 || !d.quorum.Pos.IsZero() {
			l.warn(l.at(d.quorum, d), "lower the quorum, or raise the weights", "quorum %d is more than all real servers together weigh: %d is used", d.Quorum, total)
		} else {
			l.warn(d.head[0], "give a real server a weight", "all real servers of virtual_server %s have weight 0", d.Name)
		}
		d.Quorum = total
	}
	if most := max(d.Quorum-1, 0); d.Hysteresis > most {
		l.warn(d.hysteresis, "make it less than the quorum", "hysteresis %d is not less than the quorum: %d is used", d.Hysteresis, most)
		d.Hysteresis = most
	}
}

// at returns w, or the head of the virtual server when w is not given.
func (*loader) at(w syntax.Word, d *virtualDraft) syntax.Word {
	if w.Pos.IsZero() {
		return d.head[0]
	}
	return w
}

// crossServices looks for a service that is there twice: two virtual servers would pull at
// one entry of the kernel's table.
func (l *loader) crossServices() {
	type key struct {
		addr  ServiceAddr
		proto Protocol
	}
	seen := make(map[key]*virtualDraft)
	for _, d := range l.virtuals {
		for i, s := range d.Services {
			k := key{s, d.Protocol}
			if s.FWMark != 0 {
				k.proto = 0
			}
			if other := seen[k]; other != nil {
				w, what := d.head[0], "virtual_server "+other.Name
				if other == d {
					w, what = d.members[i].word, "the group"
				}
				l.fail(w, "take one of the two out", "the service %s is there twice: it is in %s already, at %s", s, what, other.Pos)
				break
			}
			seen[k] = d
		}
	}
}
