package sim

import (
	"fmt"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// Sighting is how one host stands with one claim at one instant, as somebody who sees
// everything would say: the kernel's and the service's truth, not the daemon's opinion.
type Sighting struct {
	Host    string
	Answers bool // the kernel answers for the claim's addresses
	// Exposed says that it answers only because its clocks stood still: the host has just
	// woken from a suspension and its daemon has not run yet, or from a pause by its
	// hypervisor and has not had the time to learn of it.
	Exposed bool
	Guard   bool // a guarded service of the claim runs
	Fenced  bool // the daemon has let go by force, all verified, and says that it stays out
	// Excused says that the guard should not run any more, and that nobody on this host
	// could stop it in time: see Host.excuse.
	Excused bool
}

// Checker judges a run. It knows nothing of how the facts come about, so that its
// tests can tell it histories.
type Checker struct {
	Problems []Problem
	// Only, if not 0, is the one rule to judge by.
	Only Rule
	// Overlap is for how long two guards of a claim ran at once by an excuse: the exposure
	// that a frozen daemon brings. Exposures counts two answers by an exposed one.
	Overlap   time.Duration
	Exposures int

	permits bool // lease or quorum: two holders are impossible
	claims  map[string]*checked
}

// checked is what is known of a claim.
type checked struct {
	token  arbiter.Token // the highest of any holding that others can know of
	holder string        // who had it
	gone   arbiter.Token // the highest that the witness has forgotten
	beside time.Duration // since when two guards run by an excuse
	both   bool
}

// NewChecker returns a checker. permits says that the mode gives permission: without
// it two nodes may hold, and only liveness is judged.
func NewChecker(permits bool) *Checker {
	return &Checker{permits: permits, claims: map[string]*checked{}}
}

// Fine reports whether nothing was found.
func (c *Checker) Fine() bool { return len(c.Problems) == 0 }

// Problem notes one.
func (c *Checker) Problem(now time.Duration, rule Rule, format string, args ...any) {
	if c.Only == 0 || c.Only == rule {
		c.Problems = append(c.Problems, Problem{now, rule, fmt.Sprintf(format, args...)})
	}
}

func (c *Checker) claim(name string) *checked {
	k := c.claims[name]
	if k == nil {
		k = &checked{}
		c.claims[name] = k
	}
	return k
}

// See judges one claim on all hosts at one instant: at most one answers for it and at
// most one runs its guard.
func (c *Checker) See(now time.Duration, claim string, seen []Sighting) {
	if !c.permits {
		return
	}
	var answer, guard string
	exposed, guards, running := false, 0, 0
	for _, s := range seen {
		if s.Fenced && (s.Answers || s.Guard && !s.Excused) {
			c.Problem(now, LetsGo, "%s is fenced from %s and has it all the same", s.Host, claim)
		}
		switch {
		case s.Answers && s.Exposed:
			exposed = true
		case s.Answers && answer != "":
			c.Problem(now, OneHolder, "two holders of %s: %s and %s answer for it", claim, answer, s.Host)
		case s.Answers:
			answer = s.Host
		}
		if !s.Guard {
			continue
		}
		running++
		if s.Excused {
			continue
		}
		if guards++; guards > 1 {
			c.Problem(now, OneGuard, "two guards of %s: on %s and %s", claim, guard, s.Host)
		}
		guard = s.Host
	}
	if exposed && answer != "" {
		c.Exposures++
	}
	c.measure(now, c.claim(claim), running > 1)
}

// measure sums up for how long two guards run.
func (c *Checker) measure(now time.Duration, k *checked, both bool) {
	if k.both {
		c.Overlap += now - k.beside
	}
	k.both, k.beside = both, now
}

// Took judges the token of a holding: it is above those of all holdings before it, and
// above the highest one that the node had been told of. The same node may begin anew or
// go on with the same token only by raising it.
func (c *Checker) Took(now time.Duration, claim, host string, token, known arbiter.Token) {
	k := c.claim(claim)
	switch {
	case token == 0:
		c.Problem(now, TokensGrow, "%s takes %s without a token", host, claim)
	case token <= known:
		c.Problem(now, TokensGrow, "%s takes %s with token %d, and knew of %d", host, claim, token, known)
	case token <= k.token:
		c.Problem(now, TokensGrow, "%s takes %s with token %d, but %s has had %d", host, claim, token, k.holder, k.token)
	}
	if token > k.gone {
		k.token, k.holder = max(k.token, token), host
	}
}

// Forgot says that something that remembers tokens has lost its memory: a disk is gone, or
// the witness was wiped or restored. What nobody knows nobody can exceed; what a node
// was told it still has to.
func (c *Checker) Forgot() {
	for _, k := range c.claims {
		k.token = 0
	}
}

// Unrecorded says that the witness has lost the record of a token that it had granted. A holding
// with it can begin later, and is known to nobody but its holder.
func (c *Checker) Unrecorded(claim string, token arbiter.Token) {
	k := c.claim(claim)
	k.gone = max(k.gone, token)
}

// Released judges that a node gives a claim away for others to take: nothing of it may
// be left there.
func (c *Checker) Released(now time.Duration, claim string, s Sighting) {
	if s.Answers {
		c.Problem(now, GuardsFirst, "%s releases %s and still answers for it", s.Host, claim)
	}
	if s.Guard {
		c.Problem(now, GuardsFirst, "%s releases %s and its guard still runs", s.Host, claim)
	}
}

// Gated judges an address that is put on: the gate must know it by then.
func (c *Checker) Gated(now time.Duration, claim, host string, known bool) {
	if !known {
		c.Problem(now, GateFirst, "%s puts the addresses of %s on, and its gate does not know them", host, claim)
	}
}

// Promised judges a promise: underway says that a take of the promiser's own has been sent or has
// happened, and that it does not know how that went.
func (c *Checker) Promised(now time.Duration, claim, host, to string, underway bool) {
	if underway {
		c.Problem(now, BoundPromise, "%s promises %s to %s, and a take of its own may still happen or has happened", host, claim, to)
	}
}

// Served judges the start of a service that runs on every node: not on one that is fenced
// from the claim.
func (c *Checker) Served(now time.Duration, claim, host string, fenced bool) {
	if fenced {
		c.Problem(now, LetsGo, "%s starts the service of %s that runs on all nodes, and is fenced", host, claim)
	}
}

// Denied judges what a node says of itself: that it does not hold, or that no guard runs.
func (c *Checker) Denied(now time.Duration, claim string, s Sighting, holds, guards bool) {
	if !holds && s.Answers {
		c.Problem(now, TrueWord, "%s says that it does not hold %s, and answers for it", s.Host, claim)
	}
	if !guards && s.Guard {
		c.Problem(now, TrueWord, "%s says that no guard of %s runs there, and one does", s.Host, claim)
	}
}

// Kept judges a node that could act all the time: over is for how long its permission
// has ended and something of the claim is there all the same, limit how long that may be.
func (c *Checker) Kept(now time.Duration, claim, host, what string, over, limit time.Duration) {
	if over > limit {
		c.Problem(now, LetsGo, "the permission of %s for %s ended %v ago and its %s is still there (limit %v)", host, claim, over, what, limit)
	}
}

// Lost judges that a holder let go of a claim, or had to: not while it was healthy and
// reached the witness, or as many voters as it needs, for as long as secure; cause says why it may
// all the same.
func (c *Checker) Lost(now time.Duration, claim, host string, secure, enough time.Duration, cause string) {
	if secure >= enough && cause == "" {
		c.Problem(now, KeepsHealthy, "%s loses %s although it was healthy and had its permission within reach for %v", host, claim, secure)
	}
}

// Held judges liveness: so long after the last fault exactly one node holds the claim,
// or the one that must.
func (c *Checker) Held(now time.Duration, claim string, holders []string, want string, after time.Duration) {
	switch {
	case len(holders) == 0:
		c.Problem(now, Live, "nobody holds %s %v after the last fault", claim, after)
	case len(holders) > 1:
		c.Problem(now, Live, "%v hold %s %v after the last fault", holders, claim, after)
	case want != "" && holders[0] != want:
		c.Problem(now, Live, "%s holds %s %v after the last fault, not %s", holders[0], claim, after, want)
	}
}
