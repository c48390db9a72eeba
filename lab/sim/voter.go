package sim

import (
	"time"

	"github.com/solovip/solovip/arbiter"
)

// voter is the mesh witness: the one of package node/daemon, which gives promises and
// forgets them when it is started anew.
type voter struct {
	world    *World
	up       bool
	clock    clock
	promises *arbiter.Promises
	asked    asked
	tokens   map[string]arbiter.Token
}

func newVoter(w *World) *voter {
	v := &voter{world: w, clock: clock{first: time.Hour, ppm: w.rate()}}
	v.start()
	return v
}

func (v *voter) start() {
	if v.up {
		return
	}
	v.world.note("%s: the mesh witness starts", witnessName)
	v.up, v.asked = true, nil
	v.promises = arbiter.NewPromises(v.world.Shape.Timing.Wait, v.clock.boot(v.world.Now))
	v.world.look()
}

func (v *voter) stop() {
	v.world.note("%s: the mesh witness ends", witnessName)
	v.up = false
	v.world.look()
}

func (v *voter) relays() bool { return v.up }

func (v *voter) receive(_ traffic, fn func()) {
	if v.up {
		fn()
	}
}

// asks answers a request, each one once.
func (v *voter) asks(r arbiter.Request, run int) {
	send := func(a arbiter.Answer) { v.world.reply(len(v.world.Hosts), a) }
	key := askedKey{r.From, run, r.ID}
	if !v.asked.first(key, send) {
		return
	}
	a := arbiter.Answer{ID: r.ID, From: r.To, To: r.From, Claim: r.Claim}
	switch r.Kind {
	case arbiter.RequestPromise:
		a.Why = v.promises.Grant(v.clock.boot(v.world.Now), r)
		a.Yes = a.Why == ""
	case arbiter.RequestReleased:
		v.promises.Release(r)
		a.Yes = true
	case arbiter.RequestHolds, arbiter.RequestHandover:
		a.Why = "a witness holds nothing"
	}
	v.asked[key] = &a
	send(a)
}
