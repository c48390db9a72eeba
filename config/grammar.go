package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/solovip/solovip/config/syntax"
	"github.com/solovip/solovip/internal/nearest"
)

// ours are the sections of the blocks that solovip adds: nothing is tolerated in them.
var ours = []string{"cluster", "witness", "guard", "fencing"} //nolint:gochecknoglobals // a table

// named are the blocks that keepalived drops when more than a name stands before their {.
var named = []string{"vrrp_instance", "vrrp_sync_group", "cluster", "guard"} //nolint:gochecknoglobals // a table

// check holds the statements of one block against its section of the table. supported is
// false inside a block that does nothing yet: then only names are looked at.
func (l *loader) check(nodes []*syntax.Node, section string, supported bool) {
	for _, n := range nodes {
		if len(n.Words) == 0 { // the parser has said what is wrong with it
			l.bad[n] = true
			l.check(n.Children, section, supported)
			continue
		}
		r, ok := find(section, n.Keyword())
		if !ok {
			if r, ok = l.unknown(n, section); !ok {
				l.bad[n] = true
				continue
			}
		}
		l.checkNode(n, r, section, supported)
	}
}

// checkNode checks one statement whose keyword is known.
func (l *loader) checkNode(n *syntax.Node, r row, section string, supported bool) {
	if !l.checkWords(n, r, section) || !l.checkBlock(n, r, section, supported) {
		l.bad[n] = true
		return
	}
	if r.state != "yes" && supported {
		l.warn(head(n), r.note, "%s %s", r.keyword, withoutEffect(r))
	}
	if r.state != "yes" && r.state != "read" {
		l.bad[n] = true
		supported = false
	}
	switch {
	case r.inside == "*":
		for _, c := range n.Children {
			if c.Block && r.keyword != "agent" {
				l.fail(head(c), "close the block before it, or take the { out", "a block inside %s, which has entries only", r.keyword)
				l.bad[c] = true
			}
			if len(c.Words) == 0 {
				l.bad[c] = true
			}
		}
	case r.block():
		l.check(n.Children, r.inside, supported)
	}
}

// withoutEffect says what becomes of a keyword that is not in effect. It is the one place
// that tells, so what is wired to the daemon needs only its row of the table changed.
func withoutEffect(r row) string {
	switch {
	case r.state == "old":
		return "is obsolete and has no effect"
	case r.state == "read" && r.block():
		return "is not supported yet: the block is checked, and has no effect"
	case r.state == "read":
		return "is not supported yet: it is checked, and has no effect"
	case r.block():
		return "is not supported yet: the block has no effect"
	}
	return "is not supported yet"
}

// checkWords looks at whether the keyword has the value it needs.
func (l *loader) checkWords(n *syntax.Node, r row, section string) bool {
	args := n.Args()
	switch {
	case r.args == "1" && len(args) == 0:
		what := "a value"
		if r.block() {
			what = "a name"
		}
		l.fail(behind(n), "write "+what+" behind it", "%s without %s%s", r.keyword, what, inKeepalived(section, r, ": keepalived exits over this, also at a reload"))
		return false
	case r.args == "1" && args[0].Glued && args[0].Quoted && isCommand(r.keyword):
		l.fail(args[0], fmt.Sprintf("a space is missing after %s: %s %s", r.keyword, r.keyword, quote(args[0].Text)),
			"%s runs into its value: keepalived takes it as having none", r.keyword)
		return true // what follows is checked as it is meant
	case r.args == "0" && len(args) > 0 && slices.Contains(addressLists, r.keyword):
		l.fail(args[0], "put each address on a line of its own between { and }", "%s is not in the block: keepalived loses it", quote(args[0].Text))
	case r.args == "0" && len(args) > 0:
		l.warn(args[0], "take it out", "%s takes no value: %s is ignored", r.keyword, quote(args[0].Text))
	case slices.Contains(named, r.keyword) && len(args) > 1:
		l.fail(args[1], "one name, without blanks or in double quotes", "%s takes one name%s", r.keyword, inKeepalived(section, r, ": keepalived drops a block with more"))
	}
	return true
}

// checkBlock looks at whether the keyword has a block if, and only if, it should.
func (l *loader) checkBlock(n *syntax.Node, r row, section string, supported bool) bool {
	switch {
	case r.block() && !n.Block:
		l.fail(behind(n), "write { behind it and } where its block ends", "%s without its block%s", r.keyword, inKeepalived(section, r, ": keepalived loses what follows"))
		return false
	case !r.block() && n.Block:
		l.fail(syntax.Word{Pos: n.Open, Width: 1}, "take the { and its } out",
			"%s has no block%s", r.keyword, inKeepalived(section, r, ": keepalived ignores the {, and its } closes the block around"))
		l.check(n.Children, section, supported)
		return false
	}
	return true
}

// inKeepalived returns what keepalived does about a mistake; nothing when keepalived does
// not know the keyword.
func inKeepalived(section string, r row, effect string) string {
	if slices.Contains(ours, section) || section == "root" && slices.Contains(ours, r.keyword) {
		return ""
	}
	return effect
}

// isCommand reports whether the value of the keyword is a command.
func isCommand(keyword string) bool {
	switch keyword {
	case "script", "start", "stop", "status", "health", "misc_path", "quorum_up", "quorum_down", "startup_script", "shutdown_script":
		return true
	}
	return strings.HasPrefix(keyword, "notify") && !strings.HasPrefix(keyword, "notification") ||
		strings.HasSuffix(keyword, "_fifo_script")
}

// unknown adds the finding for a keyword that its block does not know. It returns the row
// to go on with when a block was meant for sure: the finding is an error, and what is
// in the block is checked as it was meant.
func (l *loader) unknown(n *syntax.Node, section string) (row, bool) {
	word := n.Words[0]
	meant, remedy := guess(section, word.Text)
	if found := elsewhere(word.Text); found != "" {
		meant, remedy = unknownRow(), found
	}
	sev, effect := Warning, "keepalived ignores it"
	switch {
	case n.Block:
		sev, effect = Error, "keepalived reads on inside it, and its } closes the block around it"
		if section == "root" {
			effect = "keepalived loses all that is in it"
		}
	case slices.Contains(ours, section):
		sev, effect = Error, "mistakes are not tolerated here"
	case meant.block():
		sev, effect = Error, "keepalived loses the block"
	}
	where := "in " + section
	if section == "root" {
		where = "outside of blocks"
	}
	l.add(sev, word, remedy, "unknown keyword %s %s: %s", quote(word.Text), where, effect)
	if n.Block && meant.block() {
		l.repair(n, meant)
		return meant, true
	}
	return row{}, false
}

// unknownRow returns the row of a keyword that nothing is known of.
func unknownRow() row { return row{inside: "-"} }

// guess finds out what an unknown keyword of a section was meant to be, and the remedy.
func guess(section, word string) (row, string) {
	var names []string
	glued := unknownRow()
	for _, r := range sections()[section] {
		names = append(names, r.keyword)
		if strings.HasPrefix(word, r.keyword) && len(r.keyword) > len(glued.keyword) {
			glued = r
		}
	}
	rest := strings.TrimPrefix(word, glued.keyword)
	if value, ok := strings.CutPrefix(rest, "="); ok && glued.keyword != "" {
		return unknownRow(), fmt.Sprintf("no equals sign: %s %s", glued.keyword, value)
	}
	near := nearest.Word(word, names)
	letters := strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz_") == ""
	if glued.keyword != "" && glued.args != "0" && (near == "" || !letters) {
		return glued, fmt.Sprintf("a space is missing after %s: %s %s", glued.keyword, glued.keyword, rest)
	}
	if near != "" {
		r, _ := find(section, near)
		return r, "did you mean " + quote(near) + "?"
	}
	return unknownRow(), ""
}

// elsewhere returns the remedy for a keyword that another block knows.
func elsewhere(word string) string {
	home := homes(word)
	switch {
	case len(home) == 0:
		return ""
	case home[0] == "root":
		return "it belongs outside of blocks: is a } missing above?"
	}
	return "it belongs in " + strings.Join(home[:min(len(home), 2)], " or ") + ": is there a } too many above, or one too few?"
}

// repair makes the statement what it was meant to be, so that the findings that follow
// are about something else.
func (l *loader) repair(n *syntax.Node, r row) {
	word := n.Words[0]
	if rest, ok := strings.CutPrefix(word.Text, r.keyword); ok && rest != "" {
		name := syntax.Word{Text: rest, Pos: word.Pos, Via: word.Via, Width: len([]rune(rest))}
		name.Pos.Col += len([]rune(r.keyword))
		word.Width = len([]rune(r.keyword))
		n.Words = slices.Insert(n.Words, 1, name)
	}
	word.Text = r.keyword
	n.Words[0] = word
}
