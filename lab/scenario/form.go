package scenario

import (
	"slices"
	"strings"
)

// form is how a line is written: words in small letters stand for themselves, words in
// capitals are slots, and what stands in brackets may be left out:
//
//	drop HOST TRAFFIC [WAY] [with PEER]
//
// The parser, the printer and the documentation all go by the same forms.
type form string

// slot is a place in a form that a word of the line fills, with something of a T.
type slot[T any] struct {
	means string                     // for people: "a host"
	words func(s *Scenario) []string // those that may stand there; nil: what set takes
	set   func(v *T, word string) (wrong string)
	get   func(v *T) string // "" when there is nothing
}

type slots[T any] map[string]slot[T]

// part is one or more words of a form that belong together.
type part struct {
	optional bool
	words    []string
}

// keyword returns the word that lines of the form begin with.
func (f form) keyword() string {
	keyword, _, _ := strings.Cut(string(f), " ")
	return keyword
}

// parts takes the form apart, without its keyword.
func (f form) parts() []part {
	var parts []part
	open := false
	for _, word := range strings.Fields(string(f))[1:] {
		name := strings.Trim(word, "[]")
		if open {
			last := &parts[len(parts)-1]
			last.words = append(last.words, name)
		} else {
			parts = append(parts, part{optional: word[0] == '[', words: []string{name}})
		}
		open = (open || word[0] == '[') && !strings.HasSuffix(word, "]")
	}
	return parts
}

// fill reads the words of a line behind its keyword into v, and reports mistakes.
func fill[T any](r *reader, l line, f form, known slots[T], v *T) {
	rest := l.words[1:]
	parts := f.parts()
	for i, p := range parts {
		if p.optional && !present(r, rest, p.words[0], known, i == len(parts)-1) {
			continue
		}
		for _, name := range p.words {
			if len(rest) == 0 {
				r.fail(l, l.end(), "write: "+string(f), "%s ends where %s should stand", quote(f.keyword()), means(name, known))
				return
			}
			if !fillOne(r, l, rest[0], f, name, known, v) {
				return
			}
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		r.fail(l, rest[0], "write: "+string(f), "%s is too much", quote(rest[0].text))
	}
}

// present reports whether an optional part stands in the line: by its first word, or
// because whatever still stands there can be nothing else.
func present[T any](r *reader, rest []word, first string, known slots[T], last bool) bool {
	if len(rest) == 0 {
		return false
	}
	s, isSlot := known[first]
	switch {
	case !isSlot:
		return rest[0].text == first
	case s.words == nil || last:
		return true
	}
	return slices.Contains(s.words(&r.scenario), rest[0].text)
}

// fillOne reads one word, and reports whether it could.
func fillOne[T any](r *reader, l line, w word, f form, name string, known slots[T], v *T) bool {
	s, isSlot := known[name]
	if !isSlot {
		if w.text != name {
			r.fail(l, w, "write: "+string(f), "%s stands where %s should stand", quote(w.text), quote(name))
			return false
		}
		return true
	}
	if s.words != nil {
		if words := s.words(&r.scenario); !slices.Contains(words, w.text) {
			r.unknown(l, w, s.means, words)
			return false
		}
	}
	if wrong := s.set(v, w.text); wrong != "" {
		r.fail(l, w, "", "%s is not %s: %s", quote(w.text), s.means, wrong)
		return false
	}
	return true
}

func means[T any](name string, known slots[T]) string {
	if s, ok := known[name]; ok {
		return s.means
	}
	return quote(name)
}

// write returns v in its form, without the parts of which v has nothing; and whether v
// has anything that a slot of the form tells.
func write[T any](f form, known slots[T], v *T) (text string, has bool) {
	words := []string{f.keyword()}
	for _, p := range f.parts() {
		var filled []string
		missing := false
		for _, name := range p.words {
			s, isSlot := known[name]
			if isSlot {
				name = s.get(v)
				missing = missing || name == ""
				has = has || name != ""
			}
			filled = append(filled, name)
		}
		if !p.optional || !missing {
			words = append(words, filled...)
		}
	}
	return strings.Join(words, " "), has
}

// quote returns s in double quotes, for findings.
func quote(s string) string { return `"` + s + `"` }
