package syntax

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options says what a configuration is read with. Its zero value reads this host's files.
type Options struct {
	// FS is where files are read, rooted at "/"; default: this host's.
	FS fs.FS
	// Dir is the absolute directory that a relative name given to Parse starts from;
	// default: the working directory.
	Dir string
	// ID is what @id lines are compared with, and ${_INSTANCE}; default: the host's name
	// up to its first dot, as keepalived without --config-id.
	ID string
	// Getenv looks up ${_ENV NAME}; default: os.LookupEnv.
	Getenv func(name string) (string, bool)
	// Random makes ${_RANDOM}, a number from lo to hi; default: a new one each time.
	Random func(lo, hi int) int
	// MaxLines bounds the lines after expansion; default 262144.
	MaxLines int
	// Level says in which of the open blocks a statement belongs: path has their keywords,
	// the outermost first, and a result below len(path) is how many of them it is inside.
	// It is how a missing } is found where it is missing. Default: the innermost.
	Level func(path []string, keyword string, block bool) int
}

// filled returns o with its defaults.
func (o Options) filled() Options {
	if o.FS == nil {
		o.FS = os.DirFS("/")
	}
	if o.Dir == "" {
		o.Dir, _ = os.Getwd() // without one, relative names start at the root
	}
	if o.ID == "" {
		host, _ := os.Hostname() // without one, no @id line is for this host
		o.ID, _, _ = strings.Cut(host, ".")
	}
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.Random == nil {
		o.Random = func(lo, hi int) int { return lo + rand.IntN(hi-lo+1) }
	}
	if o.MaxLines == 0 {
		o.MaxLines = defaultMaxLines
	}
	return o
}

// Tree is a configuration as statements in blocks.
type Tree struct {
	Nodes []*Node
}

// Node is one statement: its words, and its block if it has one.
type Node struct {
	Words    []Word // as keepalived parts them: at blanks and double quotes
	Block    bool   // { ... } follows the words
	Children []*Node
	Open     Pos // of the {
	Close    Pos // of the }; zero: it is missing

	line text
}

// Keyword returns the first word; it is empty for a block without one.
func (n *Node) Keyword() string {
	if len(n.Words) == 0 {
		return ""
	}
	return n.Words[0].Text
}

// Args returns the words after the keyword.
func (n *Node) Args() []Word {
	if len(n.Words) == 0 {
		return nil
	}
	return n.Words[1:]
}

// Pos returns where the statement begins.
func (n *Node) Pos() Pos {
	if len(n.Words) == 0 {
		return n.Open
	}
	return n.Words[0].Pos
}

// Parse reads the file and all it includes. The tree has everything that could be read,
// also when the report has errors.
func Parse(name string, opt Options) (*Tree, *Report) {
	opt = opt.filled()
	p := &parser{
		lexer: lexer{opt: opt, report: &Report{}, defs: make(map[string]*definition)},
		tree:  &Tree{},
	}
	full := name
	if !filepath.IsAbs(full) {
		full = filepath.Join(opt.Dir, name)
	}
	full = strings.TrimPrefix(filepath.Clean(full), "/")
	if full == "" {
		full = "."
	}
	if err := p.open(name, full, 0); err != nil {
		p.report.Add(Finding{
			Pos: Pos{File: name, Line: 1, Col: 1}, Text: fmt.Sprintf("open %s: %v", name, err),
			Remedy: "name a file that this user can read",
		})
		return p.tree, p.report
	}
	for {
		it, ok := p.next()
		if !ok {
			break
		}
		p.line(it)
	}
	p.end()
	p.reportOddities()
	p.report.Sort()
	return p.tree, p.report
}

// parser makes the tree of the lines.
type parser struct {
	lexer
	tree   *Tree
	blocks []*Node // not closed yet, the outermost first
	shut   *Node   // block that was closed last
	forced int     // blocks that were closed because their } is missing
}

// line takes the first statement or brace of a line, and queues the rest.
func (p *parser) line(it item) {
	t := it.t
	i := p.brace(t)
	if i < 0 {
		p.statement(t, false)
		return
	}
	before, pos := t.slice(0, i).trim(), posOf(t, i)
	if before.s != "" {
		p.statement(before, t.s[i] == '{')
	}
	if t.s[i] == '{' {
		p.openBlock(pos, t.slice(i, i+1))
	} else {
		p.closeBlock(pos)
	}
	if rest := t.slice(i+1, len(t.s)); rest.s != "" && len(p.stack) > 0 {
		it.t, it.kept = rest, false
		p.stack[len(p.stack)-1].push(it)
	}
}

// posOf returns where the byte at off was written.
func posOf(t text, off int) Pos {
	pos, _ := t.at(off)
	return pos
}

// brace returns the offset of the first brace outside double quotes, or -1. The braces of
// a ${NAME} that nobody defined are text here, and an error: keepalived takes them for a
// block.
func (p *parser) brace(t text) int {
	quoted := false
	for i := 0; i < len(t.s); i++ {
		switch c := t.s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '$' && strings.HasPrefix(t.s[i+1:], "{"):
			n := nameLen(t.s[i+2:])
			end := i + 2 + n
			if n > 0 && end < len(t.s) && t.s[end] == '}' {
				p.undefined(t, i, end+1)
				i = end
			}
		case c == '{' || c == '}':
			return i
		}
	}
	return -1
}

// undefined adds the finding for ${NAME} without a definition.
func (p *parser) undefined(t text, i, end int) {
	pos, via := t.at(i)
	p.report.Add(Finding{
		Pos: pos, Via: via, Width: end - i,
		Text:   fmt.Sprintf("%s is not defined: keepalived takes its braces for a block", t.s[i:end]),
		Remedy: fmt.Sprintf("define it in a line before its use: $%s=...", t.s[i+2:end-1]),
	})
}

// statement adds one statement; block says that its { follows at once.
func (p *parser) statement(t text, block bool) {
	n := &Node{line: t}
	n.Words = p.words(t)
	if p.opt.Level != nil && len(p.blocks) > 0 {
		path := make([]string, len(p.blocks))
		for i, o := range p.blocks {
			path[i] = o.Keyword()
		}
		if level := p.opt.Level(path, n.Keyword(), block); level >= 0 && level < len(p.blocks) {
			p.missing(n, level)
		}
	}
	p.attach(n)
}

// attach adds n to the innermost open block.
func (p *parser) attach(n *Node) {
	siblings := p.siblings()
	*siblings = append(*siblings, n)
}

// siblings returns the list that the next statement goes to.
func (p *parser) siblings() *[]*Node {
	if len(p.blocks) > 0 {
		return &p.blocks[len(p.blocks)-1].Children
	}
	return &p.tree.Nodes
}

// missing closes the blocks that n cannot be in: their } is missing before it.
func (p *parser) missing(n *Node, level int) {
	o := p.blocks[len(p.blocks)-1]
	pos, via := n.line.at(0)
	p.report.Add(Finding{
		Pos: pos, Via: via, Width: n.Words[0].Width,
		Text:   fmt.Sprintf("} is missing before %q: the block %q of line %d is still open", n.Keyword(), o.title(), o.Pos().Line),
		Remedy: fmt.Sprintf("close the block that begins at %s", o.Pos()),
	})
	p.forced += len(p.blocks) - level
	p.blocks = p.blocks[:level]
}

// title returns the words of a block, for findings.
func (n *Node) title() string {
	var words []string
	for _, w := range n.Words {
		words = append(words, w.Text)
	}
	if len(words) == 0 {
		return "{"
	}
	return strings.Join(words, " ")
}

// openBlock opens a block at the statement before the brace, which may be in a line above.
func (p *parser) openBlock(pos Pos, brace text) {
	var n *Node
	if s := *p.siblings(); len(s) > 0 && !s[len(s)-1].Block {
		n = s[len(s)-1]
	} else {
		p.report.Add(Finding{
			Pos: pos, Text: "{ without a keyword before it: keepalived ignores it, and its } then closes the block around it",
			Remedy: "write the keyword that the block belongs to, or take { and its } out",
		})
		n = &Node{}
		p.attach(n)
	}
	n.Block, n.Open = true, pos
	if len(p.blocks) >= maxNesting {
		_, via := brace.at(0)
		p.report.Add(Finding{
			Pos: pos, Via: via, Text: fmt.Sprintf("blocks more than %d deep: the rest is not read", maxNesting),
			Remedy: "a } is missing somewhere above",
		})
		p.stack = nil
	}
	p.blocks = append(p.blocks, n)
}

// closeBlock closes the innermost block.
func (p *parser) closeBlock(pos Pos) {
	if len(p.blocks) > 0 {
		p.shut = p.blocks[len(p.blocks)-1]
		p.shut.Close = pos
		p.blocks = p.blocks[:len(p.blocks)-1]
		return
	}
	if p.forced > 0 { // its block was closed where a } was missed: told already
		p.forced--
		return
	}
	f := Finding{Pos: pos, Text: "} without an open block", Remedy: "take it out, or write the { it belongs to"}
	if p.shut != nil {
		f.Text = fmt.Sprintf("} too many: the last block, %q of line %d, was closed in line %d", p.shut.title(), p.shut.Pos().Line, p.shut.Close.Line)
		f.Remedy = "take one of the two out, or write the { that is missing between them"
	}
	p.report.Add(f)
}

// end says which blocks the files left open.
func (p *parser) end() {
	for _, n := range slices.Backward(p.blocks) {
		width := 1
		if len(n.Words) > 0 {
			width = n.Words[0].Width
		}
		p.report.Add(Finding{
			Pos: n.Pos(), Width: width,
			Text:   fmt.Sprintf("} is missing: the block %q is open at the end of the file (line %d)", n.title(), p.last.Line),
			Remedy: "write a } where the block ends",
		})
	}
}
