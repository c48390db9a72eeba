package mesh

import (
	"slices"

	"github.com/solovip/solovip/arbiter"
)

// maxAsked is how many requests a member remembers, the newest ones. When a request
// comes again after it was forgotten it is delivered again, which does no harm:
// requests may be repeated.
const maxAsked = 1024

// asked remembers the requests that have come, so that the copies through relays are
// not delivered again, and the ways they came, for the answer to go back by.
type asked struct {
	open  map[askedKey]*asking
	order []askedKey // oldest first
}

type askedKey struct {
	from string
	id   uint64
}

// asking is one request that has come.
type asking struct {
	run    uint64
	vias   []string // relays through which it came
	answer *arbiter.Answer
}

func newAsked() *asked {
	return &asked{open: make(map[askedKey]*asking)}
}

// arrive takes a copy of a request of a run of the asking member that came through a
// relay ("": directly). It says whether this is the first copy; if it is not, the
// answer that was given already (nil: none yet) is to be sent again by that way: the
// first one may have been lost, or the asker may be deaf to us directly.
func (a *asked) arrive(r arbiter.Request, run uint64, via string) (first bool, answer *arbiter.Answer) {
	key := askedKey{r.From, r.ID}
	q := a.open[key]
	switch {
	case q == nil:
		if len(a.order) >= maxAsked {
			delete(a.open, a.order[0])
			a.order = a.order[1:]
		}
		a.order = append(a.order, key)
		q = &asking{}
		a.open[key] = q
	case q.run == run:
		q.came(via)
		return false, q.answer
	}
	*q = asking{run: run} // new, or the asker was restarted and counts from 1 again
	q.came(via)
	return true, nil
}

func (q *asking) came(via string) {
	if via != "" && !slices.Contains(q.vias, via) {
		q.vias = append(q.vias, via)
	}
}

// answered keeps the answer and returns its way back: the run of the asker and the
// relays. It reports false for a request that never came or is forgotten.
func (a *asked) answered(ans arbiter.Answer) (run uint64, vias []string, ok bool) {
	q := a.open[askedKey{ans.To, ans.ID}]
	if q == nil {
		return 0, nil, false
	}
	q.answer = &ans
	return q.run, slices.Clone(q.vias), true
}
