package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
)

const (
	// probeEvery is how often the link is asked who has a claim's addresses at the most.
	probeEvery = time.Second
	// probeFor is how long the answers are waited for.
	probeFor = 500 * time.Millisecond
	// answerFor is how long an answer counts.
	answerFor = 2 * time.Second
	// confirmFor is how long a conflict has to last before it is told or opposed: where
	// the other station is a peer, tokens have decided by then, and one of the two is off.
	confirmFor = time.Second
	// conflictEvery is how often a conflict with one station is told.
	conflictEvery = time.Minute
	// defendEvery is how often the addresses of a claim are announced against others. RFC
	// 5227 section 2.4 (b) has it: one announcement, and none to a conflict that comes
	// again within that time, so that two who both defend cause no storm.
	defendEvery = 10 * time.Second
	// maxDefences is how often a station is seen to come back before it is left alone.
	maxDefences = 3
	// maxStations bounds the stations that are kept for a claim: with more at a time,
	// which is an attack, the rest is neither told nor opposed.
	maxStations = 8
	// forgetAfter is how long a station is shown that is not seen any more.
	forgetAfter = 10 * time.Minute
)

// Station is another station of the link that speaks for an address of a claim.
type Station struct {
	MAC     string
	Address netip.Addr
}

// String returns what is said of a station, as in "02:00:00:00:00:01 answers ARP for 10.0.0.100".
func (s Station) String() string { return fmt.Sprintf("%s answers ARP for %s", s.MAC, s.Address) }

// linkEvidence is what ARP shows of a claim's addresses.
type linkEvidence struct {
	asked    time.Time // when the link was last asked who has them
	about    time.Time // when the question was asked that the answers belong to
	answered time.Time // when they came
	answers  []Station
	failed   string // why the link could not be asked

	holders map[string]bool // peers whose last word is that they hold the claim
	word    time.Time       // the last word of a peer about holding it: earlier answers may be that peer's

	stations []*station
	defended time.Time // when the addresses were last announced against another station
}

// station is a Station and what is to remember of it.
type station struct {
	Station
	since, last time.Time // of the present conflict
	count       int
	told        time.Time
	opposed     time.Time // when the address was last announced against it
	back        time.Time // when it was first seen after that
	defences    int       // how often it came back
}

// heard keeps whether a peer holds the claim. A peer that is silent has said nothing
// new: when it dies its last word stands, and who answers a later probe is not it.
func (l *linkEvidence) heard(now time.Time, p *peer, holds arbiter.Tri) {
	switch {
	case holds == arbiter.Yes:
		l.word = later(l.word, p.seen)
		if l.holders == nil {
			l.holders = map[string]bool{}
		}
		l.holders[p.name] = true
	case holds == arbiter.No && l.holders[p.name]:
		l.word = now
		delete(l.holders, p.name)
	}
}

// stands says what the link answers, and who. Only what it was asked after a peer's last
// word counts: what is not known yet is Unknown, and so is whether a station is still
// there that was. A shell that does not answer in time holds up nothing.
func (l *linkEvidence) stands(now time.Time) (arbiter.Tri, string) {
	current := l.about.After(l.word)
	switch {
	case current && len(l.answers) > 0 && now.Sub(l.answered) <= answerFor:
		return arbiter.Yes, l.answers[0].String()
	case current && len(l.answers) == 0 && l.about.Equal(l.asked):
		return arbiter.No, ""
	case l.asked.After(l.word) && l.about.Before(l.asked) && now.Sub(l.asked) >= probeFor:
		return arbiter.No, ""
	}
	return arbiter.Unknown, ""
}

// probe asks the link who has the claim's addresses, in the modes where the answer is
// evidence or worth a word.
func (c *claim) probe(n *Node, now time.Time) {
	if n.cfg.Mode == arbiter.ModeVRRP || now.Sub(c.link.asked) < probeEvery {
		return
	}
	c.link.asked = now
	n.emit(ProbeAddresses{c.cfg.Name})
}

// settleLink goes on asking the link while the claim would be taken and somebody
// answers, or may, and tells who.
func (n *Node) settleLink(now time.Time, c *claim) {
	if !c.wants() || n.barred(now, c) != "" {
		return
	}
	if c.verdict.Peer != "" && (n.cfg.Mode != arbiter.ModeVeto || now.Sub(c.link.word) < n.fresh/2) {
		return // the holder is known; one whose word is late may be gone soon
	}
	state, _ := c.link.stands(now)
	if state == arbiter.Yes {
		n.tellAnswers(now, c)
	}
	if state != arbiter.No {
		c.probe(n, now)
	}
}

// wants reports whether VRRP alone would take the claim now.
func (c *claim) wants() bool {
	return slices.ContainsFunc(c.instances, func(in *instance) bool { return in.machine.Wants() })
}

// tellAnswers tells, once a station, that an address nobody is known to hold has an owner.
func (n *Node) tellAnswers(now time.Time, c *claim) {
	if name, _ := n.knownHolder(now, c); name != "" {
		return // it is the one that answers
	}
	for _, a := range c.link.answers {
		s := c.link.station(now, a)
		if s == nil {
			continue
		}
		s.see(c.link.answered)
		if !s.told.IsZero() {
			continue
		}
		s.told = now
		then := "permission decides, and this node takes the claim all the same"
		if n.cfg.Mode == arbiter.ModeVeto {
			then = "nothing is taken until it is gone"
		}
		n.tell(Warning, c.cfg.Name, "another station has the address while nobody is known to hold the claim", a.String()+": "+then)
	}
}

// probed takes in what the link answered. Whoever answers a question that was asked while
// this node held the claim is in conflict with it.
func (n *Node) probed(now time.Time, c *claim, ev AddressesProbed) {
	l := &c.link
	l.answers, l.answered, l.about = ev.Answers, now, l.asked
	if c.phase == Held && l.asked.After(c.since) {
		for _, a := range ev.Answers {
			n.sighted(now, c, a)
		}
	}
	why := ""
	if ev.Err != nil {
		why = ev.Err.Error()
	}
	if why != "" && why != l.failed {
		n.tell(Warning, c.cfg.Name, "cannot ask the link who has the addresses", why)
	}
	l.failed = why
}

// sighted takes in that another station speaks for an address of the claim.
func (n *Node) sighted(now time.Time, c *claim, which Station) {
	if c.phase != Held {
		return // it may be the holder
	}
	s := c.link.station(now, which)
	if s == nil {
		return
	}
	s.see(now)
	if s.back.Before(s.opposed) {
		s.back = now
		s.defences++
	}
	if n.cfg.Mode != arbiter.ModeVRRP {
		n.askHolders(now, c)
	}
}

// see counts a sighting. One that comes after a long time begins a new conflict.
func (s *station) see(at time.Time) {
	if !at.After(s.last) {
		return // counted already
	}
	if at.Sub(s.last) > conflictEvery {
		s.since = at
	}
	s.last = at
	s.count++
}

// station returns what is remembered of a station; nil when there are too many.
func (l *linkEvidence) station(now time.Time, which Station) *station {
	l.stations = slices.DeleteFunc(l.stations, func(s *station) bool { return now.Sub(s.last) > forgetAfter })
	for _, s := range l.stations {
		if s.Station == which {
			return s
		}
	}
	if len(l.stations) >= maxStations {
		return nil
	}
	s := &station{Station: which}
	l.stations = append(l.stations, s)
	return s
}

// settleConflicts tells of stations that speak for the addresses of a claim held here,
// and announces against them, rarely.
func (n *Node) settleConflicts(now time.Time, c *claim) {
	l := &c.link
	if len(l.answers) > 0 && (!l.asked.After(c.since) || now.Sub(l.asked) >= conflictEvery) {
		c.probe(n, now) // it answered before: does it still?
	}
	mayDefend, defends := n.cfg.Mode != arbiter.ModeVRRP && now.Sub(l.defended) >= defendEvery, false
	for _, s := range l.stations {
		if s.last.Before(c.since) || now.Before(s.due(c)) {
			continue
		}
		if s.last.After(s.told) && (s.told.Before(s.since) || now.Sub(s.told) >= conflictEvery) {
			s.told = now
			n.tell(Warning, c.cfg.Name, "another station speaks for the address", n.conflictInWords(s))
		}
		if !mayDefend || s.defences > maxDefences || !s.last.After(s.opposed) {
			continue
		}
		s.opposed, defends = now, true
		for _, in := range c.instances {
			n.emit(Announce{Instance: in.name(), Count: 1, Address: s.Address})
		}
	}
	if defends {
		l.defended = now
	}
}

// due is when the conflict is worth a word.
func (s *station) due(c *claim) time.Time { return later(s.since, c.since).Add(confirmFor) }

func (n *Node) conflictInWords(s *station) string {
	seen := fmt.Sprintf("%s has %s too, seen %d times: ", s.MAC, s.Address, s.count)
	switch {
	case n.cfg.Mode == arbiter.ModeVRRP:
		return seen + "plain VRRP does nothing about it"
	case s.defences > maxDefences:
		return seen + "it comes back each time and is not opposed any more; among peers the token decides, another device has to be found and stopped"
	}
	return seen + "this node announces it once against that; among peers the token decides, another device has to be found and stopped"
}

// deadlines adds when the link or a conflict wants to be looked at again.
func (l *linkEvidence) deadlines(c *claim, now time.Time, d *earliest) {
	if again := l.asked.Add(probeEvery); now.Before(again) && (c.phase == Idle || c.phase == Held) {
		d.add(again)
	}
	for _, s := range l.stations {
		if c.phase == Held && !s.last.Before(c.since) && now.Before(s.due(c)) {
			d.add(s.due(c))
		}
	}
}

// conflicts returns the stations for a status.
func (l *linkEvidence) conflicts(now time.Time) []ConflictSnapshot {
	var all []ConflictSnapshot
	for _, s := range l.stations {
		if now.Sub(s.last) <= forgetAfter {
			all = append(all, ConflictSnapshot{Station: s.MAC, Address: s.Address.String(), LastMS: age(now, s.last), Count: s.count})
		}
	}
	return all
}
