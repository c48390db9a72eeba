package sim

import (
	"time"

	"github.com/solovip/solovip/node"
)

// replaced is how long it takes until a program that is started anew runs again.
const replaced = 300 * time.Millisecond

// Replace starts the daemon's program anew, as after an upgrade: it leaves what it holds in
// place, and its successor adopts that if it comes in time.
func (h *Host) Replace(takes time.Duration) {
	d := h.daemon
	if d == nil || !d.runs() || d.busy || len(d.actions) > 0 || h.downed {
		return
	}
	kept, err := d.node.Keep(h.boot())
	if err != nil {
		return
	}
	h.world.note("%s: the daemon leaves what it holds to a successor: %v", h.Name, kept)
	h.daemon, h.able = nil, notAble
	h.lives++
	h.world.look()
	life, left := h.lives, h.boot()
	h.after(takes, func() {
		if h.lives == life && h.daemon == nil {
			h.adopt(kept, left)
		}
	})
}

// adopt starts a daemon that goes on with what was left in place, is not too old by now and is
// in its configuration.
func (h *Host) adopt(kept map[string]node.Kept, left time.Time) {
	h.kept = map[string]node.Kept{}
	for name, k := range kept {
		until := k.Until()
		if until.IsZero() {
			until = left.Add(2 * h.world.Shape.Advert)
		}
		if h.boot().Before(until) && !h.without[h.world.Shape.claim(name)] {
			h.kept[name] = k
		}
	}
	h.begin()
}

// keeps reports whether the claim is to be adopted.
func (h *Host) keeps(claim int) bool {
	_, kept := h.kept[h.world.Shape.Claims[claim].Name]
	return kept
}
