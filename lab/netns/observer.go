package netns

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// observer collects what all sources see, and lets the player wait for it.
type observer struct {
	begin    time.Time // on the boot clock: instant 0 of the history
	progress func(verify.Mark)
	seen     chan struct{} // has an element after an observation
	service  verify.Source // by which a service is seen to answer

	vips []string // the names of the claims whose VIPs are looked at

	mu   sync.Mutex          // guards recs, runs and said
	recs []*verify.Recorder  // by VIP
	runs map[string]lifetime // by host: its daemon
	said []Said
}

// lifetime is whether a daemon runs, and since when that has been so.
type lifetime struct {
	runs  bool
	since time.Duration
}

func newObserver(nodes, vips []string, service verify.Source, progress func(verify.Mark)) *observer {
	var recs []*verify.Recorder
	for range vips {
		recs = append(recs, verify.NewRecorder(nodes))
	}
	return &observer{
		vips:     vips,
		recs:     recs,
		service:  service,
		begin:    boottime.Now(),
		progress: progress,
		seen:     make(chan struct{}, 1),
		runs:     make(map[string]lifetime),
	}
}

// now returns the time since the history began.
func (o *observer) now() time.Duration { return boottime.Now().Sub(o.begin) }

// record calls f with the recorder of the first VIP and then wakes who waits for an event.
func (o *observer) record(f func(*verify.Recorder)) { o.recordOf(0, f) }

// recordOf does so with that of any.
func (o *observer) recordOf(vip int, f func(*verify.Recorder)) {
	o.mu.Lock()
	f(o.recs[vip])
	o.mu.Unlock()
	select {
	case o.seen <- struct{}{}:
	default: // the one who waits has not looked yet, and will see this too
	}
}

// running notes that a host's daemon runs, or that it does not any more.
func (o *observer) running(host string, runs bool) {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.runs[host] = lifetime{runs, now}
}

// mark records and reports something that the lab did or noticed just now.
func (o *observer) mark(kind verify.Kind, node, text string) {
	o.note(verify.Mark{At: o.now(), Kind: kind, Node: node, Text: text})
}

// late records and reports that a deadline went by.
func (o *observer) late(node, text string) {
	o.note(verify.Mark{At: o.now(), Kind: verify.Missed, Node: node, Text: text, Late: true})
}

func (o *observer) note(m verify.Mark) {
	o.record(func(r *verify.Recorder) { r.Mark(m) })
	o.progress(m)
}

// await blocks until the step's event has been seen for as long as it asks, and reports
// whether that was within its deadline.
func (o *observer) await(ctx context.Context, step scenario.Step) bool {
	ctx, cancel := context.WithTimeout(ctx, step.Within)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-o.seen: // the address sampler alone makes a thousand observations a second
			if since, ok := o.happens(step); ok && o.now()-since >= step.For {
				return true
			}
		}
	}
}

// happens reports whether the event that a step waits for is seen now, and since when.
func (o *observer) happens(step scenario.Step) (since time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rec, host := o.recs[max(0, slices.Index(o.vips, step.Claim))], step.Host
	answering, since := rec.Holding(verify.ARP)
	alone := len(answering) == 1 && answering[0] == host
	switch step.Event {
	case scenario.Answers:
		return since, slices.Contains(answering, host)
	case scenario.Alone:
		return since, alone
	case scenario.Silent:
		return since, !slices.Contains(answering, host)
	case scenario.Ended:
		return o.runs[host].since, !o.runs[host].runs
	case scenario.Serves:
		serving, from := rec.Holding(o.service)
		return max(since, from), alone && len(serving) == 1 && serving[0] == host
	}
	return 0, false
}

// history returns what has been recorded, as a history that ends at the given instant.
func (o *observer) history(end time.Duration) verify.History {
	o.mu.Lock()
	defer o.mu.Unlock()
	history := o.recs[0].History(end)
	for i, rec := range o.recs[1:] {
		other := rec.History(end)
		history.Others = append(history.Others, verify.History{Name: o.vips[i+1], Spans: other.Spans, Gaps: other.Gaps, Blind: other.Blind})
	}
	if len(history.Others) > 0 {
		history.Name = o.vips[0]
	}
	return history
}
