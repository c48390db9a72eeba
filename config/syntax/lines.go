package syntax

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// item is text on its way to becoming statements.
type item struct {
	t       text
	depth   int     // definitions it came through
	lineEnd bool    // it reaches to the end of a physical line: a definition may go on
	goesOn  bool    // and that line ends in a backslash
	kept    bool    // its @id was looked at already
	repeat  *repeat // ~SEQ or ~LST: t is run once for each value
}

// definition is a $NAME=value. One of several lines has them all.
type definition struct {
	name  string
	lines []text
}

// lexer turns files into lines that hold statements and braces only.
type lexer struct {
	opt    Options
	report *Report
	defs   map[string]*definition
	stack  []*source // the last is being read
	opened int       // files
	count  int       // lines
	odd    []*oddity
	last   Pos // end of the file that was read last

	circles int // definitions that use themselves
}

// next returns the next line that is neither empty nor a directive of this layer.
func (l *lexer) next() (it item, ok bool) {
	for len(l.stack) > 0 {
		src := l.stack[len(l.stack)-1]
		if l.count++; l.count > l.opt.MaxLines {
			l.stack = nil
			l.report.Add(Finding{
				Pos: Pos{File: src.name, Line: max(src.next, 1), Col: 1}, Width: 1,
				Text:   fmt.Sprintf("more than %d lines after expansion: the rest is not read", l.opt.MaxLines),
				Remedy: "a ~SEQ or a definition that uses itself makes too many",
			})
			break
		}
		switch {
		case len(src.queue) > 0:
			it = src.queue[len(src.queue)-1]
			src.queue = src.queue[:len(src.queue)-1]
		case src.next < len(src.lines):
			it = item{lineEnd: true}
			it.t, it.goesOn = l.physical(src)
		default:
			l.last = src.eof()
			l.stack = l.stack[:len(l.stack)-1]
			continue
		}
		if it, ok = l.digest(src, it); ok {
			return it, true
		}
	}
	return item{}, false
}

// push puts text before the rest of what is to be read from src.
func (s *source) push(it item) { s.queue = append(s.queue, it) }

// digest takes the directives of this layer off a line. It returns false when nothing is
// left, or when what is left was queued to be looked at anew.
func (l *lexer) digest(src *source, it item) (item, bool) {
	if it.repeat != nil {
		l.step(src, it)
		return it, false
	}
	it.t = it.t.trim()
	if it.t.s == "" {
		return it, false
	}
	if it.t.s[0] == '@' && !it.kept {
		rest, keep := l.condition(it.t)
		if !keep {
			if _, _, def := cutDefinition(rest.s); def && it.goesOn {
				l.body(src) // the lines of a definition that is not for us
			}
			return it, false
		}
		it.t, it.kept = rest, true
		if it.t.s == "" {
			return it, false
		}
	}
	if name, off, ok := cutDefinition(it.t.s); ok {
		l.define(src, it, name, it.t.slice(off, len(it.t.s)))
		return it, false
	}
	if strings.HasPrefix(it.t.s, "~SEQ") || strings.HasPrefix(it.t.s, "~LST") {
		l.repeatLine(src, it)
		return it, false
	}
	before := it.t.s
	t, more, ok := l.substitute(src, it.t)
	if !ok {
		return it, false
	}
	for _, line := range slices.Backward(more) {
		l.pushDeeper(src, it.depth, line)
	}
	it.t = t.trim()
	if it.t.s != before && directive(it.t.s, it.kept) {
		it.lineEnd = false
		if it.depth++; l.tooDeep(it) {
			return it, false
		}
		src.push(it)
		return it, false
	}
	return it, it.t.s != "" && !l.include(src, it.t)
}

// directive reports whether a line that a definition was put into begins anew with
// something this layer acts on.
func directive(s string, kept bool) bool {
	if _, _, def := cutDefinition(s); def {
		return true
	}
	return strings.HasPrefix(s, "~SEQ") || strings.HasPrefix(s, "~LST") || strings.HasPrefix(s, "@") && !kept
}

// pushDeeper queues a line that came out of a definition.
func (l *lexer) pushDeeper(src *source, depth int, t text) {
	it := item{t: t, depth: depth + 1}
	if !l.tooDeep(it) {
		src.push(it)
	}
}

// tooDeep reports, with a finding, that definitions use each other without end.
func (l *lexer) tooDeep(it item) bool {
	if it.depth <= maxNesting {
		return false
	}
	l.endless(it.t)
	return true
}

// endless adds the finding that a definition uses itself. Each such line costs a lot to
// find out, so after some of them nothing more is read.
func (l *lexer) endless(t text) {
	if l.circles++; l.circles >= maxCircles {
		l.stack = nil
	}
	pos, via := t.at(0)
	l.report.Add(Finding{
		Pos: pos, Via: via, Text: "definition that uses itself, or uses too many others: the line is not read",
		Remedy: "break the circle of definitions",
	})
}

// condition looks at the @id or @^id before a line: what is behind it, and whether it is
// for this machine.
func (l *lexer) condition(t text) (rest text, keep bool) {
	end := strings.IndexAny(t.s, blanks)
	if end < 0 {
		end = len(t.s)
	}
	id, not := strings.CutPrefix(t.s[1:end], "^")
	return t.slice(end, len(t.s)).trim(), (id == l.opt.ID) != not
}

// cutDefinition finds $NAME= at the start of s and returns the name and where the value
// begins. No blank may stand before the equals sign.
func cutDefinition(s string) (name string, off int, ok bool) {
	if len(s) < 3 || s[0] != '$' {
		return "", 0, false
	}
	n := nameLen(s[1:])
	if n == 0 || 1+n >= len(s) || s[1+n] != '=' {
		return "", 0, false
	}
	return s[1 : 1+n], 2 + n, true
}

// nameLen returns how many bytes at the start of s are the name of a definition: letters,
// digits and _, no digit first.
func nameLen(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}

// define stores a definition, and reads its other lines when it has some.
func (l *lexer) define(src *source, it item, name string, value text) {
	def := &definition{name: name}
	l.defs[name] = def
	value = value.trim()
	if !it.lineEnd || !it.goesOn {
		def.lines = []text{value}
		return
	}
	if first := dropBackslash(value); first.s != "" {
		pos, via := first.at(0)
		l.report.Add(Finding{
			Pos: pos, Via: via, Width: len([]rune(first.s)),
			Text:   "text behind the = of a definition of several lines: keepalived loses the other lines",
			Remedy: fmt.Sprintf(`nothing but a backslash may follow: $%s= \`, name),
		})
		def.lines = []text{first}
	}
	def.lines = append(def.lines, l.body(src)...)
	if len(def.lines) == 0 {
		def.lines = []text{{}}
	}
}

// body reads the lines of a definition after its first: all that end in a backslash, and
// the one after them.
func (l *lexer) body(src *source) []text {
	var lines []text
	for src.next < len(src.lines) {
		l.count++
		t, goesOn := l.physical(src)
		if t = dropBackslash(t); t.s != "" {
			lines = append(lines, t)
		}
		if !goesOn {
			break
		}
	}
	return lines
}

// dropBackslash returns t without the backslash that says that the next line belongs to it.
func dropBackslash(t text) text {
	if strings.HasSuffix(t.s, `\`) {
		return t.slice(0, len(t.s)-1).trim()
	}
	return t
}

// substitute puts definitions into a line: ${NAME} anywhere, $NAME when a blank, a comma,
// a parenthesis or the end follows. A value is looked at again where it was put. A
// definition of several lines ends the line; more has its other lines. What is not
// defined stays as it is.
func (l *lexer) substitute(src *source, t text) (out text, more []text, ok bool) {
	done := 0
	for i := 0; i < len(t.s); i++ {
		if t.s[i] != '$' {
			continue
		}
		value, end, found := l.lookup(src, t, i)
		if !found {
			continue
		}
		if done++; done > maxReplacements || len(t.s) > maxLineBytes {
			l.endless(t)
			return text{}, nil, false
		}
		at, via := t.at(i)
		if !via.IsZero() {
			at = via
		}
		head, tail := t.slice(0, i), t.slice(end, len(t.s))
		if len(value) > 1 {
			if strings.Trim(tail.s, blanks) != "" {
				pos, via := tail.trim().at(0)
				l.report.Add(Finding{
					Pos: pos, Via: via, Severity: Warning,
					Text:   fmt.Sprintf("text behind %s, a definition of several lines: keepalived would not put it in", t.s[i:end]),
					Remedy: "give the definition a line of its own",
				})
			}
			for _, v := range value[1:] {
				more = append(more, v.usedAt(at))
			}
			more[len(more)-1] = more[len(more)-1].join(tail)
			tail = text{}
		}
		t = head.join(value[0].usedAt(at)).join(tail)
		i-- // the value may begin with another
	}
	return t, more, true
}

// lookup returns the value of the parameter at the $ at offset i of t, and the offset
// behind it.
func (l *lexer) lookup(src *source, t text, i int) (value []text, end int, ok bool) {
	s := t.s[i+1:]
	if strings.HasPrefix(s, "{") {
		n := nameLen(s[1:])
		closing := strings.IndexByte(s, '}')
		if n == 0 || closing < 0 {
			return nil, 0, false
		}
		name, args := s[1:1+n], s[1+n:closing]
		if closing != 1+n && name != "_RANDOM" && name != "_ENV" {
			return nil, 0, false
		}
		value, ok = l.value(src, t, i, name, args)
		return value, i + 1 + closing + 1, ok
	}
	n := nameLen(s)
	if n == 0 {
		return nil, 0, false
	}
	if n < len(s) && !isBlank(s[n]) && s[n] != ',' && s[n] != ')' {
		if _, defined := l.defs[s[:n]]; defined {
			pos, via := t.at(i)
			l.report.Add(Finding{
				Pos: pos, Via: via, Severity: Warning, Width: n + 1,
				Text:   fmt.Sprintf("$%s is not replaced, because %q follows it", s[:n], s[n:n+1]),
				Remedy: fmt.Sprintf("write ${%s}", s[:n]),
			})
		}
		return nil, 0, false
	}
	value, ok = l.value(src, t, i, s[:n], "")
	return value, i + 1 + n, ok
}

// value returns what a parameter stands for: a definition, else one of keepalived's own.
func (l *lexer) value(src *source, t text, i int, name, args string) ([]text, bool) {
	if def, ok := l.defs[name]; ok && args == "" {
		return def.lines, true
	}
	pos, via := t.at(i)
	var word string
	switch name {
	case "_PWD":
		word = src.dir()
	case "_INSTANCE":
		word = l.opt.ID
	case "_HASH":
		word = "#"
	case "_BANG":
		word = "!"
	case "_RANDOM":
		lo, hi, ok := bounds(strings.Fields(args))
		if !ok {
			l.report.Add(Finding{
				Pos: pos, Via: via, Width: len(name) + len(args) + 3,
				Text:   "bad range in ${_RANDOM" + args + "}",
				Remedy: "write ${_RANDOM}, ${_RANDOM MIN} or ${_RANDOM MIN MAX}; numbers from 0 on",
			})
		}
		word = strconv.Itoa(l.opt.Random(lo, hi))
	case "_ENV":
		variable := strings.Trim(args, blanks)
		v, ok := l.opt.Getenv(variable)
		if !ok || strings.ContainsAny(v, "\n\x00") {
			l.report.Add(Finding{
				Pos: pos, Via: via, Width: len(name) + len(args) + 3,
				Text:   fmt.Sprintf("environment variable %q is not set", variable),
				Remedy: "set it for the daemon, for instance by Environment= in its unit",
			})
			v = ""
		}
		word = v
	default:
		return nil, false
	}
	return []text{made(word, pos, via)}, true
}

// bounds returns the range that the arguments of ${_RANDOM} name.
func bounds(args []string) (lo, hi int, ok bool) {
	lo, hi = 0, 32767
	for i, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil || n < 0 || n > 1<<31-1 || i > 1 {
			return 0, 32767, false
		}
		if i == 0 {
			lo, hi = n, max(n, hi)
		} else {
			hi = n
		}
	}
	if hi < lo {
		return 0, 32767, false
	}
	return lo, hi, true
}
