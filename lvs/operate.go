package lvs

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// override returns an operator's word about a real server.
func (b *Balancer) override(r *real) Override {
	return b.overrides[overrideKey{r.server.cfg.Name, r.cfg.Addr}]
}

// operate carries an operator's word out.
func (b *Balancer) operate(now time.Time, ev Operate) {
	if o := ev.Override; o.Kind > Disable || o.Kind == OverrideWeight && (o.Weight < 0 || o.Weight > MaxWeight) {
		b.emit(Respond{ID: ev.ID, Err: fmt.Sprintf("weight %d is not between 0 and %d", o.Weight, MaxWeight)})
		return
	}
	found := 0
	for _, s := range b.servers {
		if ev.Server != "" && s.cfg.Name != ev.Server {
			continue
		}
		for _, r := range s.reals {
			if r.cfg.Addr.Addr() != ev.Real.Addr() || ev.Real.Port() != 0 && r.cfg.Addr.Port() != ev.Real.Port() {
				continue
			}
			found++
			b.setOverride(now, r, ev.Override)
		}
	}
	if found == 0 {
		where := "any virtual server"
		if ev.Server != "" {
			where = "virtual server " + ev.Server
		}
		b.emit(Respond{ID: ev.ID, Err: fmt.Sprintf("there is no real server %s in %s", named(ev.Real), where)})
		return
	}
	b.storeOverrides()
	b.emit(Respond{ID: ev.ID, Text: fmt.Sprintf("%s: %s, in %d of %d virtual servers", named(ev.Real), effect(ev.Override), found, len(b.servers))})
}

// named returns what an operator calls a real server.
func named(real netip.AddrPort) string {
	if real.Port() == 0 {
		return real.Addr().String()
	}
	return real.String()
}

// effect says what an override does.
func effect(o Override) string {
	switch o.Kind {
	case NoOverride:
		return "checks and configuration decide again"
	case Drain:
		return "no new connections; those that are there go on"
	case OverrideWeight:
		return fmt.Sprintf("weight %d while it is up", o.Weight)
	case Disable:
		return "out of the table"
	}
	panic("lvs: unknown override")
}

func (b *Balancer) setOverride(now time.Time, r *real, o Override) {
	key := overrideKey{r.server.cfg.Name, r.cfg.Addr}
	if b.overrides[key] == o {
		return
	}
	b.overrides[key] = o
	if o.Kind == NoOverride {
		delete(b.overrides, key)
	}
	b.tell(false, key.server, "real server "+key.real.String()+": the operator says "+o.Kind.String(), effect(o))
	if b.started {
		b.judge(now, r)
	}
}

// storeOverrides makes what operators have said durable.
func (b *Balancer) storeOverrides() {
	var all []StoredOverride
	for key, o := range b.overrides {
		all = append(all, StoredOverride{key.server, key.real, o})
	}
	slices.SortFunc(all, func(x, y StoredOverride) int {
		return cmp.Or(cmp.Compare(x.Server, y.Server), x.Real.Compare(y.Real))
	})
	b.emit(StoreOverrides{all})
}

// forgetOverrides drops those of real servers that are gone, so that none comes back by
// surprise when the server does.
func (b *Balancer) forgetOverrides() {
	there := make(map[overrideKey]bool)
	for _, s := range b.servers {
		for _, r := range s.reals {
			there[overrideKey{s.cfg.Name, r.cfg.Addr}] = true
		}
	}
	before := len(b.overrides)
	maps.DeleteFunc(b.overrides, func(k overrideKey, _ Override) bool { return !there[k] })
	if len(b.overrides) != before {
		b.storeOverrides()
	}
}
