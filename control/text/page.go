package text

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// minWidth is what a line is never cut below: a narrower terminal wraps by itself.
const minWidth = 40

// page collects lines of at most width characters.
type page struct {
	out   strings.Builder
	width int
}

func newPage(width int) *page { return &page{width: max(width, minWidth)} }

// line writes the words after the label and breaks them at the width; what follows is
// indented to stand below the first word.
func (p *page) line(label, words string) {
	indent := utf8.RuneCountInString(label)
	p.out.WriteString(label)
	used := indent
	for i, word := range strings.Fields(clean(words)) {
		size := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case used+1+size > p.width:
			p.out.WriteString("\n" + strings.Repeat(" ", indent))
			used = indent
		default:
			p.out.WriteByte(' ')
			used++
		}
		p.out.WriteString(word)
		used += size
	}
	p.out.WriteByte('\n')
}

func (p *page) gap() { p.out.WriteByte('\n') }

// table writes rows in columns as wide as their widest cell, two spaces apart.
func (p *page) table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = clean(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		p.out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// clean replaces what would move a cursor, change a colour or break a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// span writes a number of milliseconds: exactly while that matters, then in the two
// largest units.
func span(ms int64) string {
	s := ms / 1000
	switch {
	case ms < 0:
		return "never"
	case ms < 10_000:
		return fmt.Sprintf("%d ms", ms)
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 2*3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%dh %dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s/3600%24)
}

// since writes when something began, by the wall clock, and how long ago that is.
func since(now time.Time, ms int64) string {
	if ms < 0 {
		return "an unknown time"
	}
	// A duration of more than 292 years does not fit; such a snapshot is nonsense anyway.
	at := now.Add(-time.Duration(min(ms, int64(100*365*24*time.Hour/time.Millisecond))) * time.Millisecond)
	return fmt.Sprintf("%s (%s)", at.Format("2006-01-02 15:04:05"), span(ms))
}
