package witness

import (
	"fmt"
	"time"
)

// One store after another may stand behind the same endpoints. One that was emptied, or put
// back to an older state, shows it: see wentBack. Another etcd cluster has another id, and
// that the endpoints lead to it says nothing of where they lead the other nodes: one of them
// may go on renewing at the former. So nothing there counts before somebody vouches for it.

// strange reports whether the answer is of another etcd cluster than the one that is trusted.
// It counts as silence then.
func (l *Lease) strange(id uint64) bool {
	if l.trusted == 0 || id == l.trusted {
		l.stranger = 0
		return false
	}
	l.stranger = id
	l.err = fmt.Errorf("this is another etcd cluster (%x) than before (%x): it counts once all nodes are heard to use it, or an operator says so with `solovip trust-witness`", id, l.trusted)
	return true
}

// Stranger returns the id of another etcd cluster that answers in place of the trusted one;
// 0: none does.
func (l *Lease) Stranger() uint64 { return l.stranger }

// Trusted returns the id of the etcd cluster whose word counts: the configured one, or the
// first that answered; 0: none has answered yet.
func (l *Lease) Trusted() uint64 { return l.trusted }

// Trust makes the stranger the witness from now on: every node is known to use it, or to be
// off. It begins like a store that was replaced.
func (l *Lease) Trust(now time.Time) {
	if l.stranger == 0 {
		return
	}
	l.replace(now, fmt.Sprintf("it is another etcd cluster (%x) than before (%x)", l.stranger, l.trusted))
	l.trusted, l.stranger, l.err, l.rest = l.stranger, 0, nil, time.Time{}
}

// replace starts over: this is another store than the one seen before, so nothing
// learnt from its records counts, and everything is waited for in full. What is held
// stays so for as long as the last renewal said, and is asserted at the new store.
func (l *Lease) replace(now time.Time, why string) {
	l.clusterID, l.revision, l.since = 0, 0, time.Time{}
	l.stores++
	l.why, l.replaced = why, now
	clear(l.nodes)
	clear(l.claims)
	for claim, token := range l.held {
		l.former[claim] = Grant{token, l.until}
	}
	clear(l.held)
	clear(l.wishes)
	l.doubts = nil
	l.clashes = 0
	l.next = now
}

// noteTerm notes that the witness was started anew, or has another leader. It may have been put
// back to a state that lacks what it confirmed last, such as a renewal, and nothing in its
// records need show that: nothing is free there before it has been watched for a Wait.
func (l *Lease) noteTerm(now time.Time, term uint64) {
	if term == 0 {
		return
	}
	if l.term != 0 && term != l.term && !l.since.IsZero() && l.since != now {
		l.since, l.replaced, l.why = now, now, "it was started anew, or has another leader"
		l.starts++
	}
	l.term = term
}

// wentBack says whether the observation is of a store that was emptied or put back to an
// older state, whatever has been written to it since: it shows a record as it was before a
// state that is known, at a revision that has to have that state, or a newer one in which
// what only grows is less than it was. An empty text says that it is not.
func (l *Lease) wentBack(o Observation) string {
	if o.Complete && o.Term != 0 && l.term != 0 && o.Term != l.term && o.Revision < l.revision {
		return fmt.Sprintf("it was emptied, or put back to an older state: its revision is %d and was %d", o.Revision, l.revision)
	}
	if name := l.missing(o); name != "" {
		return "it was emptied, or put back to an older state: the record of " + name + " is gone"
	}
	older := func(version, known int64) bool {
		return o.Complete && version != 0 && version < known && known <= o.Revision
	}
	for name, v := range o.Nodes {
		known := l.nodes[name]
		less := v.Version > known.Version && v.Record.Incarnation == known.Record.Incarnation && v.Record.Beat < known.Record.Beat
		if less || older(v.Version, known.Version) {
			return "it was put back to an older state: the record of " + name + " is an old one"
		}
	}
	for name, v := range o.Claims {
		known := l.claims[name]
		if v.Version > known.Version && v.Record.Token < known.Record.Token || older(v.Version, known.Version) {
			return "it was put back to an older state: the record of " + name + " is an old one"
		}
	}
	return ""
}

// missing names a record that the observation must have and has not: one that is known to have been
// there at its revision, or this node's own, which no node deletes.
func (l *Lease) missing(o Observation) string {
	if !o.Complete {
		return ""
	}
	was := func(version int64) bool { return version != 0 && version <= o.Revision }
	for name, known := range l.nodes {
		if _, ok := o.Nodes[name]; !ok && was(known.Version) && (o.Revision <= l.revision || name == l.cfg.Node) {
			return name
		}
	}
	for name, known := range l.claims {
		if _, ok := o.Claims[name]; !ok && was(known.Version) && o.Revision <= l.revision {
			return name
		}
	}
	return ""
}

// Condition says in words how the witness is; empty: it answers, and all is well.
func (l *Lease) Condition(now time.Time) string {
	wait := l.cfg.Timing.Wait
	switch {
	case l.stranger != 0:
		return l.err.Error()
	case l.err != nil && l.answered.IsZero():
		return "it has not answered yet: " + l.err.Error()
	case l.err != nil && l.refuses:
		return fmt.Sprintf("it has refused to write for %v: %v", now.Sub(l.answered).Round(time.Millisecond), l.err)
	case l.err != nil:
		return fmt.Sprintf("it has been silent for %v: %v", now.Sub(l.answered).Round(time.Millisecond), l.err)
	case !l.replaced.IsZero() && now.Before(l.since.Add(wait)):
		return fmt.Sprintf("%s; nothing is free there for another %v", l.why, l.since.Add(wait).Sub(now).Round(time.Millisecond))
	case l.took > l.cfg.Timing.Renew/4:
		return fmt.Sprintf("it is slow: the last answer took %v of the %v that a renewal may take", l.took.Round(time.Millisecond), l.cfg.Timing.Renew)
	case !l.strayed.IsZero() && now.Sub(l.strayed) < wait:
		return "answers came late, or twice: they count for nothing"
	}
	return ""
}
