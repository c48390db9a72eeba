package syntax

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// Bounds on what a configuration may cost. Each is far beyond any file seen in use; to
// reach one is an error finding, and what lies beyond it is not read.
const (
	maxFileBytes    = 16 << 20 // of one file
	maxLineBytes    = 8 << 10  // of one line, expanded or not
	keepalivedLine  = 1023     // keepalived drops a longer line
	maxIncludeDepth = 32       // files within files
	maxFiles        = 4096     // opened in all
	maxReplacements = 100      // definitions put into one line
	maxCircles      = 8        // uses of a definition that uses itself
	maxNesting      = 64       // definitions within definitions, blocks within blocks
	defaultMaxLines = 1 << 18  // lines after expansion; Options.MaxLines
)

// source is one file being read.
type source struct {
	name  string // as findings show it
	path  string // in the file system of Options, as io/fs wants it
	depth int    // 0: the main file
	lines []string
	next  int    // index of the next line
	queue []item // text to be read before the next line, the last first
}

// dir returns the directory of the file, absolute: what ${_PWD} stands for and what
// relative includes start from.
func (s *source) dir() string { return path.Dir("/" + s.path) }

// eof returns the place just after the last line.
func (s *source) eof() Pos {
	n := max(len(s.lines), 1)
	col := 1
	if len(s.lines) > 0 {
		col = utf8.RuneCountInString(s.lines[n-1]) + 1
	}
	return Pos{File: s.name, Line: n, Col: col}
}

// errTooLarge is what open returns for a file beyond maxFileBytes.
var errTooLarge = errors.New("larger than 16 MiB")

// open reads the file at fspath and puts it on top of the stack of sources.
func (l *lexer) open(name, fspath string, depth int) error {
	if l.opened++; l.opened > maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	f, err := l.opt.FS.Open(fspath)
	if err != nil {
		return unwrapPath(err)
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return errors.New("is a directory")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return unwrapPath(err)
	}
	if len(data) > maxFileBytes {
		return errTooLarge
	}
	lines := strings.Split(string(data), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	if l.report.lines == nil {
		l.report.lines = make(map[string][]string)
	}
	if _, ok := l.report.lines[name]; !ok {
		l.report.files = append(l.report.files, name)
	}
	l.report.lines[name] = lines
	l.stack = append(l.stack, &source{name: name, path: fspath, depth: depth, lines: lines})
	return nil
}

// unwrapPath drops the path from an error of io/fs: findings name the file themselves.
func unwrapPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// physical returns the next line of src without its comment, and whether it goes on with
// the next one (a definition of several lines).
func (l *lexer) physical(src *source) (t text, goesOn bool) {
	raw := src.lines[src.next]
	src.next++
	pos := Pos{File: src.name, Line: src.next, Col: 1}
	if strings.IndexByte(raw, 0) >= 0 {
		l.report.Add(Finding{
			Pos: pos, Text: "line with a NUL byte: keepalived drops it",
			Remedy: "write the line anew; the file may be damaged or not be text",
		})
		return text{}, false
	}
	if len(raw) > keepalivedLine {
		l.report.Add(Finding{
			Pos: pos, Width: 1,
			Text:   fmt.Sprintf("line of %d bytes: keepalived drops lines longer than %d", len(raw), keepalivedLine),
			Remedy: "break it up, or use a definition ($NAME=...)",
		})
		if len(raw) > maxLineBytes {
			return text{}, false
		}
	}
	t = l.clean(src, raw, pos).trim()
	goesOn = strings.HasSuffix(strings.TrimRight(raw, blanks), `\`) || strings.HasSuffix(t.s, `\`)
	return t, goesOn
}

// clean cuts the comment off a line and replaces characters that only look right.
// A comment starts at # or ! outside double quotes, unless a backslash stands before it,
// which then goes; any other backslash stays, and what follows it is taken as it is, so
// that a \" does not end a quote here. Single quotes protect nothing.
func (l *lexer) clean(src *source, raw string, pos Pos) text {
	b := builder{pos: pos}
	quote := rune(0) // the kind of double quote we are in: '"' or '\u201c'
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRuneInString(raw[i:])
		as, name := raw[i:i+size], ""
		switch {
		case r == '\\' && i+1 < len(raw) && strings.IndexByte(`#!"\`, raw[i+1]) >= 0:
			if quote == 0 && (raw[i+1] == '#' || raw[i+1] == '!') {
				b.skip()
			} else {
				b.add(`\`)
			}
			b.add(raw[i+1 : i+2])
			i += 2
			continue
		case r == '"' && quote == 0:
			quote = r
		case r == '"':
			quote = 0
		default:
			name, as = lookalike(r, as, quote == '"')
		}
		if name != "" {
			l.note(src, r, name, Pos{File: pos.File, Line: pos.Line, Col: b.pos.Col})
			if as == `"` && quote == 0 {
				quote = '\u201c'
			} else if as == `"` {
				quote = 0
			}
		}
		if quote == 0 && (as == "#" || as == "!") {
			break
		}
		b.addAs(as)
		i += size
	}
	return b.text()
}

// builder makes a text of consecutive characters of one line.
type builder struct {
	pos   Pos // of the next character
	s     strings.Builder
	spans []span
	gap   bool // a character was left out: the next needs a span of its own
}

// add appends one character of the source.
func (b *builder) add(s string) { b.addAs(s) }

// addAs appends what one character of the source stands for: one character or none.
func (b *builder) addAs(s string) {
	if s == "" {
		b.skip()
		return
	}
	if b.gap || b.spans == nil {
		b.spans = append(b.spans, span{off: b.s.Len(), pos: b.pos})
		b.gap = false
	}
	b.s.WriteString(s)
	b.pos.Col++
}

// skip leaves one character of the source out.
func (b *builder) skip() {
	b.pos.Col++
	b.gap = true
}

func (b *builder) text() text { return text{s: b.s.String(), spans: b.spans} }
