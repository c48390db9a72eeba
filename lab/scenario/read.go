package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/solovip/solovip/internal/nearest"
	"github.com/solovip/solovip/lab/verify"
)

// Mistake is one thing that is wrong with a file.
type Mistake struct {
	File   string
	Line   int // from 1
	Col    int // in characters, from 1
	Width  int // characters of what is wrong, at least 1
	Text   string
	Remedy string // what to write instead; may be empty
	Source string // the line
}

// String returns the mistake with its place, its line and a mark below it.
func (m Mistake) String() string {
	text := fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Col, m.Text)
	if m.Source != "" {
		before := []rune(m.Source)[:m.Col-1]
		for i, c := range before {
			if c != '\t' {
				before[i] = ' '
			}
		}
		text += "\n  " + m.Source + "\n  " + string(before) + strings.Repeat("^", m.Width)
	}
	if m.Remedy != "" {
		text += "\n  remedy: " + m.Remedy
	}
	return text
}

// ParseErrors are the mistakes with a file, in the order of its lines.
type ParseErrors []Mistake

// maxMistakes is how many are told: what comes after them often follows from them.
const maxMistakes = 20

// Error returns all of them.
func (m ParseErrors) Error() string {
	var all []string
	for _, one := range m {
		all = append(all, one.String())
	}
	return strings.Join(all, "\n")
}

// maxText bounds a file, in bytes.
const maxText = 1 << 18

// Parse reads a scenario from the text of a file, whose name is for messages. An error is
// of type ParseErrors. docs/scenarios.md describes the format.
func Parse(file, text string) (Scenario, error) {
	r := reader{file: file, rank: -1, said: map[string]bool{}}
	if len(text) > maxText {
		return Scenario{}, ParseErrors{{File: file, Line: 1, Col: 1, Text: fmt.Sprintf("the file has more than %d bytes", maxText)}}
	}
	for i, raw := range strings.Split(text, "\n") {
		r.line(newLine(i+1, strings.TrimSuffix(raw, "\r")))
	}
	if len(r.mistakes) == 0 {
		r.finish()
	}
	if len(r.mistakes) > 0 {
		return Scenario{}, r.mistakes
	}
	return r.scenario, nil
}

// word is a word of a line, and where it begins, in characters from 1.
type word struct {
	text string
	col  int
}

// line is one line of a file.
type line struct {
	number   int
	raw      string
	indented bool
	words    []word
	rest     string // from the second word on, as it is written, without a comment
	bar      bool   // a line of a whole file
	barred   string // what stands behind the bar
}

// newLine takes a line apart.
func newLine(number int, raw string) line {
	l := line{number: number, raw: raw, indented: raw != "" && (raw[0] == ' ' || raw[0] == '\t')}
	if text := strings.TrimLeft(raw, " \t"); strings.HasPrefix(text, "|") {
		l.bar, l.barred = true, strings.TrimRight(strings.TrimPrefix(text[1:], " "), " \t")
		l.words = []word{{"|", len(raw) - len(text) + 1}}
		return l
	}
	second := -1
	for i, col := 0, 1; i < len(raw); {
		c, size := utf8.DecodeRuneInString(raw[i:])
		switch c {
		case ' ', '\t':
			i, col = i+size, col+1
			continue
		case '#':
			raw = raw[:i]
			continue
		}
		if len(l.words) == 1 {
			second = i
		}
		text, width := firstWord(raw[i:])
		l.words = append(l.words, word{text, col})
		i, col = i+width, col+utf8.RuneCountInString(raw[i:i+width])
	}
	if second >= 0 {
		l.rest = strings.TrimRight(raw[second:], " \t")
	}
	return l
}

// firstWord returns the word that a text begins with, and how many bytes it takes there: up
// to a blank, or if it begins with a double quote, up to the other one.
func firstWord(text string) (word string, width int) {
	if quoted, err := strconv.QuotedPrefix(text); err == nil && text[0] == '"' {
		word, _ = strconv.Unquote(quoted) // QuotedPrefix has shown that it is quoted
		return word, len(quoted)
	}
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i], i
	}
	return text, len(text)
}

// end returns the place behind the line's last word.
func (l line) end() word {
	last := l.words[len(l.words)-1]
	return word{"", last.col + utf8.RuneCountInString(last.text)}
}

// reader reads a file line by line.
type reader struct {
	file     string
	scenario Scenario
	mistakes ParseErrors

	rank    int // of the section that was begun last
	section string
	said    map[string]bool // what may be said only once

	setting Setting  // of the configure section at hand
	systems []System // of the expect section at hand
	expect  verify.Expect
	other   int // of expect.Others, which the lines are about; -1: of none
}

// fail reports a mistake at a word.
func (r *reader) fail(l line, w word, remedy, format string, args ...any) {
	if len(r.mistakes) < maxMistakes {
		r.mistakes = append(r.mistakes, Mistake{
			File: r.file, Line: l.number, Col: w.col, Width: max(1, utf8.RuneCountInString(w.text)), Source: l.raw,
			Text: fmt.Sprintf(format, args...), Remedy: remedy,
		})
	}
}

// unknown reports a word that is none of those that may stand there.
func (r *reader) unknown(l line, w word, means string, words []string) {
	remedy := "write one of: " + strings.Join(words, ", ")
	if len(words) == 0 {
		remedy = "the topology has none"
	}
	if near := nearest.Word(w.text, words); near != "" {
		remedy = "did you mean " + quote(near) + "?"
	}
	r.fail(l, w, remedy, "%s is not %s", quote(w.text), means)
}

// line reads one line.
func (r *reader) line(l line) {
	for i, c := range l.raw {
		if c == utf8.RuneError || unicode.IsControl(c) && c != '\t' {
			r.fail(l, word{"", utf8.RuneCountInString(l.raw[:i]) + 1}, "write plain text in UTF-8", "a character that is no text")
			return
		}
	}
	switch {
	case len(l.words) == 0:
	case l.bar:
		r.fileLine(l)
	case !l.indented:
		r.begin(l)
	default:
		r.inside(l)
	}
}

// begin begins a section.
func (r *reader) begin(l line) {
	w := l.words[0]
	rank := slices.Index(sections(), w.text)
	if rank < 0 {
		if r.knownInside(w.text) {
			r.fail(l, w, "indent the line", "%s belongs into a section", quote(w.text))
			return
		}
		r.section = ""
		r.unknown(l, w, "the name of a section", sections())
		return
	}
	again := slices.Contains([]string{configureSection, fileSection, expectSection}, w.text)
	switch {
	case r.said[w.text] && !again:
		r.fail(l, w, "take one of them out", "%s is there twice", quote(w.text))
	case rank < r.rank:
		r.fail(l, w, "the order is: "+strings.Join(sections(), ", "), "%s stands too late", quote(w.text))
	case r.rank < 0 && rank > 0:
		r.fail(l, w, "begin the file with: scenario NAME", "the scenario has no name")
	}
	r.closeSection()
	r.rank, r.section, r.said[w.text] = max(rank, r.rank), w.text, true
	if rank > slices.Index(sections(), topologySection) {
		r.usual()
	}
	switch w.text {
	case nameSection:
		r.name(l)
	case textSection:
		if r.scenario.Text = l.rest; l.rest == "" {
			r.fail(l, l.end(), "say in one line what happens", "the text is missing")
		}
	case configureSection:
		r.configure(l)
	case fileSection:
		r.beginFile(l)
	case expectSection:
		r.beginExpect(l)
	default:
		if len(l.words) > 1 {
			r.fail(l, l.words[1], "write it in a line of its own, indented", "%s is too much", quote(l.words[1].text))
		}
	}
}

// usual fills in what the topology has not declared.
func (r *reader) usual() {
	if len(r.scenario.Hosts) == 0 {
		r.scenario.Hosts = TwoNodes()
	}
	if len(r.scenario.Claims) == 0 {
		r.scenario.Claims = usualClaims()
	}
}

func (r *reader) name(l line) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	switch {
	case len(l.words) != 2:
		r.fail(l, l.end(), "write: scenario NAME", "one word for the name is needed")
	case strings.Trim(l.words[1].text, letters) != "" || len(l.words[1].text) > 60:
		r.fail(l, l.words[1], "write small letters, digits and hyphens", "%s is not a name for a scenario", quote(l.words[1].text))
	default:
		r.scenario.Name = l.words[1].text
	}
}

// knownInside reports whether a word begins a line of some section.
func (r *reader) knownInside(w string) bool {
	if _, ok := stepForms()[Verb(w)]; ok || w == beginForm.keyword() {
		return true
	}
	return slices.ContainsFunc(append(topologyForms(), expectForms()...), func(f form) bool { return f.keyword() == w })
}

// inside reads an indented line.
func (r *reader) inside(l line) {
	switch r.section {
	case topologySection:
		r.topology(l)
	case configureSection:
		r.configureLine(l)
	case stepsSection:
		r.step(l)
	case expectSection:
		r.expectLine(l)
	case fileSection:
		r.fail(l, l.words[0], "begin each line with a bar: | "+l.words[0].text, "the lines of a file begin with a bar")
	default:
		if len(r.mistakes) == 0 {
			r.fail(l, l.words[0], "begin one with: "+strings.Join(sections(), ", "), "the line stands in no section")
		}
	}
}

func (r *reader) topology(l line) {
	var t topologyLine
	f, ok := r.form(l, "a line of a topology", topologyForms())
	if !ok {
		return
	}
	s := &r.scenario
	isHost := strings.Contains(string(f), "ADDRESS")
	switch {
	case !isHost && len(s.Hosts) == 0:
		s.Hosts, r.said["hosts"] = TwoNodes(), true
	case isHost && r.said["hosts"]:
		r.fail(l, l.words[0], "write the hosts first, and all of them", "%s stands too late", quote(l.words[0].text))
	}
	before := len(r.mistakes)
	fill(r, l, f, topologySlots(), &t)
	if len(r.mistakes) > before {
		return
	}
	switch keyword := f.keyword(); keyword {
	case "claim":
		if slices.ContainsFunc(s.Claims, func(c Claim) bool { return c.Name == t.name }) {
			r.fail(l, l.words[1], "give each claim a name of its own", "%s is there twice", quote(t.name))
		}
		s.Claims = append(s.Claims, t.claim)
	case "group":
		s.Group = t.name
	case "service":
		s.Web = t.web
	case "begin-with":
		s.Begin = t.begin
	default:
		t.host.Role, t.host.Priority = Role(keyword), uint8(t.number) // at most 254
		if _, twice := s.host(t.name); twice {
			r.fail(l, l.words[1], "give each host a name of its own", "%s is there twice", quote(t.name))
		}
		s.Hosts = append(s.Hosts, t.host)
	}
}

// form returns the form by which a line is written: the first word tells.
func (r *reader) form(l line, means string, forms []form) (form, bool) {
	var keywords []string
	for _, f := range forms {
		if f.keyword() == l.words[0].text {
			return f, true
		}
		keywords = append(keywords, f.keyword())
	}
	r.unknown(l, l.words[0], means, keywords)
	return "", false
}

func (r *reader) step(l line) {
	forms := []form{beginForm}
	for _, f := range stepForms() {
		forms = append(forms, f)
	}
	slices.Sort(forms)
	f, ok := r.form(l, "a step", forms)
	if !ok {
		return
	}
	var s Step
	before := len(r.mistakes)
	fill(r, l, f, stepSlots(), &s)
	steps := begin(s.Host)
	if f != beginForm {
		s.Do = Verb(f.keyword())
		steps = []Step{s}
		if err := r.scenario.validateStep(s); err != nil && len(r.mistakes) == before {
			r.fail(l, l.words[0], "", "%v", err)
		}
	}
	r.scenario.Steps = append(r.scenario.Steps, steps...)
	if len(r.scenario.Steps) > maxSteps {
		r.fail(l, l.words[0], "make two scenarios of it", "there are more than %d steps", maxSteps)
	}
}

// finish looks at the whole.
func (r *reader) finish() {
	r.usual()
	r.closeSection()
	first := line{number: 1}
	start := word{"", 1}
	if err := r.scenario.Validate(); err != nil {
		r.fail(first, start, "", "%v", err)
	}
}
