package tidy

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// pureStaysPure looks at what pure packages import and call, tests left out.
func pureStaysPure(t *Tree) []Finding {
	var found []Finding
	for _, s := range t.Go {
		if s.Test || !slices.Contains(pure, s.Dir) {
			continue
		}
		for _, spec := range s.AST.Imports {
			p := importPath(spec.Path.Value)
			own, isOurs := strings.CutPrefix(p, Module+"/")
			if isOurs && slices.Contains(pure, own) || !isOurs && slices.Contains(strings.Fields(pureStandard), p) {
				continue
			}
			found = append(found, Finding{Path: s.Path, Line: t.line(spec.Pos()), Text: fmt.Sprintf("%s is pure and may not import %s: "+
				"pure packages take events and the time and return actions; let the shell do it", s.Dir, p)})
		}
		found = append(found, impureUses(t, s)...)
	}
	return found
}

// impureUses finds calls that read a clock or print, and goroutines and channels.
func impureUses(t *Tree, s *Source) []Finding {
	names := map[string]string{} // what a package is called in this file -> its path
	for _, spec := range s.AST.Imports {
		p := importPath(spec.Path.Value)
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	var found []Finding
	add := func(n ast.Node, what, remedy string) {
		found = append(found, Finding{Path: s.Path, Line: t.line(n.Pos()), Text: fmt.Sprintf("%s is pure and may not use %s: %s", s.Dir, what, remedy)})
	}
	ast.Inspect(s.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			if ok && slices.Contains(strings.Fields(impureCalls[names[id.Name]]), n.Sel.Name) {
				add(n, names[id.Name]+"."+n.Sel.Name, "take the time as an argument, return the text; the shell has the clock and the output")
			}
		case *ast.GoStmt:
			add(n, "goroutines", "return an action; the shell starts what has to run beside it")
		case *ast.ChanType:
			add(n, "channels", "take an event and return actions")
		}
		return true
	})
	return found
}
