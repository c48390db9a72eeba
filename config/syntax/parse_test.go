package syntax

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// options reads the files given and makes everything that varies between hosts known.
func options(files map[string]string) Options {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Options{
		FS: fsys, Dir: "/etc/k", ID: "lb1", MaxLines: 5000,
		Getenv: func(name string) (string, bool) { return "secret", name == "SECRET" },
		Random: func(_, hi int) int { return hi },
	}
}

// parse parses one file.
func parse(text string) (*Tree, *Report) {
	return Parse("/etc/k/k.conf", options(map[string]string{"etc/k/k.conf": text}))
}

// flat returns the tree in one line: words in brackets, blocks in braces.
func flat(nodes []*Node) string {
	var b strings.Builder
	for i, n := range nodes {
		if i > 0 {
			b.WriteString(" ")
		}
		for _, w := range n.Words {
			fmt.Fprintf(&b, "[%s]", w.Text)
		}
		if n.Block {
			fmt.Fprintf(&b, "{%s}", flat(n.Children))
		}
	}
	return b.String()
}

// texts returns what the findings say, without what does not matter to a test.
func texts(r *Report) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%d:%d %s: %s", f.Pos.Line, f.Pos.Col, f.Severity, f.Text))
	}
	return out
}

// TestLines holds what keepalived 2.2.7 was seen to make of these lines, where it makes
// something of them, unless the row says otherwise.
func TestLines(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"words", "a b\tc\vd\fe", "[a][b][c][d][e]"},
		{"quotes part words", `"a b"c'd e' tail`, "[a b][c'd][e'][tail]"},
		{"quoted within", `ab"c d"ef x`, "[ab][c d][ef][x]"},
		{"single quotes are text", `'q r' s`, "['q][r'][s]"},
		{"empty quotes", `"" "" """f"`, "[][][][f]"},
		{"tabs in backslash text", `\x41 z`, `[\x41][z]`},
		{"comments", "a # b\n! c \"x\n  # d {\ne! f", "[a] [e]"},
		{"comment signs in quotes", `x"a#b" "c!d" z`, "[x][a#b][c!d][z]"},
		{"escaped comment signs", `x\#y x\!y z`, "[x#y][x!y][z]"},
		{"escaped backslash", `a\\#b c`, `[a\\]`},
		{"escaped quote hides a comment sign", `x "a\" # b"c" y`, `[x][a\][#][b][c][y]`},
		{"single quotes hide no comment", `a '#' b`, `[a][']`},
		{"CRLF", "a b\r\nc {\r\nd\r\n}\r\n", "[a][b] [c]{[d]}"},
		{"braces anywhere", "a { b { c } d\n}", "[a]{[b]{[c]} [d]}"},
		{"brace in the next line", "a b\n\n{ c\n}", "[a][b]{[c]}"},
		{"brace without a blank", "a{\nb{c}}", "[a]{[b]{[c]}}"},
		{"braces in quotes", `a "{" "}" b`, "[a][{][}][b]"},
		{"text after braces", "a {\n} b {\n} c", "[a]{} [b]{} [c]"},
		{"no line end", "a", "[a]"},
		{"nothing", "\n\n  \n", ""},

		{"id", "@lb1 a\n@lb2 b\n@^lb1 c\n@^lb2 d", "[a] [d]"},
		{"id alone, id apart", "@lb1\n@ a\n@^ b", "[b]"},
		{"id is the whole word", "@lb1x a\n@lb1\"x\" b\n  @lb1\tc", "[c]"},
		{"one id a line", "@lb1 @lb2 a\nx @lb2 a", "[@lb2][a] [x][@lb2][a]"},
		{"id after a brace", "k { @lb1 x\n}\nk { @lb2 x\n}", "[k]{[x]} [k]{}"},
		{"id before a brace", "@lb1 a {\nb\n@lb1 }", "[a]{[b]}"},
		{"id with a definition", "@lb1 $A=1\n@lb2 $A=2\nx $A", "[x][1]"},
		{"id of another, several lines", "@lb2 $A= \\\n a \\\n b\nx", "[x]"},
		{"id by definition", "$M=@lb1\n$O=@lb2\n$M a\n$O b", "[a]"},
		{"id is not substituted", "$M=lb1\n@$M a\n@${M} b", ""},

		{"definition", "$A=v\na $A b${A}c $A", "[a][v][bvc][v]"},
		{"bare name needs an end", "$A=v\n$A, $A) z", "[v,][v)][z]"},
		{"value is trimmed", "$A=  v w  \nx ${A}|", "[x][v][w|]"},
		{"empty value", "$A=\nx $A y${A}z", "[x][yz]"},
		{"lazy and recursive", "$A=10.2.${S}\n$S=0\n${A}.1\n$S=9\n${A}.1", "[10.2.0.1] [10.2.9.1]"},
		{"quotes in values", "$A=\"a b\"\nx $A \"$A \"", "[x][a b][][a][b][ ]"},
		{"in quotes", "$A=v\nx \"$A y\" \"${A}z\" '${A}'", "[x][v y][vz]['v']"},
		{"not defined", `a $B "${B} c" $ ${ d`, "[a][$B][${B} c][$][$]{[d]}"},
		{"blank before the equals sign", "$A=1\n$A = x", "[1][=][x]"},
		{"names", "$1A=q\n$A-B=q\n$_a1=z\nx $_a1", "[$1A=q] [$A-B=q] [x][z]"},
		{"after a brace", "k { $A=1\nz $A\n}", "[k]{[z][1]}"},
		{"defined by a definition", "$Z=$Y=5\n$Z\nz $Y", "[z][5]"},
		{"brace in a value", "$Q=k {\n$Q\na\n}", "[k]{[a]}"},
		{"backslash before it", "$A=v\n\\$A z", `[\v][z]`},
		{"comment behind a value", "$A=v # c\nx $A", "[x][v]"},

		{"several lines", "$N= \\\n l1 a \\\n l2 { \\\n b \\\n }\nx $N\n${N}", "[x][l1][a] [l2]{[b]} [l1][a] [l2]{[b]}"},
		{"several lines, comments", "$N= \\ # c\n a # c \\\n # c \\\n b\n$N", "[a] [b]"},
		{"several lines end at a blank one", "$N= \\\n a \\\n\nb\n$N", "[b] [a]"},
		{"several lines, CRLF", "$N= \\\r\n a \\\r\n b\r\n$N\r\n", "[a] [b]"},
		{"definitions in several lines", "$N= \\\n a \\\n $Y=5 \\\n @lb1 b \\\n @lb2 c\n$N\n$Y", "[a] [b] [5]"},
		{"several lines nest", "$X= \\\n x \\\n y\n$N= \\\n a \\\n $X \\\n b\n$N", "[a] [x] [y] [b]"},
		{"backslash elsewhere", "a \\\nb", `[a][\] [b]`},

		{"own names", "x ${_PWD} ${_INSTANCE} a${_BANG}b \"${_HASH}\" $_PWD z", "[x][/etc/k][lb1][a!b][#][/etc/k][z]"},
		{"random", "x ${_RANDOM} ${_RANDOM 3 7} $_RANDOM", "[x][32767][7][32767]"},
		{"environment", "x ${_ENV SECRET}", "[x][secret]"},

		{"sequence", "~SEQ(i,1,3) a${i}b", "[a1b] [a2b] [a3b]"},
		{"sequence, blanks", " ~SEQ (i, 1 , 2) a $i", "[a][1] [a][2]"},
		{"sequence, end only", "~SEQ(i,2) a${i}\n~SEQ(i,-2) a${i}", "[a1] [a2] [a-1] [a-2]"},
		{"sequence, down", "~SEQ(i,3,1) a${i}\n~SEQ(i,5,-2,1) b${i}", "[a3] [a2] [a1] [b5] [b3] [b1]"},
		{"sequence, step", "~SEQ(i,1,2,6) a${i}", "[a1] [a3] [a5]"},
		{"sequence, hexadecimal", "~SEQx(i,8,10) a${i}\n~SEQx(i,0xF,0x11) b${i}", "[a8] [a9] [aa] [bf] [b10] [b11]"},
		{"sequence, other bases", "~SEQ(i,0x8,9) a${i}\n~SEQ(i,010,9) b${i}", "[a8] [a9] [b8] [b9]"},
		{"sequence, definitions", "$N=2\n~SEQ(i,1,$N) a$i\n~SEQ(i,1,${N}) b${i}", "[a1] [a2] [b1] [b2]"},
		{"sequences nest", "~SEQ(i,1,2) ~SEQ(j,1,$i) a${i}.${j}", "[a1.1] [a2.1] [a2.2]"},
		{"sequence hides a definition", "$A=v\n~SEQ(A,1,2) x $A\ny $A", "[x][1] [x][2] [y][2]"},
		{"sequence of several lines", "$N= \\\n a${i} { \\\n }\n~SEQ(i,1,2) $N", "[a1]{} [a2]{}"},
		{"sequence with id", "@lb1 ~SEQ(i,1,2) a$i\n~SEQ(i,1,2) @lb2 b", "[a1] [a2]"},
		{"sequence after a brace", "k { ~SEQ(i,1,2) x${i}\n}", "[k]{[x1] [x2]}"},
		{"sequence by definition", "$Z=~SEQ(i,1,2)\n$Z a${i}", "[a1] [a2]"},
		{"sequence elsewhere is text", "x ~SEQ(i,1,2) a", "[x][~SEQ(i,1,2)][a]"},

		{"list", "~LST(i,a, b) x$i", "[xa] [xb]"},
		{"list, empty value", "~LST(i,a,,c) x${i}", "[xa] [x] [xc]"},
		{"list of tuples", "~LST({i,  j}, {a,b},{c}) ${i}-${j}", "[a-b] [c-]"},
		{"list and sequence", "~LST(i,a,b) ~SEQ(j,1,2) ${i}.${j}", "[a.1] [a.2] [b.1] [b.2]"},
		{"list in quotes", `~LST(i,a,b) "q $i x" z`, "[q a x][z] [q b x][z]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, _ := parse(tt.in)
			if got := flat(tree.Nodes); got != tt.want {
				t.Errorf("parse(%q)\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

// TestFindings names what keepalived loses in silence or crashes over.
func TestFindings(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
	}{
		{"clean", "a { b\n}\n# \u201cx\u201d\u00a0", nil},
		{"missing brace", "a {\n b {\n c\n }\n", []string{`1:1 error: } is missing: the block "a" is open at the end of the file (line 4)`}},
		{"extra brace", "a x {\n}\n\n}", []string{`4:1 error: } too many: the last block, "a x" of line 1, was closed in line 2`}},
		{"brace alone", "{\na\n}", []string{"1:1 error: { without a keyword before it: keepalived ignores it, and its } then closes the block around it"}},
		{"quote", "a \"b c\nd", []string{"1:3 error: double quote that does not close before the end of the line: keepalived loses the text behind it"}},
		{"undefined in braces", "a ${B} c", []string{"1:3 error: ${B} is not defined: keepalived takes its braces for a block"}},
		{"defined, not replaced", "$A=v\na $A/24", []string{`2:3 warning: $A is not replaced, because "/" follows it`}},
		{"uses itself", "$A=$A x\na $A", []string{"2:1 error: definition that uses itself, or uses too many others: the line is not read"}},
		{"uses itself in lines", "$A= \\\n x \\\n $A\n$A", []string{"3:2 error: definition that uses itself, or uses too many others: the line is not read"}},
		{"text in the first line", "$A=x \\\n y\n$A", []string{"1:4 error: text behind the = of a definition of several lines: keepalived loses the other lines"}},
		{"text behind several lines", "$A= \\\n x \\\n y\n$A z", []string{"4:4 warning: text behind $A, a definition of several lines: keepalived would not put it in"}},
		{"NUL", "a\x00b", []string{"1:1 error: line with a NUL byte: keepalived drops it"}},
		{"long line", "a " + strings.Repeat("x", 1022), []string{"1:1 error: line of 1024 bytes: keepalived drops lines longer than 1023"}},
		{"random", "a ${_RANDOM 7 3}", []string{"1:3 error: bad range in ${_RANDOM 7 3}"}},
		{"environment", "a ${_ENV NOPE}", []string{`1:3 error: environment variable "NOPE" is not set`}},
		{"sequence", "~SEQ(i,1,0,6) a", []string{"1:1 error: ~SEQ: step 0 does not lead from 1 to 6: keepalived drops the line"}},
		{"sequence, wrong way", "~SEQ(i,1,-1,3) a", []string{"1:1 error: ~SEQ: step -1 does not lead from 1 to 3: keepalived drops the line"}},
		{"sequence, not closed", "~SEQ(i,1,2 a", []string{"1:1 error: ~SEQ without its parentheses: keepalived drops the line"}},
		{"sequence, no number", "~SEQ(i,1.5,2) a", []string{`1:1 error: ~SEQ: "1.5" is no whole number: keepalived drops the line`}},
		{"sequence, negative", "~SEQx(i,-1,1) a", []string{"1:1 error: ~SEQ: hexadecimal values cannot be negative: keepalived drops the line"}},
		{"list without values", "~LST(i) a", []string{"1:1 error: ~LST: no values: keepalived drops the line"}},
		{"list, too many", "~LST({i,j},{a,b,c}) x", []string{"1:1 error: ~LST: 3 values for 2 names: keepalived drops the line"}},
		{"list with blanks", "~LST(i,a b) x", []string{`1:1 error: ~LST: a value may hold neither blanks nor quotes nor braces: "a b": keepalived drops the line`}},
		{"endless sequence", "~SEQ(i,1,2000000000) a", []string{"1:1 error: more than 5000 lines after expansion: the rest is not read"}},
		{"no-break spaces", "a\u00a0b\n\u00a0c # \u00a0\n", []string{"1:2 error: a no-break space (U+00A0), 2 times in this file, first here: keepalived does not take it for a blank, so words run together"}},
		{"byte order mark", "\ufeffa", []string{"1:1 error: a byte order mark (U+FEFF), once in this file: it becomes part of the word beside it"}},
		{"typographic quotes", "a \u201cb c\u201d", []string{
			"1:3 error: a typographic quote (U+201C), 2 times in this file, first here: keepalived does not take it for a quote, so the text falls apart at its blanks",
		}},
		{"typographic in plain quotes", "a \"\u201cb\u201d\"", nil},
		{"fullwidth brace", "a \uff5b\nb\n}", []string{`1:3 error: a fullwidth brace (U+FF5B), once in this file: keepalived does not take it for a "{"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, report := parse(tt.in)
			if diff := cmp.Diff(tt.want, texts(report)); diff != "" {
				t.Errorf("findings of %q (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

// TestLookalikesAreReadAsMeant shows that the one finding is not followed by others: the
// tree is as if the plain characters stood there.
func TestLookalikesAreReadAsMeant(t *testing.T) {
	tree, report := parse("\ufeffscript\u00a0\u201ckillall\u00a0-0\u3000nginx\u201d\u00a0\uff5b\n\u200b\u00a0\n}\n")
	if got, want := flat(tree.Nodes), "[script][killall -0 nginx]{}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := len(report.Findings); n != 6 {
		t.Errorf("%d findings, want one for each of the 6 kinds of characters: %q", n, texts(report))
	}
}

// TestLevelFindsTheMissingBrace shows that a caller that knows the keywords gets the
// finding where the brace is missing, and the tree as it was meant.
func TestLevelFindsTheMissingBrace(t *testing.T) {
	opt := options(map[string]string{"etc/k/k.conf": "inst A {\n auth {\n pass x\n vip {\n 1\n }\n}\ninst B {\n}\n"})
	opt.Level = func(path []string, keyword string, _ bool) int {
		if keyword == "vip" {
			return 1
		}
		return len(path)
	}
	tree, report := Parse("k.conf", opt)
	if got, want := flat(tree.Nodes), "[inst][A]{[auth]{[pass][x]} [vip]{[1]}} [inst][B]{}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := []string{`4:2 error: } is missing before "vip": the block "auth" of line 2 is still open`}
	if diff := cmp.Diff(want, texts(report)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestOrigin shows that words know where they are written, whatever way they came.
func TestOrigin(t *testing.T) {
	opt := options(map[string]string{
		"etc/k/k.conf":   "# \u00e9\n$P=\u00e9 300\n  prio \u00e9\u00e9 \"$P x\" y\n$N= \\\n  a b \\\n c\nk { $N\n}\ninclude d/*.conf\n~SEQ(i,1,1) s${i}t u\nx\\#y z",
		"etc/k/d/i.conf": "\n inc v",
	})
	tree, report := Parse("k.conf", opt)
	if len(report.Findings) > 0 {
		t.Fatalf("findings: %q", texts(report))
	}
	var got []string
	var walk func([]*Node)
	walk = func(nodes []*Node) {
		for _, n := range nodes {
			for _, w := range n.Words {
				s := fmt.Sprintf("%s %s", w.Text, w.Pos)
				if !w.Via.IsZero() {
					s += fmt.Sprintf(" via %d:%d", w.Via.Line, w.Via.Col)
				}
				got = append(got, s)
			}
			walk(n.Children)
		}
	}
	walk(tree.Nodes)
	want := []string{
		"prio k.conf:3:3", "\u00e9\u00e9 k.conf:3:8", "\u00e9 300 x k.conf:3:11", "y k.conf:3:18",
		"k k.conf:7:1",
		"a k.conf:5:3 via 7:5", "b k.conf:5:5 via 7:5", "c k.conf:6:2 via 7:5",
		"inc d/i.conf:2:2", "v d/i.conf:2:6",
		"s1t k.conf:10:13", "u k.conf:10:20",
		"x#y k.conf:11:1", "z k.conf:11:6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

func TestRender(t *testing.T) {
	_, report := parse("\ta \u4e2d\u6587 ${B}\n}")
	var b strings.Builder
	if err := report.Render(&b); err != nil {
		t.Fatal(err)
	}
	want := "/etc/k/k.conf:1:7: error: ${B} is not defined: keepalived takes its braces for a block\n" +
		"  \ta \u4e2d\u6587 ${B}\n" +
		"  \t       ^^^^\n" +
		"  remedy: define it in a line before its use: $B=...\n" +
		"/etc/k/k.conf:2:1: error: } without an open block\n" +
		"  }\n" +
		"  ^\n" +
		"  remedy: take it out, or write the { it belongs to\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestInclude(t *testing.T) {
	files := map[string]string{
		"etc/k/a.inc":      "fromA",
		"etc/k/b.inc":      "fromB\ninclude d/c.inc\ninclude sub.inc\nafterB ${_PWD}",
		"etc/k/d/c.inc":    "fromC ${_PWD}\ninclude sub.inc",
		"etc/k/d/sub.inc":  "dsub",
		"etc/k/d/.hidden":  "hidden",
		"etc/k/sub.inc":    "topsub",
		"etc/k/open.inc":   "k {",
		"etc/k/def.inc":    "$V=inV\n$M= \\\n m1 \\\n m2",
		"etc/k/self.inc":   "include self.inc",
		"etc/k/x y/sp.inc": "blank",
	}
	tests := []struct {
		name, in, want string
		findings       []string
	}{
		{"relative", "include a.inc\nz", "[fromA] [z]", nil},
		{"absolute", "include   /etc/k/a.inc  # c\nz", "[fromA] [z]", nil},
		{"from its own directory", "include b.inc\nz ${_PWD}", "[fromB] [fromC][/etc/k/d] [dsub] [topsub] [afterB][/etc/k] [z][/etc/k]", nil},
		{"pattern", "include [a].inc\ninclude ?.inc\ninclude d/*", "[fromA] [fromA] [fromB] [fromC][/etc/k/d] [dsub] [topsub] [afterB][/etc/k] [fromC][/etc/k/d] [dsub] [dsub]", nil},
		{"pattern, not", "include [\\!b-z].inc", "[fromA]", nil},
		{"directories by pattern", "include /etc/*/a.inc", "[fromA]", nil},
		{"braces", "include {a,{d/c,sub}}.inc", "[fromA] [fromC][/etc/k/d] [dsub] [topsub]", nil},
		{"definition", "$F=a\ninclude ${F}.inc", "[fromA]", nil},
		{"in its place among lines", "$N= \\\n x \\\n include a.inc \\\n y\n$N", "[x] [fromA] [y]", nil},
		{"after a brace", "k { include a.inc\n}", "[k]{[fromA]}", nil},
		{"block over files", "include open.inc\na\n}", "[k]{[a]}", nil},
		{"definitions stay", "include def.inc\n$M\n$V", "[m1] [m2] [inV]", nil},
		{"blank in the name", "include x y/sp.inc", "[blank]", nil},
		{"no argument", "include\nincludex a.inc", "[include] [includex][a.inc]", nil},
		{"missing", "include no.inc\nz", "[z]", []string{`1:9 warning: include finds no file "no.inc"`}},
		{"missing, pattern", "include no*.inc\nz", "[z]", nil},
		{"two names", "include a.inc d/c.inc\nz", "[z]", []string{`1:9 warning: include finds no file "a.inc d/c.inc"`}},
		{"quotes", "include \"a.inc\"\nz", "[z]", []string{`1:9 warning: include finds no file "\"a.inc\""`}},
		{"missing, includer", "includer no.inc", "", []string{`1:10 warning: includer finds no file "no.inc"`}},
		{"missing, includem", "includem no.inc", "", []string{`1:10 error: includem finds no file "no.inc"`}},
		{"pattern, includem", "includem no*", "", nil},
		{"pattern, includew", "includew no*", "", []string{`1:10 error: includew finds no file that matches "no*"`}},
		{"brace, includem", "includem {a,no}.inc", "[fromA]", []string{`1:10 warning: includem finds no file "no.inc"`}},
		{"brace, includeb", "includeb {a,no}.inc", "[fromA]", []string{`1:10 error: includeb finds no file "no.inc"`}},
		{"pattern, includea", "includea no*", "", []string{`1:10 error: includea finds no file that matches "no*"`}},
		{"directory", "include d\nz", "[z]", []string{"1:9 warning: include d: is a directory"}},
		{"directory, includer", "includer d\nz", "[z]", []string{"1:10 error: include d: is a directory"}},
		{"itself", "include self.inc\nz", "[z]", []string{"1:9 error: include more than 32 files deep"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files["etc/k/k.conf"] = tt.in
			tree, report := Parse("k.conf", options(files))
			if got := flat(tree.Nodes); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if diff := cmp.Diff(tt.findings, texts(report)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMainFileMissing(t *testing.T) {
	_, report := Parse("no.conf", options(nil))
	want := []string{"1:1 error: open no.conf: " + fs.ErrNotExist.Error()}
	if diff := cmp.Diff(want, texts(report)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestScript holds what keepalived 2.2.7 was seen to run.
func TestScript(t *testing.T) {
	tests := []struct {
		in   string
		want []string // the command's words; nil: none
		more string   // words behind it
	}{
		{` "/bin/ls a b"`, []string{"/bin/ls", "a", "b"}, ""},
		{` /bin/ls a b`, []string{"/bin/ls"}, "a b"},
		{` '/bin/ls a b'`, []string{"/bin/ls", "a", "b"}, ""},
		{` "/bin/ls 'a b' c"`, []string{"/bin/ls", "a b", "c"}, ""},
		{` "/bin/ls a'b c'd"`, []string{"/bin/ls", "ab cd"}, ""},
		{` "/bin/ls '' x"`, []string{"/bin/ls", "", "x"}, ""},
		{` "/bin/ls a\"b\" c"`, []string{"/bin/ls", "ab", "c"}, ""},
		{` "/bin/ls \"a b\" c"`, []string{"/bin/ls", "a b", "c"}, ""},
		{` "/bin/ls 'a\\'b' c"`, []string{"/bin/ls", "a'b", "c"}, ""},
		{` "/bin/ls 'a''b' c"`, []string{"/bin/ls", "ab", "c"}, ""},
		{` "/bin/ls \x41\x42 \101 \q"`, []string{"/bin/ls", "AB", "A", "q"}, ""},
		{` "/bin/ls \x4142 \1234 \x4g \xg"`, []string{"/bin/ls", "B", "S4", "\x04g", "xg"}, ""},
		{` "/bin/ls \E \a \cC"`, []string{"/bin/ls", "\x1b", "\a", "\x03"}, ""},
		{` "/bin/ls a\\x41 b\\\\c"`, []string{"/bin/ls", "aA", `b\c`}, ""},
		{` "/bin/ls 'a\\ b' c"`, []string{"/bin/ls", "a b", "c"}, ""},
		{` "/bin/ls a#b !c"`, []string{"/bin/ls", "a#b", "!c"}, ""},
		{` "  /bin/ls   x  "`, []string{"/bin/ls", "x"}, ""},
		{` "/bin/ls a" root wheel`, []string{"/bin/ls", "a"}, "root wheel"},
		{` /bin/ls"x y"`, []string{"/bin/lsx", "y"}, ""},
		{` "/bin/sh -c '[ -f /x ] && exit 1'"`, []string{"/bin/sh", "-c", "[ -f /x ] && exit 1"}, ""},
		{` "/bin/ls 'a b"`, nil, ""},
		{` '/bin/ls a\'b'`, nil, ""},
		{` ""`, nil, ""},
		{``, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			tree, _ := parse("script" + tt.in)
			words, err := tree.Nodes[0].Script()
			var got, more []string
			if err == nil && len(words) > 0 {
				got, _ = SplitCommand(words[0].Text)
				for _, w := range words[1:] {
					more = append(more, w.Text)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
			if strings.Join(more, " ") != tt.more {
				t.Errorf("words behind the command: %q, want %q", more, tt.more)
			}
		})
	}
}
