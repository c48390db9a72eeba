package text

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/node"
)

// Status returns what `solovip status` prints: who holds what since when and by which
// permission, then what each peer says, the witness, and the mode. now is the wall
// clock, width the number of columns.
func Status(s node.Snapshot, now time.Time, width int) string {
	p := newPage(width)
	for _, c := range s.Claims {
		p.claim(s, c, now)
		p.gap()
	}
	if len(s.Claims) == 0 {
		p.line("", "no claims are configured: "+s.Node+" holds nothing")
		p.gap()
	}
	if len(s.Peers) > 0 {
		p.table(peerRows(s.Peers))
		p.gap()
	}
	p.witness(s)
	if s.LedgerError != "" {
		p.line("ledger   ", "NOT WRITTEN: "+s.LedgerError)
	}
	p.line("mode     ", s.Mode+": "+s.ModeInWords)
	p.line("safety   ", string(s.Safety)+": "+s.SafetyWhy)
	if s.Watchdog != nil {
		p.line("watchdog ", watchdog(*s.Watchdog))
	}
	p.line("node     ", s.Node+", up "+span(s.UptimeMS)+doing(s))
	return p.out.String()
}

// watchdog says what resets this machine when all else fails.
func watchdog(w node.WatchdogSnapshot) string {
	text := w.Mode
	if w.TimeoutMS > 0 {
		text += fmt.Sprintf(": resets this machine when it is not petted for %s; petted %s ago", span(w.TimeoutMS), span(w.PettedMS))
	}
	if w.Trouble != "" {
		text += ": " + w.Trouble
	}
	return text
}

// claim writes one claim: its holder, then how this node stands to it.
func (p *page) claim(s node.Snapshot, c node.ClaimSnapshot, now time.Time) {
	p.line("", holder(s, c, now))
	if held(c) {
		p.line("  permission  ", permission(c))
	}
	p.line("  this node   ", standing(c, now))
	if c.Fenced != nil {
		p.line("  FENCED      ", fencedText(c.Fenced))
	}
	for _, in := range c.Instances {
		if len(c.Instances) > 1 || in.Name != c.Name || in.Fault != "" {
			p.line("  instance    ", instance(in))
		}
	}
	if !held(c) && c.Why != "" {
		p.line("  because     ", c.Why)
	}
	for _, other := range c.Conflicts {
		p.line("  conflict    ", conflict(other))
	}
	p.ifLost(c)
}

// ifLost writes what would happen if the witness or the peers were lost now.
func (p *page) ifLost(c node.ClaimSnapshot) {
	if c.WitnessLost != "" {
		p.line("  if the witness is lost now:  ", c.WitnessLost)
	}
	if c.PeersLost != "" {
		p.line("  if the peers are lost now:   ", c.PeersLost)
	}
}

func held(c node.ClaimSnapshot) bool { return c.Phase == node.Held.String() }

func holder(s node.Snapshot, c node.ClaimSnapshot, now time.Time) string {
	switch {
	case held(c):
		return fmt.Sprintf("%s: held by %s, this node, since %s", c.Name, s.Node, since(now, c.SinceMS))
	case c.Holder != "":
		return fmt.Sprintf("%s: held by %s (%s)", c.Name, c.Holder, c.HolderBy)
	}
	return fmt.Sprintf("%s: held by NOBODY that this node knows of", c.Name)
}

func permission(c node.ClaimSnapshot) string {
	if c.RemainingMS < 0 {
		return "no deadline: " + c.Permission
	}
	return fmt.Sprintf("%d ms left, %s", c.RemainingMS, c.Permission)
}

func standing(c node.ClaimSnapshot, now time.Time) string {
	parts := []string{c.State}
	if !held(c) && c.Phase != node.Idle.String() {
		parts = append(parts, fmt.Sprintf("%s since %s", c.Phase, span(c.SinceMS)))
	} else if !held(c) && len(c.Instances) > 0 {
		parts[0] += " since " + since(now, c.Instances[0].SinceMS)
	}
	parts = append(parts, fmt.Sprintf("priority %d", c.Priority))
	if c.Token > 0 {
		parts = append(parts, fmt.Sprintf("token %d", c.Token))
	}
	if c.Guards != "" {
		parts = append(parts, "guards "+c.Guards)
	}
	return strings.Join(parts, ", ")
}

func instance(in node.InstanceSnapshot) string {
	text := fmt.Sprintf("%s (VRID %d): %s, priority %d, for %s", in.Name, in.VRID, in.State, in.Priority, span(in.SinceMS))
	if in.Fault != "" {
		text += ": " + in.Fault
	}
	return text
}

func conflict(c node.ConflictSnapshot) string {
	return fmt.Sprintf("%s has %s too, last seen %s ago, count %d", c.Station, c.Address, span(c.LastMS), c.Count)
}

// peerRows returns the table of peers; what a peer says of a second claim stands in a
// row of its own.
func peerRows(peers []node.PeerSnapshot) [][]string {
	rows := [][]string{{"PEER", "ALIVE", "HEARD", "WITNESS", "SAYS"}}
	for _, p := range peers {
		beat := "-"
		if p.BeatMS >= 0 {
			beat = span(p.BeatMS)
		}
		says := peerSays(p)
		rows = append(rows, []string{p.Name, p.Alive, heard(p), beat, says[0]})
		for _, more := range says[1:] {
			rows = append(rows, []string{"", "", "", "", more})
		}
	}
	return rows
}

// heard says how old the peer's last word is and how it came; if by a relay, also when
// the peer was last heard itself.
func heard(p node.PeerSnapshot) string {
	switch {
	case p.AgeMS < 0:
		return "never"
	case p.DirectMS == p.AgeMS:
		return span(p.AgeMS) + " direct"
	case p.DirectMS < 0:
		return fmt.Sprintf("%s %s, never direct", span(p.AgeMS), p.Path)
	}
	return fmt.Sprintf("%s %s, direct %s", span(p.AgeMS), p.Path, span(p.DirectMS))
}

func peerSays(p node.PeerSnapshot) []string {
	var says []string
	for _, c := range p.Claims {
		says = append(says, claimReport(c))
	}
	switch {
	case len(says) > 0:
		return says
	case p.Witness:
		return []string{"mesh witness"}
	case p.AgeMS < 0:
		return []string{"-"}
	}
	return []string{"nothing of any claim"}
}

func claimReport(c arbiter.ClaimReport) string {
	text := c.Claim + " " + c.State
	if c.Holds {
		text += " HOLDS"
	}
	text += fmt.Sprintf(" prio %d token %d", c.Priority, c.Token)
	if c.Guards {
		text += " guards"
	}
	if c.Barred != "" {
		text += ", barred: " + c.Barred
	}
	return text
}

func (p *page) witness(s node.Snapshot) {
	w := s.Witness
	if w == nil {
		p.line("witness  ", "none is configured")
		return
	}
	text := fmt.Sprintf("answered %s ago", span(w.AnsweredMS))
	if w.AnsweredMS < 0 {
		text = "never answered"
	}
	if w.Silent {
		text = "SILENT, " + text
	}
	text += fmt.Sprintf(" (renew %d ms, hold %d ms, wait %d ms)", w.RenewMS, w.HoldMS, w.WaitMS)
	if wrong := cmp.Or(w.Condition, w.Error); wrong != "" {
		text += ": " + wrong
	}
	p.line("witness  ", text)
}

// doing says what the node does beyond taking part.
func doing(s node.Snapshot) string {
	text := ""
	if s.Standby {
		text += ", STANDBY: takes nothing until 'solovip standby off'"
	}
	if s.Stopping {
		text += ", STOPPING"
	}
	return text
}
