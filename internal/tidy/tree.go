package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the path that our own imports begin with.
const Module = "github.com/solovip/solovip"

// Tree is everything of the repository that the checks look at.
type Tree struct {
	Go   []*Source
	Text []*File // every other file that is read as text: docs, units, scripts
	fset *token.FileSet
}

// File is a file of the tree.
type File struct {
	Path string // from the root, with slashes
	Text string
}

// Source is a Go file, parsed.
type Source struct {
	File
	Dir  string // its package's folder; "." for the root
	Test bool
	AST  *ast.File
}

// Finding is a place that breaks a rule.
type Finding struct {
	Path string
	Line int // 0: the whole file or folder
	Text string
}

// String returns file:line: text.
func (f Finding) String() string {
	if f.Line == 0 {
		return f.Path + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Text)
}

// Load reads a tree. Folders that are not the project's work (hidden ones but .ci and
// .github, build output, test data) are left out.
func Load(root fs.FS) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet()}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if leftOut(p) {
				return fs.SkipDir
			}
			return nil
		}
		return t.add(root, p)
	})
	if err != nil {
		return nil, fmt.Errorf("read tree: %w", err)
	}
	return t, nil
}

func leftOut(dir string) bool {
	name := path.Base(dir)
	if dir == "." || name == ".ci" || name == ".github" {
		return false
	}
	return strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "dist", "testdata"}, name)
}

func (t *Tree) add(root fs.FS, p string) error {
	isGo := path.Ext(p) == ".go"
	if !isGo && !isText(p) {
		return nil
	}
	b, err := fs.ReadFile(root, p)
	if err != nil {
		return err
	}
	file := File{Path: p, Text: string(b)}
	if !isGo {
		t.Text = append(t.Text, &file)
		return nil
	}
	parsed, err := parser.ParseFile(t.fset, p, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.Go = append(t.Go, &Source{File: file, Dir: path.Dir(p), Test: strings.HasSuffix(p, "_test.go"), AST: parsed})
	return nil
}

// isText says which other files are looked at.
func isText(p string) bool {
	switch path.Ext(p) {
	case ".md", ".sh", ".service", ".conf", ".yml", ".yaml":
		return true
	}
	return slices.Contains([]string{"Makefile", "run"}, path.Base(p))
}

func (t *Tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// Dirs returns the folders that hold Go files, in order.
func (t *Tree) Dirs() []string {
	var dirs []string
	for _, s := range t.Go {
		dirs = append(dirs, s.Dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// files returns every file as text, Go files included.
func (t *Tree) files() []*File {
	all := slices.Clone(t.Text)
	for _, s := range t.Go {
		all = append(all, &s.File)
	}
	return all
}

// Check is one rule.
type Check struct {
	Name string
	Run  func(*Tree) []Finding
}

// Checks returns all rules.
func Checks() []Check {
	return []Check{
		{"imports point downwards", importsPointDownwards},
		{"pure packages stay pure", pureStaysPure},
		{"every package has one comment", onePackageComment},
		{"exported names are documented", exportedAreDocumented},
		{"files and packages stay small", filesStaySmall},
		{"functions stay small", functionsStaySmall},
		{"Go files are ASCII", goIsASCII},
		{"nothing is left for later", nothingLeftForLater},
		{"no path of a developer's machine", noDeveloperPaths},
		{"tests do not sleep", testsDoNotSleep},
		{"links lead somewhere", linksLeadSomewhere},
		{"tests that documents name are there", namedTestsAreThere},
		{"what is shipped is there", shippedIsThere},
	}
}
