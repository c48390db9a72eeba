package sim

import (
	"fmt"
	"time"
)

// Rule is what a Checker judges by. The zero Rule is none.
type Rule uint8

// The rules. All but the last three are about safety.
const (
	OneHolder    Rule = iota + 1 // at most one host answers for a claim
	OneGuard                     // at most one runs its guarded service
	TokensGrow                   // each holding's token is above all before it
	GateFirst                    // no address is there that the gate does not know
	GuardsFirst                  // nothing of a claim is left when it is released
	TrueWord                     // nobody denies what is there
	LetsGo                       // what nobody permits any more goes, and stays away
	BoundPromise                 // no promise while a take of one's own may still happen
	KeepsHealthy                 // a healthy holder that reaches enough others is left alone
	Live                         // so long after the last fault one healthy node holds
	NoSpin                       // time passes
)

// String returns the rule's name.
func (r Rule) String() string {
	names := [...]string{
		"none", "one-holder", "one-guard", "tokens-grow", "gate-first", "guards-first", "true-word", "lets-go", "bound-promise",
		"keeps-healthy", "live", "no-spin",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("Rule(%d)", uint8(r))
}

// RuleNamed returns the rule of that name; false: there is none.
func RuleNamed(name string) (Rule, bool) {
	for r := OneHolder; r <= NoSpin; r++ {
		if r.String() == name {
			return r, true
		}
	}
	return 0, false
}

// Problem is a rule that was broken.
type Problem struct {
	At   time.Duration
	Rule Rule
	Text string
}

// String returns the problem in a line.
func (p Problem) String() string {
	return fmt.Sprintf("%.6f s: %v: %s", p.At.Seconds(), p.Rule, p.Text)
}
