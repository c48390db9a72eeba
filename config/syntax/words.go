package syntax

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// words parts a statement as keepalived does for most keywords: a word ends at a blank or
// at a double quote, and what stands in double quotes is a word. Single quotes and
// backslashes are characters like any other. A quote that does not close is an error.
func (l *lexer) words(t text) []Word {
	var out []Word
	glued := false
	for i := 0; i < len(t.s); {
		if isBlank(t.s[i]) {
			i++
			glued = false
			continue
		}
		w := Word{Glued: glued}
		w.Pos, w.Via = t.at(i)
		start := i
		if t.s[i] == '"' {
			w.Quoted = true
			if n := strings.IndexByte(t.s[i+1:], '"'); n >= 0 {
				w.Text = t.s[i+1 : i+1+n]
				i += n + 2
			} else {
				w.Text = t.s[i+1:]
				i = len(t.s)
				l.report.Add(Finding{
					Pos: w.Pos, Via: w.Via, Width: utf8.RuneCountInString(t.s[start:]),
					Text:   "double quote that does not close before the end of the line: keepalived loses the text behind it",
					Remedy: `write the closing "`,
				})
			}
		} else {
			for i < len(t.s) && !isBlank(t.s[i]) && t.s[i] != '"' {
				i++
			}
			w.Text = t.s[start:i]
		}
		w.Width = max(utf8.RuneCountInString(t.s[start:i]), 1)
		out = append(out, w)
		glued = true
	}
	return out
}

// ErrQuote is returned for a command whose quotes do not close, or that ends in a backslash.
var ErrQuote = errors.New("quote that does not close, or backslash at the end")

// Script parts the statement after its keyword as keepalived does for commands: both
// kinds of quotes join what stands in them to what stands beside them, and backslashes
// escape. The first word is the command with its arguments, which [SplitCommand] parts
// again; the others are its user and group.
func (n *Node) Script() ([]Word, error) {
	if len(n.Words) == 0 {
		return nil, nil
	}
	t := n.line
	i := len(n.Words[0].Text)
	if n.Words[0].Quoted {
		i += 2
	}
	return scriptWords(t.slice(min(i, len(t.s)), len(t.s)))
}

// scriptWords does the work of Script.
func scriptWords(t text) ([]Word, error) {
	var out []Word
	for i := 0; i < len(t.s); {
		if isBlank(t.s[i]) {
			i++
			continue
		}
		s, n, err := commandWord(t.s[i:])
		if err != nil {
			return nil, err
		}
		w := Word{Text: s, Quoted: t.s[i] == '"' || t.s[i] == '\'', Width: max(utf8.RuneCountInString(t.s[i:i+n]), 1)}
		w.Pos, w.Via = t.at(i)
		out = append(out, w)
		i += n
	}
	return out, nil
}

// SplitCommand parts a command and its arguments: at blanks, but not within single or
// double quotes, which go; escapes as the manual has them (\a \b \E \f \n \r \t \v, \NNN
// octal, \xHH, \cC; any other character after a backslash stands for itself).
func SplitCommand(s string) ([]string, error) {
	var out []string
	for i := 0; i < len(s); {
		if isBlank(s[i]) {
			i++
			continue
		}
		w, n, err := commandWord(s[i:])
		if err != nil {
			return nil, err
		}
		out = append(out, w)
		i += n
	}
	return out, nil
}

// commandWord takes one word off s, which does not begin with a blank, and returns it with
// the number of bytes it took.
func commandWord(s string) (word string, n int, err error) {
	var b strings.Builder
	quote := byte(0)
	for n < len(s) {
		c := s[n]
		switch {
		case c == '\\':
			if n+1 == len(s) {
				return "", 0, ErrQuote
			}
			out, size := escape(s[n+1:])
			b.WriteByte(out)
			n += 1 + size
			continue
		case quote == 0 && isBlank(c):
			return cString(b.String()), n, nil
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		default:
			b.WriteByte(c)
		}
		n++
	}
	if quote != 0 {
		return "", 0, ErrQuote
	}
	return cString(b.String()), n, nil
}

// cString cuts s at a NUL, as everything that runs programs does.
func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

// escape returns the byte that the text after a backslash stands for, and how many bytes
// it took.
func escape(s string) (c byte, n int) {
	const letters, codes = "abEfnrtv", "\a\b\x1b\f\n\r\t\v"
	if i := strings.IndexByte(letters, s[0]); i >= 0 {
		return codes[i], 1
	}
	switch {
	case s[0] >= '0' && s[0] <= '7':
		for n < len(s) && n < 3 && s[n] >= '0' && s[n] <= '7' {
			c = c<<3 | (s[n] - '0')
			n++
		}
		return c, n
	case s[0] == 'x':
		n = 1
		for n < len(s) {
			i := strings.IndexByte("0123456789abcdef", s[n]|0x20)
			if i < 0 || s[n] < '0' {
				break
			}
			c = c<<4 | byte(i)
			n++
		}
		if n == 1 {
			return 'x', 1
		}
		return c, n
	case s[0] == 'c' && len(s) > 1:
		return s[1] & 0x1f, 2
	}
	return s[0], 1
}
