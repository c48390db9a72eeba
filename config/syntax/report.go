package syntax

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Severity says what a finding means. The zero Severity is an error.
type Severity uint8

// The severities.
const (
	Error   Severity = iota // the file must not be run
	Warning                 // it runs, perhaps not as its author thinks
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Finding is one thing to say about a configuration.
type Finding struct {
	Pos      Pos
	Via      Pos // where the definition that holds Pos is used; zero: none
	Severity Severity
	Text     string // what is wrong, one line
	Remedy   string // what to do; may be empty
	Line     string // the source line at Pos; empty if there is none
	Width    int    // characters to underline from Pos.Col on
}

// Report is the list of findings about a configuration, and the source lines to show
// them with. The zero Report is empty and ready for use.
type Report struct {
	Findings []Finding

	lines map[string][]string
	files []string // in the order they were opened
}

// Add appends f and fills in its source line.
func (r *Report) Add(f Finding) {
	if lines := r.lines[f.Pos.File]; f.Pos.Line >= 1 && f.Pos.Line <= len(lines) {
		f.Line = lines[f.Pos.Line-1]
	}
	f.Width = max(f.Width, 1)
	r.Findings = append(r.Findings, f)
}

// Errors returns the findings of severity Error.
func (r *Report) Errors() []Finding { return r.of(Error) }

// Warnings returns the findings of severity Warning.
func (r *Report) Warnings() []Finding { return r.of(Warning) }

func (r *Report) of(s Severity) []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Severity == s {
			out = append(out, f)
		}
	}
	return out
}

// HasErrors reports whether there is a finding of severity Error.
func (r *Report) HasErrors() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Error })
}

// Sort puts the findings in the order of the files as they were opened, then of lines.
func (r *Report) Sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(r.rank(a.Pos.File), r.rank(b.Pos.File)),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
		)
	})
}

func (r *Report) rank(file string) int { return slices.Index(r.files, file) }

// Render writes every finding as
//
//	file:line:column: error|warning: text
//	  source line
//	  caret line
//	  remedy: what to do
//
// It returns the first error of w.
func (r *Report) Render(w io.Writer) error {
	for _, f := range r.Findings {
		if _, err := io.WriteString(w, f.String()); err != nil {
			return err
		}
	}
	return nil
}

// String returns the finding as Render writes it.
func (f Finding) String() string {
	var b strings.Builder
	if !f.Pos.IsZero() {
		fmt.Fprintf(&b, "%s: ", f.Pos)
	}
	fmt.Fprintf(&b, "%s: %s", f.Severity, f.Text)
	if !f.Via.IsZero() {
		fmt.Fprintf(&b, " (used at %s)", f.Via)
	}
	b.WriteByte('\n')
	if f.Line != "" {
		fmt.Fprintf(&b, "  %s\n  %s\n", printable(f.Line), f.caret())
	}
	if f.Remedy != "" {
		fmt.Fprintf(&b, "  remedy: %s\n", f.Remedy)
	}
	return b.String()
}

// caret returns the line that goes below the source line: blanks that are as wide as the
// characters above them, then carets.
func (f Finding) caret() string {
	var b strings.Builder
	col := 1
	for _, r := range f.Line {
		if col >= f.Pos.Col+f.Width {
			break
		}
		mark := " "
		if col >= f.Pos.Col {
			mark = "^"
		}
		switch {
		case r == '\t' && mark == " ":
			b.WriteByte('\t')
		case wide(r):
			b.WriteString(mark + mark)
		default:
			b.WriteString(mark)
		}
		col++
	}
	for ; col <= f.Pos.Col; col++ { // beyond the end of the line: something is missing there
		if col == f.Pos.Col {
			b.WriteByte('^')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// printable returns s fit for a terminal: control characters would let a configuration
// file write to the operator's screen as it pleases.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\ufffd') {
			return '?'
		}
		return r
	}, s)
}

// wide reports whether a terminal gives r two columns: the scripts that people write
// comments in (UAX #11, the blocks that are wide throughout).
func wide(r rune) bool {
	switch {
	case r >= 0x1100 && r <= 0x115f, // Hangul initials
		r >= 0x2e80 && r <= 0xa4cf, // CJK, kana, Yi
		r >= 0xac00 && r <= 0xd7a3, // Hangul
		r >= 0xf900 && r <= 0xfaff, // CJK compatibility
		r >= 0xfe30 && r <= 0xfe4f, // vertical forms
		r >= 0xff00 && r <= 0xff60, // fullwidth forms
		r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1f64f, // pictures
		r >= 0x20000 && r <= 0x3fffd:
		return true
	}
	return false
}
