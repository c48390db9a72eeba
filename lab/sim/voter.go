package sim

import (
	"time"

	"github.com/solovip/solovip/arbiter"
)

// voter is the mesh witness: the one of package node/daemon, which gives promises and
// forgets them when it is started anew.
type voter struct {
	world  *World
	up     bool
	clock  clock
	voter  *arbiter.Voter
	asked  asked
	tokens map[string]arbiter.Token // on its disk
}

func newVoter(w *World) *voter {
	v := &voter{world: w, clock: clock{first: time.Hour, ppm: w.rate()}, tokens: map[string]arbiter.Token{}}
	v.start()
	return v
}

func (v *voter) start() {
	if v.up {
		return
	}
	v.world.note("%s: the mesh witness starts", witnessName)
	v.up, v.asked = true, nil
	v.voter = arbiter.NewVoter(witnessName, v.world.Shape.Timing.Wait, v.clock.boot(v.world.Now), v.tokens)
	v.world.look()
}

func (v *voter) stop() {
	v.world.note("%s: the mesh witness ends", witnessName)
	v.up = false
	v.world.look()
}

// forget loses the disk.
func (v *voter) forget() {
	v.world.note("%s: the mesh witness has lost its disk", witnessName)
	clear(v.tokens)
	v.world.Check.Forgot()
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
	if !v.asked.first(key, r.Kind, send) {
		return
	}
	a, token := v.voter.Answer(v.clock.boot(v.world.Now), r)
	if token != 0 {
		v.tokens[r.Claim] = token
	}
	v.asked[key].answer = &a
	send(a)
}
