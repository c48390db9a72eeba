package syntax

import (
	"fmt"
	"strconv"
	"strings"
)

// repeat runs the rest of a line once for each value of ~SEQ or ~LST. The values are made
// one by one: a sequence may be longer than anybody wants to hold.
type repeat struct {
	names []string
	list  [][]string // ~LST
	next  int        // ~SEQ: value of the next round; ~LST: index
	step  int        // ~SEQ; 0: a list
	end   int        // ~SEQ: the last value
	hex   bool
	pos   Pos
	via   Pos
}

// step runs one round of a repeated line.
func (l *lexer) step(src *source, it item) {
	r := it.repeat
	var values []string
	switch {
	case r.step > 0 && r.next <= r.end, r.step < 0 && r.next >= r.end:
		if r.hex {
			values = []string{strconv.FormatInt(int64(r.next), 16)}
		} else {
			values = []string{strconv.Itoa(r.next)}
		}
		r.next += r.step
	case r.step == 0 && r.next < len(r.list):
		values = r.list[r.next]
		r.next++
	default:
		return
	}
	for i, name := range r.names {
		v := ""
		if i < len(values) {
			v = values[i]
		}
		l.defs[name] = &definition{name: name, lines: []text{made(v, r.pos, r.via)}}
	}
	src.push(it)
	src.push(item{t: it.t, depth: it.depth, kept: it.kept})
}

// repeatLine queues a line that begins with ~SEQ(...), ~SEQx(...) or ~LST(...).
func (l *lexer) repeatLine(src *source, it item) {
	t, more, ok := l.substituteArgs(src, it.t)
	if !ok {
		return
	}
	pos, via := t.at(0)
	fail := func(why, remedy string) {
		l.report.Add(Finding{
			Pos: pos, Via: via, Width: len([]rune(t.s)),
			Text: why + ": keepalived drops the line", Remedy: remedy,
		})
	}
	word := t.s[:4]
	open := strings.IndexByte(t.s, '(')
	closing := strings.IndexByte(t.s, ')')
	if open < 0 || closing < open || len(more) > 0 {
		fail(word+" without its parentheses", usage(word))
		return
	}
	suffix := strings.Trim(t.s[4:open], blanks)
	if suffix != "" && (suffix != "x" || word == "~LST") {
		fail(fmt.Sprintf("unknown directive %q", word+suffix), usage(word))
		return
	}
	args := t.s[open+1 : closing]
	r, why := parseSeq(args, suffix == "x")
	if word == "~LST" {
		r, why = parseList(args)
	}
	if why != "" {
		fail(word+": "+why, usage(word))
		return
	}
	r.pos, r.via = pos, via
	rest := t.slice(closing+1, len(t.s)).trim()
	src.push(item{t: rest, depth: it.depth, kept: it.kept, repeat: r})
}

// usage is the remedy for a directive that cannot be read.
func usage(word string) string {
	if word == "~LST" {
		return "write ~LST(NAME,VALUE,...) or ~LST({NAME,NAME},{VALUE,VALUE},...), without quotes"
	}
	return "write ~SEQ(NAME,[START,[STEP,]]END), whole numbers; ~SEQx counts in hexadecimal"
}

// substituteArgs puts definitions into the parentheses only: the rest of the line waits
// for the values.
func (l *lexer) substituteArgs(src *source, t text) (out text, more []text, ok bool) {
	end := strings.IndexByte(t.s, ')')
	if end < 0 {
		return t, nil, true
	}
	args, more, ok := l.substitute(src, t.slice(0, end+1))
	return args.join(t.slice(end+1, len(t.s))), more, ok
}

// parseSeq reads the arguments of ~SEQ; why is empty when it could.
func parseSeq(args string, hex bool) (r *repeat, why string) {
	fields := strings.Split(args, ",")
	if len(fields) < 2 || len(fields) > 4 {
		return nil, fmt.Sprintf("%d arguments where 2 to 4 belong", len(fields))
	}
	name := strings.Trim(fields[0], blanks)
	if name == "" || nameLen(name) != len(name) {
		return nil, fmt.Sprintf("%q is no name", name)
	}
	var n []int
	for _, f := range fields[1:] {
		v, err := strconv.ParseInt(strings.Trim(f, blanks), 0, 32)
		if err != nil {
			return nil, fmt.Sprintf("%q is no whole number", strings.Trim(f, blanks))
		}
		n = append(n, int(v))
	}
	r = &repeat{names: []string{name}, next: 1, end: n[len(n)-1], hex: hex}
	if len(n) > 1 {
		r.next = n[0]
	} else if r.end < 1 {
		r.next = -1
	}
	r.step = 1
	if r.end < r.next {
		r.step = -1
	}
	if len(n) == 3 {
		if n[1] == 0 || (n[1] > 0) != (r.step > 0) && r.next != r.end {
			return nil, fmt.Sprintf("step %d does not lead from %d to %d", n[1], r.next, r.end)
		}
		r.step = n[1]
	}
	if hex && (r.next < 0 || r.end < 0) {
		return nil, "hexadecimal values cannot be negative"
	}
	return r, ""
}

// parseList reads the arguments of ~LST; why is empty when it could.
func parseList(args string) (r *repeat, why string) {
	var groups [][]string
	for rest := strings.Trim(args, blanks); ; {
		group, after, why := cutGroup(rest)
		if why != "" {
			return nil, why
		}
		groups = append(groups, group)
		if after == "" {
			break
		}
		if after[0] != ',' {
			return nil, "a comma is missing"
		}
		rest = strings.Trim(after[1:], blanks)
	}
	if len(groups) < 2 {
		return nil, "no values"
	}
	r = &repeat{names: groups[0], list: groups[1:]}
	for _, name := range r.names {
		if name == "" || nameLen(name) != len(name) {
			return nil, fmt.Sprintf("%q is no name", name)
		}
	}
	for _, values := range r.list {
		if len(values) > len(r.names) {
			return nil, fmt.Sprintf("%d values for %d names", len(values), len(r.names))
		}
	}
	return r, ""
}

// cutGroup takes one value, or several in braces, off the arguments of ~LST.
func cutGroup(s string) (group []string, rest, why string) {
	var body string
	if strings.HasPrefix(s, "{") {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return nil, "", "a closing brace is missing"
		}
		body, rest = s[1:end], strings.Trim(s[end+1:], blanks)
		group = strings.Split(body, ",")
	} else {
		end := strings.IndexByte(s, ',')
		if end < 0 {
			end = len(s)
		}
		body, rest = s[:end], s[end:]
		group = []string{body}
	}
	for i, v := range group {
		group[i] = strings.Trim(v, blanks)
		if strings.ContainsAny(group[i], blanks+`"'{}`) {
			return nil, "", fmt.Sprintf("a value may hold neither blanks nor quotes nor braces: %q", group[i])
		}
	}
	return group, rest, ""
}
