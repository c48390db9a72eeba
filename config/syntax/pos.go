package syntax

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Pos is a place in a configuration file. The zero Pos is no place.
type Pos struct {
	File string // as given to Parse, or as an include found it
	Line int    // from 1
	Col  int    // in characters, from 1
}

// IsZero reports whether p is no place.
func (p Pos) IsZero() bool { return p == Pos{} }

// String returns "file:line:column".
func (p Pos) String() string {
	if p.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Word is one word of a statement.
type Word struct {
	Text   string // without its quotes
	Quoted bool   // it stood in double quotes
	Glued  bool   // no blank stands between it and the word before
	Pos    Pos    // where its text is written
	Via    Pos    // where the definition that holds the text is used; zero: it is written in place
	Width  int    // characters it takes in the source, quotes included; at least 1
}

// text is one line on its way to becoming words: bytes, and where each came from. A
// line that definitions were put into has bytes of several places.
type text struct {
	s     string
	spans []span // sorted by off; the first has off 0 unless s is empty
}

// span says that the bytes from off on, up to the next span, were written from pos on.
type span struct {
	off   int
	pos   Pos
	via   Pos
	still bool // made, not written: every byte has the same pos
}

// at returns where the byte at off was written, and through which use it came.
func (t text) at(off int) (pos, via Pos) {
	if len(t.spans) == 0 {
		return Pos{}, Pos{}
	}
	i := max(0, sort.Search(len(t.spans), func(i int) bool { return t.spans[i].off > off })-1)
	sp := t.spans[i]
	if !sp.still && off > sp.off {
		sp.pos.Col += utf8.RuneCountInString(t.s[sp.off:min(off, len(t.s))])
	}
	if sp.via == sp.pos {
		sp.via = Pos{}
	}
	return sp.pos, sp.via
}

// slice returns the bytes from i up to j, with their places.
func (t text) slice(i, j int) text {
	if i >= j {
		return text{}
	}
	out := text{s: t.s[i:j]}
	for k, sp := range t.spans {
		end := len(t.s)
		if k+1 < len(t.spans) {
			end = t.spans[k+1].off
		}
		if end <= i || sp.off >= j {
			continue
		}
		if sp.off < i {
			if !sp.still {
				sp.pos.Col += utf8.RuneCountInString(t.s[sp.off:i])
			}
			sp.off = i
		}
		sp.off -= i
		out.spans = append(out.spans, sp)
	}
	return out
}

// join appends u to t.
func (t text) join(u text) text {
	out := text{s: t.s + u.s, spans: make([]span, 0, len(t.spans)+len(u.spans))}
	out.spans = append(out.spans, t.spans...)
	for _, sp := range u.spans {
		sp.off += len(t.s)
		out.spans = append(out.spans, sp)
	}
	return out
}

// usedAt marks every byte of t as brought in by a use at pos; bytes that say already
// where they were used keep it, so that the outermost use is the one at hand.
func (t text) usedAt(pos Pos) text {
	out := text{s: t.s, spans: make([]span, len(t.spans))}
	copy(out.spans, t.spans)
	for i := range out.spans {
		out.spans[i].via = pos
	}
	return out
}

// made returns text that stands nowhere: all of it is said to be at pos.
func made(s string, pos, via Pos) text {
	if s == "" {
		return text{}
	}
	return text{s: s, spans: []span{{pos: pos, via: via, still: true}}}
}

// blanks are the bytes that part words, as isspace(3) has them.
const blanks = " \t\v\f\r\n"

func isBlank(b byte) bool { return strings.IndexByte(blanks, b) >= 0 }

// trim returns t without blanks at both ends.
func (t text) trim() text {
	i, j := 0, len(t.s)
	for i < j && isBlank(t.s[i]) {
		i++
	}
	for j > i && isBlank(t.s[j-1]) {
		j--
	}
	if i == 0 && j == len(t.s) {
		return t
	}
	return t.slice(i, j)
}
