package text

import (
	"strings"

	"github.com/solovip/solovip/node"
)

// Fence returns what `solovip fence status` prints: the verdict and its reason, then for
// each claim the permission left and what would happen if the witness or the peers
// were lost now. width is the number of columns.
func Fence(s node.Snapshot, width int) string {
	p := newPage(width)
	p.line(strings.ToUpper(string(s.Safety))+": ", s.SafetyWhy)
	for _, c := range s.Claims {
		p.gap()
		p.line("", fenceClaim(s, c))
		if c.Fenced != nil {
			p.line("  FENCED:  ", fencedText(c.Fenced))
		}
		p.ifLost(c)
	}
	p.gap()
	p.line("mode     ", s.Mode+": "+s.ModeInWords)
	p.witness(s)
	if s.LedgerError != "" {
		p.line("ledger   ", "NOT WRITTEN: "+s.LedgerError)
	}
	p.line("node     ", s.Node+doing(s))
	return p.out.String()
}

func fenceClaim(s node.Snapshot, c node.ClaimSnapshot) string {
	switch {
	case held(c):
		return c.Name + ": held by " + s.Node + ", this node; permission: " + permission(c)
	case c.Holder != "":
		return c.Name + ": held by " + c.Holder + " (" + c.HolderBy + ")"
	}
	return c.Name + ": held by NOBODY that this node knows of"
}
