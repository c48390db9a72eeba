package syntax

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// includes are the keywords that read other files, and what each insists on.
func includeKeyword(word string) (strict strictness, ok bool) {
	switch word {
	case "include":
		return strictness{}, true
	case "includer":
		return strictness{readable: true}, true
	case "includem":
		return strictness{readable: true, match: true}, true
	case "includew":
		return strictness{readable: true, match: true, wildcard: true}, true
	case "includeb":
		return strictness{readable: true, brace: true}, true
	case "includea":
		return strictness{readable: true, match: true, wildcard: true, brace: true}, true
	}
	return strictness{}, false
}

// strictness is what an include keyword insists on: what is missing is then an error.
type strictness struct {
	readable bool // every file found must be read
	match    bool // a pattern without wildcards must find a file
	wildcard bool // one with wildcards too
	brace    bool // every alternative of a brace must find a file
}

// severity returns that of a finding that the strictness does or does not forbid.
func severity(forbidden bool) Severity {
	if forbidden {
		return Error
	}
	return Warning
}

// include carries out an include line, if t is one.
func (l *lexer) include(src *source, t text) bool {
	end := strings.IndexAny(t.s, blanks)
	if end < 0 {
		return false
	}
	word := t.s[:end]
	strict, ok := includeKeyword(word)
	if !ok {
		return false
	}
	at := t.slice(end, len(t.s)).trim()
	pattern := at.s
	pos, via := at.at(0)
	add := func(sev Severity, text, remedy string) {
		l.report.Add(Finding{
			Pos: pos, Via: via, Severity: sev, Width: len([]rune(pattern)), Text: text, Remedy: remedy,
		})
	}
	if src.depth+1 > maxIncludeDepth {
		add(Error, fmt.Sprintf("include more than %d files deep", maxIncludeDepth), "a file includes itself, or a file that includes it")
		return true
	}
	var files []string
	for _, alt := range braces(pattern) {
		got := l.glob(src, alt)
		wild := strings.ContainsAny(alt, "*?[")
		switch {
		case len(got) > 0:
		case alt != pattern:
			add(severity(strict.brace), fmt.Sprintf("%s finds no file %q", word, alt), "")
		case wild && strict.wildcard:
			add(Error, fmt.Sprintf("%s finds no file that matches %q", word, pattern), "")
		case !wild:
			remedy := "relative names start at the directory of the file with the include"
			if strings.ContainsAny(pattern, `"' `) {
				remedy = "an include takes one name, and no quotes: the whole line is the name"
			}
			add(severity(strict.match), fmt.Sprintf("%s finds no file %q", word, pattern), remedy)
		}
		files = append(files, got...)
	}
	bottom := len(l.stack)
	for _, name := range files {
		if err := l.open(show(src, name), l.resolve(src, name), src.depth+1); err != nil {
			add(severity(strict.readable), fmt.Sprintf("include %s: %v", name, err), "")
		}
	}
	slices.Reverse(l.stack[bottom:]) // the first file is to be read first
	return true
}

// exists reports whether a file of that name is there, readable or not.
func (l *lexer) exists(src *source, name string) bool {
	_, err := fs.Stat(l.opt.FS, l.resolve(src, name))
	return err == nil
}

// resolve returns the path, as io/fs wants it, of a file that src names.
func (l *lexer) resolve(src *source, name string) string {
	if !path.IsAbs(name) {
		name = path.Join(src.dir(), name)
	}
	if name = strings.TrimPrefix(path.Clean(name), "/"); name != "" {
		return name
	}
	return "."
}

// show returns how findings name a file that src names: beside src, as src was named.
func show(src *source, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(path.Dir(src.name), name)
}

// glob returns the names that match the pattern, sorted, absolute or relative as the
// pattern is.
func (l *lexer) glob(src *source, pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		if l.exists(src, pattern) {
			return []string{pattern}
		}
		return nil
	}
	names := []string{""}
	if path.IsAbs(pattern) {
		names[0] = "/"
	}
	for part := range strings.SplitSeq(pattern, "/") {
		if part != "" {
			names = l.globPart(src, names, part)
		}
	}
	slices.Sort(names)
	return names
}

// globPart returns the names that result when part, one element of a pattern, is put
// behind each of the given directories.
func (l *lexer) globPart(src *source, dirs []string, part string) []string {
	var out []string
	for _, dir := range dirs {
		if !strings.ContainsAny(part, "*?[") {
			if name := path.Join(dir, part); l.exists(src, name) {
				out = append(out, name)
			}
			continue
		}
		entries, err := fs.ReadDir(l.opt.FS, l.resolve(src, dir))
		if err != nil {
			continue // as glob(3): a directory that cannot be read has no files
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(part, ".") {
				continue
			}
			if ok, err := path.Match(strings.ReplaceAll(part, "[!", "[^"), e.Name()); ok && err == nil {
				out = append(out, path.Join(dir, e.Name()))
			}
			if len(out) > maxFiles {
				return out
			}
		}
	}
	return out
}

// maxBraces bounds the braces of one pattern: each may double what the others make.
const maxBraces = 16

// braces expands the alternatives of csh: a{b,c}d is abd and acd. They nest. A brace that
// does not close, and a pattern of more than maxBraces, is left as it is.
func braces(s string) []string {
	open := strings.IndexByte(s, '{')
	if open < 0 || strings.Count(s, "{") > maxBraces {
		return []string{s}
	}
	depth, start := 0, open+1
	var alts []string
	for i := open; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case ',':
			if depth == 1 {
				alts = append(alts, s[start:i])
				start = i + 1
			}
		case '}':
			depth--
			if depth > 0 {
				continue
			}
			alts = append(alts, s[start:i])
			if len(alts) == 1 {
				return []string{s} // nothing to choose from: it stands for itself
			}
			var out []string
			for _, a := range alts {
				for _, whole := range braces(a + s[i+1:]) {
					if len(out) > maxFiles {
						return out
					}
					out = append(out, s[:open]+whole)
				}
			}
			return out
		}
	}
	return []string{s}
}
