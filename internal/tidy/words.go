package tidy

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The words are put together here so that this file does not find itself.
var (
	laterWords = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	// Home folders and checkouts: paths that exist on one machine only.
	developerPath = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])(/ho` + `me/|/ro` + `ot/|/Us` + `ers/|/wo` + `rk/|C:\\Us` + `ers)`)
)

func nothingLeftForLater(t *Tree) []Finding {
	return grep(t, laterWords, "%s: do it now, or write it down as an issue; the tree holds what is done")
}

func noDeveloperPaths(t *Tree) []Finding {
	return grep(t, developerPath, "%s is a path of one machine: use a relative path, or a temporary directory of the test")
}

// grep looks for an expression in all files, line by line.
func grep(t *Tree, re *regexp.Regexp, text string) []Finding {
	var found []Finding
	for _, f := range t.files() {
		for i, line := range strings.Split(f.Text, "\n") {
			if hit := re.FindString(line); hit != "" {
				found = append(found, Finding{Path: f.Path, Line: i + 1, Text: fmt.Sprintf(text, strings.TrimSpace(hit))})
			}
		}
	}
	return found
}

var (
	// A link or picture of Markdown; a target in <> or with a title is not used here.
	markdownLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	// A document named in words, in a comment or elsewhere.
	namedDocument = regexp.MustCompile(`\bdocs/[a-zA-Z0-9_/-]+\.md\b`)
	heading       = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	notInAnchor   = regexp.MustCompile(`[^a-z0-9 _-]`)
	codeBlock     = regexp.MustCompile("(?ms)^```.*?^```")
)

// linksLeadSomewhere looks at the links between files: their file, and their heading if
// they name one; and at the documents that other files name in words.
func linksLeadSomewhere(t *Tree) []Finding {
	byPath := map[string]*File{}
	folders := map[string]bool{".": true}
	for _, f := range t.files() {
		byPath[f.Path] = f
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	var found []Finding
	for _, f := range t.files() {
		for i, line := range strings.Split(f.Text, "\n") {
			if path.Ext(f.Path) != ".md" {
				for _, name := range namedDocument.FindAllString(line, -1) {
					if byPath[name] == nil {
						found = append(found, Finding{Path: f.Path, Line: i + 1, Text: "there is no " + name + ": write it, or name another"})
					}
				}
				continue
			}
			for _, m := range markdownLink.FindAllStringSubmatch(line, -1) {
				if wrong := brokenLink(byPath, folders, f, m[1]); wrong != "" {
					found = append(found, Finding{Path: f.Path, Line: i + 1, Text: wrong})
				}
			}
		}
	}
	return found
}

// A test named in a document; with ... behind it the beginning of several.
var namedTest = regexp.MustCompile(`\b((?:Test|Fuzz|Benchmark)[A-Z]\w*)(\.\.\.)?`)

// namedTestsAreThere looks for the tests that documents name: what shows a rule has to be there.
func namedTestsAreThere(t *Tree) []Finding {
	var names []string
	for _, s := range t.Go {
		for _, decl := range s.AST.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.Test {
				names = append(names, f.Name.Name)
			}
		}
	}
	var found []Finding
	for _, f := range t.Text {
		if path.Ext(f.Path) != ".md" {
			continue
		}
		for i, line := range strings.Split(f.Text, "\n") {
			for _, m := range namedTest.FindAllStringSubmatch(line, -1) {
				if !slices.ContainsFunc(names, func(name string) bool { return name == m[1] || m[2] != "" && strings.HasPrefix(name, m[1]) }) {
					found = append(found, Finding{Path: f.Path, Line: i + 1, Text: "there is no " + m[0] + ": name the test that shows it"})
				}
			}
		}
	}
	return found
}

// brokenLink says what is wrong with a link from a file; empty: nothing.
func brokenLink(byPath map[string]*File, folders map[string]bool, from *File, link string) string {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
		return "" // the test needs no network
	}
	target, anchor, _ := strings.Cut(link, "#")
	file := from
	if target != "" {
		p := path.Join(path.Dir(from.Path), target)
		file = byPath[p]
		switch {
		case file == nil && (folders[p] || slices.Contains(otherFiles, p)):
			return ""
		case file == nil:
			return fmt.Sprintf("the link %s leads nowhere: there is no %s", link, p)
		}
	}
	if anchor != "" && !slices.Contains(anchors(file.Text), anchor) {
		return fmt.Sprintf("the link %s leads nowhere: %s has no such heading", link, file.Path)
	}
	return ""
}

// otherFiles lists link targets that are not read as text.
var otherFiles = []string{"LICENSE", "go.mod"} //nolint:gochecknoglobals // a table

// anchors returns what a heading is called in a link, by GitHub's rule.
func anchors(markdown string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(markdown, ""), -1) {
		all = append(all, strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// shipped lists what an operator looks for in the tree.
var shipped = []string{ //nolint:gochecknoglobals // a table
	"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run",
	"docs/architecture.md", "docs/operations.md", "docs/decisions/README.md",
	"deploy/systemd/solovip.service", "deploy/systemd/solovip-witness.service",
}

func shippedIsThere(t *Tree) []Finding {
	var found []Finding
	have := map[string]bool{}
	samples := 0
	for _, f := range t.files() {
		have[f.Path] = true
		if strings.HasPrefix(f.Path, "deploy/examples/") && path.Ext(f.Path) == ".conf" {
			samples++
		}
	}
	for _, p := range shipped {
		if !have[p] {
			found = append(found, Finding{Path: p, Text: "is not there: restore it, or take it off the list in internal/tidy/words.go"})
		}
	}
	if samples == 0 {
		found = append(found, Finding{Path: "deploy/examples", Text: "holds no sample configuration: restore them"})
	}
	return found
}
