package arbiter

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const (
	// ProbeEvery is how often the link is asked who has a claim's addresses at the most.
	ProbeEvery = time.Second
	// probeFor is how long the answers are waited for.
	probeFor = 500 * time.Millisecond
	// answerFor is how long an answer counts.
	answerFor = 2 * time.Second
	// confirmFor is how long a conflict has to last before it is told or opposed: where
	// the other station is a peer, tokens have decided by then, and one of the two is off.
	confirmFor = time.Second
	// tellEvery is how often a conflict with one station is told.
	tellEvery = time.Minute
	// opposeEvery is how often the addresses of a claim are announced against others. RFC
	// 5227 section 2.4 (b) has it: one announcement, and none to a conflict that comes
	// again within that time, so that two who both defend cause no storm.
	opposeEvery = 10 * time.Second
	// maxOpposed is how often a station is seen to come back before it is left alone.
	maxOpposed = 3
	// maxStations bounds the stations that are kept for a claim: with more at a time,
	// which is an attack, the rest is neither told nor opposed.
	maxStations = 8
	// forgetAfter is how long a station is kept that is not seen any more.
	forgetAfter = 10 * time.Minute
)

// Station is a station of the link that is not this node and has an address of a claim.
type Station struct {
	MAC     string
	Address netip.Addr
}

// String returns what is said of a station, as in "02:00:00:00:00:01 answers ARP for 10.0.0.100".
func (s Station) String() string { return fmt.Sprintf("%s answers ARP for %s", s.MAC, s.Address) }

// Link is what ARP shows of one claim's addresses: who answers for them before the claim
// is taken, and who is in conflict with this node while it is held. The zero Link knows
// nothing.
type Link struct {
	asked    time.Time // when the link was last asked who has them
	about    time.Time // when the question was asked that the answers belong to
	answered time.Time // when they came
	answers  []Station

	holders map[string]bool // peers whose last word is that they hold the claim
	word    time.Time       // the last word of a peer about holding it

	conflicts []*Conflict
	opposed   time.Time // when the addresses were last announced against another station
}

// Conflict is a Station and what is remembered of it.
type Conflict struct {
	Station
	Last  time.Time // when it was last seen
	Count int       // how often

	since   time.Time // when the present conflict began
	told    time.Time
	opposed time.Time // when the address was last announced against it
	back    time.Time // when it was first seen after that
	returns int       // how often it came back
}

// Heard takes in whether a peer, last heard at seen, holds the claim. Earlier answers of
// the link may be that peer's. One that is silent has said nothing new: when it dies
// its last word stands, and who answers a later question is not that peer.
func (l *Link) Heard(now, seen time.Time, peer string, holds Tri) {
	switch {
	case holds == Yes:
		if seen.After(l.word) {
			l.word = seen
		}
		if l.holders == nil {
			l.holders = map[string]bool{}
		}
		l.holders[peer] = true
	case holds == No && l.holders[peer]:
		l.word = now
		delete(l.holders, peer)
	}
}

// Word returns when a peer last said that it holds the claim, or that it has let go.
func (l *Link) Word() time.Time { return l.word }

// Ask reports whether the link may be asked now, and counts that as done.
func (l *Link) Ask(now time.Time) bool {
	if now.Sub(l.asked) < ProbeEvery {
		return false
	}
	l.asked = now
	return true
}

// Asked returns when the link was last asked.
func (l *Link) Asked() time.Time { return l.asked }

// Answer takes in who answered the last question.
func (l *Link) Answer(now time.Time, answers []Station) {
	l.answers, l.answered, l.about = answers, now, l.asked
}

// Answers returns who answered last.
func (l *Link) Answers() []Station { return l.answers }

// Answered returns when that was.
func (l *Link) Answered() time.Time { return l.answered }

// Stands says what the link answers, and who. Only what it was asked after a peer's last
// word counts: what is not known yet is Unknown, and so is whether a station is still
// there that was. A shell that does not answer in time holds up nothing.
func (l *Link) Stands(now time.Time) (Tri, string) {
	current := l.about.After(l.word)
	switch {
	case current && len(l.answers) > 0 && l.recent(now):
		return Yes, l.answers[0].String()
	case current && len(l.answers) == 0 && l.about.Equal(l.asked):
		return No, ""
	case l.asked.After(l.word) && l.about.Before(l.asked) && now.Sub(l.asked) >= probeFor:
		return No, ""
	}
	return Unknown, ""
}

// recent reports whether the answers are young enough to count; they also count until
// those are there that will replace them.
func (l *Link) recent(now time.Time) bool {
	if l.asked.After(l.answered) && now.Sub(l.asked) < probeFor {
		now = l.asked
	}
	return now.Sub(l.answered) <= answerFor
}

// See takes in that a station has an address although this node holds the claim, or
// nobody is known to. The result is nil when there are too many stations.
func (l *Link) See(at time.Time, which Station) *Conflict {
	l.conflicts = slices.DeleteFunc(l.conflicts, func(c *Conflict) bool { return at.Sub(c.Last) > forgetAfter })
	i := slices.IndexFunc(l.conflicts, func(c *Conflict) bool { return c.Station == which })
	if i < 0 {
		if len(l.conflicts) >= maxStations {
			return nil
		}
		i = len(l.conflicts)
		l.conflicts = append(l.conflicts, &Conflict{Station: which})
	}
	c := l.conflicts[i]
	if !at.After(c.Last) {
		return c // counted already
	}
	if at.Sub(c.Last) > tellEvery {
		c.since = at
	}
	c.Last = at
	c.Count++
	if c.back.Before(c.opposed) {
		c.back = at
		c.returns++
	}
	return c
}

// TellOnce reports whether the conflict has never been told, and counts it as told.
func (c *Conflict) TellOnce(now time.Time) bool {
	first := c.told.IsZero()
	if first {
		c.told = now
	}
	return first
}

// Stubborn reports whether the station came back so often that it is opposed no more.
func (c *Conflict) Stubborn() bool { return c.returns > maxOpposed }

// Confirmed returns the conflicts of a holding that began at since which have lasted long
// enough and are to be told now, and counts them as told.
func (l *Link) Confirmed(now, since time.Time) []*Conflict {
	var tell []*Conflict
	for _, c := range l.conflicts {
		if c.lasts(now, since) && c.Last.After(c.told) && (c.told.Before(c.since) || now.Sub(c.told) >= tellEvery) {
			c.told = now
			tell = append(tell, c)
		}
	}
	return tell
}

// Oppose returns the stations against which the address is to be announced now.
func (l *Link) Oppose(now, since time.Time) []Station {
	if now.Sub(l.opposed) < opposeEvery {
		return nil
	}
	var against []Station
	for _, c := range l.conflicts {
		if c.lasts(now, since) && c.Last.After(c.opposed) && !c.Stubborn() {
			c.opposed, l.opposed = now, now
			against = append(against, c.Station)
		}
	}
	return against
}

// lasts reports whether the conflict is with the present holding, and confirmed.
func (c *Conflict) lasts(now, since time.Time) bool {
	return !c.Last.Before(since) && !now.Before(c.confirmed(since))
}

func (c *Conflict) confirmed(since time.Time) time.Time {
	if since.Before(c.since) {
		since = c.since
	}
	return since.Add(confirmFor)
}

// Again reports whether it is time to ask stations that have answered whether they still
// do, while this node holds the claim since the given instant.
func (l *Link) Again(now, since time.Time) bool {
	return len(l.answers) > 0 && (!l.asked.After(since) || now.Sub(l.asked) >= tellEvery)
}

// Due returns when the next conflict of the holding is confirmed; zero: none will be.
func (l *Link) Due(now, since time.Time) time.Time {
	var next time.Time
	for _, c := range l.conflicts {
		if at := c.confirmed(since); !c.Last.Before(since) && now.Before(at) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// Conflicts returns all stations that are not forgotten yet.
func (l *Link) Conflicts(now time.Time) []Conflict {
	var all []Conflict
	for _, c := range l.conflicts {
		if now.Sub(c.Last) <= forgetAfter {
			all = append(all, *c)
		}
	}
	return all
}
