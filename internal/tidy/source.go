package tidy

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// The budgets, in lines: about 500 for a file, 2500 for a package. What does not fit
// wants to be two things.
const (
	fileLines     = 500
	testFileLines = 900
	functionLines = 70 // comments and blank lines left out
	packageLines  = 2750
)

// largePackages may have more, each for its reason. A package that no longer needs its
// line here should lose it.
var largePackages = map[string]int{ //nolint:gochecknoglobals // a table
	"node":        4700, // one machine composed of all others; snapshots, ballots and fencings may leave it
	"node/daemon": 3500, // the shell around all adapters; each is a file of its own
	"config":      5000, // every block of keepalived and ours: the readers share one loader and its findings
	"lab/sim":     4400, // a model of hosts, kernels, a network and a witness, with its checkers and the planted bugs that prove them
	"lab/netns":   4100, // hosts, faults, a service, a power switch and their observers: one stage
}

func onePackageComment(t *Tree) []Finding {
	var found []Finding
	for _, dir := range t.Dirs() {
		has, sources := false, false
		for _, s := range t.Go {
			if s.Dir != dir || s.Test {
				continue
			}
			sources = true
			if s.AST.Doc == nil {
				continue
			}
			name := path.Base(s.Path)
			start := "Package " + s.AST.Name.Name + " "
			if s.AST.Name.Name == "main" {
				start = "Command " + path.Base(dir) + " "
			}
			switch {
			case name != "doc.go":
				found = append(found, Finding{Path: s.Path, Line: t.line(s.AST.Doc.Pos()), Text: "a package comment stands outside doc.go: move it there, or put an empty line after it"})
			case !strings.HasPrefix(s.AST.Doc.Text(), start):
				found = append(found, Finding{Path: s.Path, Line: t.line(s.AST.Doc.Pos()), Text: fmt.Sprintf("the package comment does not begin with %q: begin it so, and say what the package is for", start)})
			}
			has = has || name == "doc.go"
		}
		if sources && !has {
			found = append(found, Finding{Path: dir, Text: "no doc.go with a package comment: write one that says what the package is for, what it refuses to do and where to start reading"})
		}
	}
	return found
}

func exportedAreDocumented(t *Tree) []Finding {
	var found []Finding
	for _, s := range t.Go {
		if s.Test {
			continue
		}
		for _, decl := range s.AST.Decls {
			for _, id := range undocumented(decl) {
				found = append(found, Finding{Path: s.Path, Line: t.line(id.Pos()), Text: id.Name + " is exported and has no comment: say in a sentence what it is, with units and errors"})
			}
		}
	}
	return found
}

// undocumented returns the exported names of a declaration that have no comment. One
// comment is enough for a group of constants or variables.
func undocumented(decl ast.Decl) []*ast.Ident {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || receiver(d).IsExported()) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Doc != nil && (d.Tok != token.TYPE || len(d.Specs) == 1) {
			return nil
		}
		var names []*ast.Ident
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Doc == nil && spec.Comment == nil && spec.Name.IsExported() {
					names = append(names, spec.Name)
				}
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					if spec.Doc == nil && spec.Comment == nil && id.IsExported() {
						names = append(names, id)
					}
				}
			}
		}
		return names
	}
	return nil
}

// receiver returns the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) *ast.Ident {
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x
		default:
			panic(fmt.Sprintf("tidy: %s has a receiver of %T", d.Name.Name, typ))
		}
	}
}

func filesStaySmall(t *Tree) []Finding {
	var found []Finding
	sum := map[string]int{}
	for _, s := range t.Go {
		lines, budget := strings.Count(s.Text, "\n"), fileLines
		if s.Test {
			budget = testFileLines
		} else {
			sum[s.Dir] += lines
		}
		if lines > budget {
			found = append(found, Finding{Path: s.Path, Text: fmt.Sprintf("%d lines, the budget is %d: part it where it does two things", lines, budget)})
		}
	}
	for _, dir := range t.Dirs() {
		budget := cmp.Or(largePackages[dir], packageLines)
		if sum[dir] > budget {
			found = append(found, Finding{Path: dir, Text: fmt.Sprintf("the package has %d lines, the budget is %d: part it where it is two nouns", sum[dir], budget)})
		}
	}
	return found
}

func functionsStaySmall(t *Tree) []Finding {
	var found []Finding
	for _, s := range t.Go {
		if s.Test {
			continue
		}
		lines := strings.Split(s.Text, "\n")
		for _, decl := range s.AST.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Body == nil {
				continue
			}
			n := 0
			from, to := t.line(d.Body.Lbrace), t.line(d.Body.Rbrace)-1
			for _, line := range lines[from:max(from, to)] {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
					n++
				}
			}
			if n > functionLines {
				found = append(found, Finding{Path: s.Path, Line: t.line(d.Pos()), Text: fmt.Sprintf("%s has %d lines, the budget is %d: name its parts", d.Name.Name, n, functionLines)})
			}
		}
	}
	return found
}

func goIsASCII(t *Tree) []Finding {
	var found []Finding
	for _, s := range t.Go {
		for i, line := range strings.Split(s.Text, "\n") {
			if at := strings.IndexFunc(line, func(r rune) bool { return r >= utf8.RuneSelf || r < ' ' && r != '\t' }); at >= 0 {
				r, _ := utf8.DecodeRuneInString(line[at:])
				found = append(found, Finding{Path: s.Path, Line: i + 1, Text: fmt.Sprintf("%U is not plain ASCII: write it as an escape, or in other words", r)})
			}
		}
	}
	return found
}

// testsDoNotSleep finds sleeps in tests: they make a test slow where it passes and
// wrong where the machine is busy. testdata and the lab's own waits are not tests.
func testsDoNotSleep(t *Tree) []Finding {
	var found []Finding
	for _, s := range t.Go {
		if !s.Test {
			continue
		}
		ast.Inspect(s.AST, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" && !slices.Contains(maySleep, s.Path) {
				found = append(found, Finding{Path: s.Path, Line: t.line(n.Pos()), Text: "a test sleeps: wait for the event itself, with a deadline"})
			}
			return true
		})
	}
	return found
}

// maySleep lists tests in which time itself is what is tested.
var maySleep = []string{} //nolint:gochecknoglobals // a table
