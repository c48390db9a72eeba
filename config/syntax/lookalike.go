package syntax

import (
	"cmp"
	"fmt"
	"slices"
)

// oddity is a character that looks right and is not, counted over one file. The cause is
// told once with its count: a page of follow-up errors would bury it.
type oddity struct {
	r     rune
	name  string
	first Pos
	count int
}

// lookalike returns the name of r if it is taken for another character by whoever
// pasted it, and what it is read as. In plain double quotes typographic quotes and
// fullwidth signs are text like any other.
func lookalike(r rune, s string, quoted bool) (name, as string) {
	if r < 0x80 {
		return "", s
	}
	switch r {
	case 0x00a0:
		return "no-break space", " "
	case 0x1680, 0x202f, 0x205f, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
		0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a:
		return "typographic space", " "
	case 0x3000:
		return "ideographic space", " "
	case 0xfeff:
		return "byte order mark", ""
	case 0x200b, 0x200c, 0x200d, 0x2060:
		return "invisible character", ""
	}
	if quoted {
		return "", s
	}
	switch r {
	case 0x201c, 0x201d, 0x201e, 0x201f, 0xff02:
		return "typographic quote", `"`
	case 0x2018, 0x2019, 0x201a, 0x201b, 0xff07:
		return "typographic quote", "'"
	case 0xff5b:
		return "fullwidth brace", "{"
	case 0xff5d:
		return "fullwidth brace", "}"
	case 0xff03:
		return "fullwidth number sign", "#"
	case 0xff01:
		return "fullwidth exclamation mark", "!"
	}
	return "", s
}

// note counts one oddity.
func (l *lexer) note(src *source, r rune, name string, pos Pos) {
	for _, o := range l.odd {
		if o.name == name && o.first.File == src.name {
			o.count++
			return
		}
	}
	l.odd = append(l.odd, &oddity{r: r, name: name, first: pos, count: 1})
}

// reportOddities adds one finding for each kind of oddity and file.
func (l *lexer) reportOddities() {
	slices.SortStableFunc(l.odd, func(a, b *oddity) int { return cmp.Compare(b.count, a.count) })
	for _, o := range l.odd {
		times := "once in this file"
		if o.count > 1 {
			times = fmt.Sprintf("%d times in this file, first here", o.count)
		}
		_, as := lookalike(o.r, "", false)
		f := Finding{Pos: o.first, Text: fmt.Sprintf("a %s (U+%04X), %s: keepalived does not take it for a ", o.name, o.r, times)}
		if o.name[0] == 'i' {
			f.Text = "an" + f.Text[1:]
		}
		switch as {
		case " ":
			f.Text += "blank, so words run together"
			f.Remedy = fmt.Sprintf("a %s (U+%04X), pasted from a web page: replace it by a plain space", o.name, o.r)
		case "":
			f.Text = fmt.Sprintf("a %s (U+%04X), %s: it becomes part of the word beside it", o.name, o.r, times)
			f.Remedy = "delete it: save the file as UTF-8 without a byte order mark"
		case `"`, "'":
			f.Text += "quote, so the text falls apart at its blanks"
			f.Remedy = "typographic quotes, pasted from a web page or a word processor: write " + as + " instead"
		default:
			f.Text += fmt.Sprintf("%q", as)
			f.Remedy = fmt.Sprintf("written with an input method for Chinese or Japanese: write %s instead", as)
		}
		l.report.Add(f)
	}
}
