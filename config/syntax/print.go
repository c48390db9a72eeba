package syntax

import (
	"io"
	"strings"
)

// Print writes the tree as a configuration: everything included and defined stands in
// place, comments are gone. Parsed again, it gives the same tree but for the places.
func (t *Tree) Print(w io.Writer) error {
	var b strings.Builder
	printNodes(&b, t.Nodes, 0)
	_, err := io.WriteString(w, b.String())
	return err
}

func printNodes(b *strings.Builder, nodes []*Node, depth int) {
	for _, n := range nodes {
		indent := strings.Repeat("    ", depth)
		b.WriteString(indent)
		line, quoted := escaped(n.line.s)
		if strings.HasPrefix(line, "@") {
			b.WriteString("@^ ") // a condition that always holds, so that this @ is text
		}
		b.WriteString(line)
		if n.Block {
			switch {
			case quoted: // the quote does not close: a brace behind it would be text
				b.WriteString("\n" + indent)
			case line != "":
				b.WriteByte(' ')
			}
			b.WriteString("{\n")
			printNodes(b, n.Children, depth+1)
			b.WriteString(indent + "}")
		}
		b.WriteByte('\n')
	}
}

// escaped returns a line so that what begins a comment outside quotes does not, and
// whether a quote is open at its end.
func escaped(s string) (line string, quoted bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			b.WriteByte(c)
			i++
			b.WriteString(literal(s[i], quoted, "${_HASH}", "${_BANG}"))
			continue
		case c == '"':
			quoted = !quoted
		}
		b.WriteString(literal(c, quoted, `\#`, `\!`))
	}
	return b.String(), quoted
}

// literal returns c, or what stands for it where it would begin a comment.
func literal(c byte, quoted bool, hash, bang string) string {
	switch {
	case c == '#' && !quoted:
		return hash
	case c == '!' && !quoted:
		return bang
	}
	return string([]byte{c})
}
