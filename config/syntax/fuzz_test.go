package syntax

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// shape returns a tree without its places, one statement a line.
func shape(nodes []*Node, indent string) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(indent)
		for _, w := range n.Words {
			fmt.Fprintf(&b, "%q ", w.Text)
		}
		words, err := n.Script()
		fmt.Fprintf(&b, "| ")
		for _, w := range words {
			fmt.Fprintf(&b, "%q ", w.Text)
		}
		fmt.Fprintf(&b, "| %v %t\n%s", err, n.Block, shape(n.Children, indent+" "))
	}
	return b.String()
}

// FuzzParse: no input panics or costs without bound, every word knows a place that exists,
// and what is printed parses to the same tree.
func FuzzParse(f *testing.F) {
	seeds := []string{
		"vrrp_instance VI_1 {\n state MASTER # c\n virtual_ipaddress {\n 10.0.0.1/24 dev eth0\n }\n}\n",
		"a { b } c {\n}\n} {\n{ x \"y\n",
		"$A=1\n$N= \\\n a $A \\\n b {\n$N\nx ${A}y $A, ${B} \"${B}\"",
		"~SEQ(i,1,3) ~LST({a,b},{1,2},{3}) x${i} ${a}${b}\n~SEQx(i,10,1) $i",
		"@lb1 @x a\n@^lb1 b\ninclude d/{a,b}*.inc\ninclude self",
		"x\\#y \\\\#z \"a\\\" # b\" '!' ${_HASH} \\${_BANG} ${_RANDOM 1 2} ${_ENV SECRET} ${_PWD}",
		"\ufeffa\u00a0\u201cb c\u201d\uff5b\r\n}\r\n",
		"$A=$A$A\n$A\n$B= \\\n $B \\\n $B\n$B",
		"s \"/bin/x 'a b' \\x41 \\101\"\nk\\\"l {",
	}
	for _, s := range seeds {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, in, included string) {
		opt := options(map[string]string{
			"etc/k/k.conf": in, "etc/k/self": in, "etc/k/d/a.inc": included,
		})
		tree, report := Parse("k.conf", opt)
		var rendered strings.Builder
		if err := report.Render(&rendered); err != nil {
			t.Fatal(err)
		}
		var walk func([]*Node)
		walk = func(nodes []*Node) {
			for _, n := range nodes {
				for _, w := range n.Words {
					if lines := report.lines[w.Pos.File]; w.Pos.Line < 1 || w.Pos.Line > len(lines) || w.Pos.Col < 1 {
						t.Fatalf("word %q has no place: %v", w.Text, w.Pos)
					}
				}
				walk(n.Children)
			}
		}
		walk(tree.Nodes)

		if !utf8.ValidString(in) || !utf8.ValidString(included) {
			return // an invisible character that goes can join broken bytes to another
		}
		var printed strings.Builder
		if err := tree.Print(&printed); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(printed.String()) {
			if len(line) > maxLineBytes {
				return // expanded and escaped, the line is too long to be read again
			}
		}
		opt = options(map[string]string{"etc/k/k.conf": printed.String()})
		opt.MaxLines *= 4 // each brace takes a line now
		again, _ := Parse("k.conf", opt)
		if diff := cmp.Diff(shape(tree.Nodes, ""), shape(again.Nodes, "")); diff != "" {
			t.Errorf("parsed again (-first +second):\n%s\nprinted:\n%s", diff, printed.String())
		}
	})
}
