package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/solovip/solovip/lab/verify"
)

// voice is a way to ask whoever has the VIP. It is used by one goroutine.
type voice interface {
	// ask sends question number seq. That it could not be sent counts as unanswered.
	ask(seq uint32)
	// listen waits for an answer until the deadline and returns which question it
	// answers and the name of the node, or os.ErrDeadlineExceeded.
	listen(deadline time.Time) (seq uint32, node string, err error)
}

// asker asks at a steady pace and records who answers.
type asker struct {
	vip      int // which of the scenario's
	source   verify.Source
	voice    voice
	every    time.Duration // between questions
	patience time.Duration // how long an answer may take

	open  []verify.Probe // asked, in order; the first is number first
	first uint32
}

// patienceLeft is how long a look for answers takes at least, so that what has come
// while this process was held up is read before anything is given up.
const patienceLeft = 200 * time.Microsecond

// run asks until ctx is done. What is open then is not recorded.
func (a *asker) run(ctx context.Context, o *observer) error {
	next := o.now()
	for ctx.Err() == nil {
		if now := o.now(); now >= next {
			a.open = append(a.open, verify.Probe{Source: a.source, Sent: now})
			a.voice.ask(a.first + uint32(len(a.open)) - 1)
			next = max(next+a.every, now)
		}
		wait := max(next-o.now(), patienceLeft)
		before := o.now()
		seq, node, err := a.voice.listen(time.Now().Add(wait))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Nothing was waiting to be read: what is unanswered and old will stay so.
			a.conclude(o, before-a.patience)
		case err != nil:
			return fmt.Errorf("listen for answers (%s): %w", a.source, err)
		default:
			if i := seq - a.first; i < uint32(len(a.open)) {
				p := &a.open[i]
				p.Answers = append(p.Answers, verify.Answer{Node: node, At: o.now()})
			}
		}
	}
	return nil
}

// conclude records the questions asked before an instant.
func (a *asker) conclude(o *observer, before time.Duration) {
	n := 0
	for n < len(a.open) && a.open[n].Sent < before {
		n++
	}
	if n == 0 {
		return
	}
	o.recordOf(a.vip, func(r *verify.Recorder) {
		for _, p := range a.open[:n] {
			r.Probe(p)
		}
	})
	a.open = append(a.open[:0], a.open[n:]...)
	a.first += uint32(n)
}
