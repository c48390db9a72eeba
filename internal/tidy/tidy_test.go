package tidy

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestTree holds the rules on this repository.
func TestTree(t *testing.T) {
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Go) < 50 || len(tree.Text) < 3 {
		t.Fatalf("%d Go files and %d others: this is not the repository's root", len(tree.Go), len(tree.Text))
	}
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			for _, f := range c.Run(tree) {
				t.Error(f)
			}
		})
	}
}

// TestLayersHaveNoLeftovers finds lines of the tables that nothing needs any more.
func TestLayersHaveNoLeftovers(t *testing.T) {
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]map[string]int{}
	for _, dir := range tree.Dirs() {
		uses[dir] = map[string]int{}
	}
	for _, s := range tree.Go {
		maps.Copy(uses[s.Dir], ours(tree, s))
	}
	for _, l := range layers {
		if uses[l.pkg] == nil {
			t.Errorf("there is no package %s: take its line out of internal/tidy/imports.go", l.pkg)
			continue
		}
		for _, pkg := range append(strings.Fields(l.may), strings.Fields(testsToo[l.pkg])...) {
			if uses[l.pkg][pkg] == 0 {
				t.Errorf("%s does not import %s any more: take it out of its line in internal/tidy/imports.go", l.pkg, pkg)
			}
		}
	}
	for _, p := range maySleep {
		if !slices.ContainsFunc(tree.Go, func(s *Source) bool { return s.Path == p }) {
			t.Errorf("there is no %s: take it off the list in internal/tidy/source.go", p)
		}
	}
}

// good is a tree that breaks no rule.
func good() map[string]string {
	tree := map[string]string{
		"arbiter/doc.go":            "// Package arbiter decides.\npackage arbiter\n",
		"arbiter/a.go":              "package arbiter\n\nimport \"time\"\n\n// Decide decides.\nfunc Decide(now time.Time) time.Time { return now }\n",
		"node/doc.go":               "// Package node is a node.\npackage node\n",
		"node/n.go":                 "package node\n\nimport \"github.com/solovip/solovip/arbiter\"\n\nvar _ = arbiter.Decide\n",
		"deploy/examples/lb01.conf": "global_defs {\n}\n",
	}
	for _, p := range shipped {
		tree[p] = "# Title\n"
	}
	tree["README.md"] = "# Solo VIP (v1)\n\n[a](docs/architecture.md#title) [b](docs) [c](LICENSE) [d](#solo-vip-v1) [e](https://example.org/x)\n"
	return tree
}

func load(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	root := fstest.MapFS{}
	for p, text := range files {
		root[p] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestGoodTreePasses(t *testing.T) {
	tree := load(t, good())
	for _, c := range Checks() {
		for _, f := range c.Run(tree) {
			t.Errorf("%s: %v", c.Name, f)
		}
	}
}

// TestEachCheckCanFail breaks the good tree in one place at a time: the check meant
// for it must find just that, and what it says must name the remedy.
func TestEachCheckCanFail(t *testing.T) {
	long := "package arbiter\n\n// Long is long.\nfunc Long() {\n" + strings.Repeat("\t_ = 1\n", functionLines+1) + "}\n"
	for _, c := range []struct {
		name, check, path, text string // the file to add or replace; empty text: take it away
		want                    string
	}{
		{"upwards", "imports point downwards", "arbiter/b.go", "package arbiter\n\nimport _ \"github.com/solovip/solovip/node\"\n", "arbiter/b.go:3: arbiter may not import node"},
		{"upwards in a test", "imports point downwards", "arbiter/b_test.go", "package arbiter\n\nimport _ \"github.com/solovip/solovip/node\"\n", "arbiter/b_test.go:3: arbiter may not import node"},
		{"new package", "imports point downwards", "util/u.go", "package util\n", "util/u.go: package util is not in the table"},
		{"impure import", "pure packages stay pure", "arbiter/b.go", "package arbiter\n\nimport \"os\"\n", "arbiter/b.go:3: arbiter is pure and may not import os"},
		{"import of a library", "pure packages stay pure", "node/b.go", "package node\n\nimport \"golang.org/x/sync/errgroup\"\n", "may not import golang.org/x/sync/errgroup"},
		{"clock", "pure packages stay pure", "arbiter/b.go", "package arbiter\n\nimport \"time\"\n\nvar t = time.Now()\n", "arbiter/b.go:5: arbiter is pure and may not use time.Now"},
		{"clock by another name", "pure packages stay pure", "arbiter/b.go", "package arbiter\n\nimport clock \"time\"\n\nvar t = clock.Since\n", "may not use time.Since"},
		{"print", "pure packages stay pure", "arbiter/b.go", "package arbiter\n\nimport \"fmt\"\n\nfunc f() { fmt.Println() }\n", "may not use fmt.Println"},
		{"goroutine", "pure packages stay pure", "arbiter/b.go", "package arbiter\n\nfunc f() { go f() }\n", "may not use goroutines"},
		{"channel", "pure packages stay pure", "arbiter/b.go", "package arbiter\n\nvar c chan int\n", "may not use channels"},
		{"no comment", "every package has one comment", "arbiter/doc.go", "", "arbiter: no doc.go"},
		{"two comments", "every package has one comment", "arbiter/b.go", "// Package arbiter again.\npackage arbiter\n", "arbiter/b.go:1: a package comment stands outside doc.go"},
		{"wrong start", "every package has one comment", "node/doc.go", "// This is a node.\npackage node\n", `does not begin with "Package node "`},
		{"function", "exported names are documented", "arbiter/b.go", "package arbiter\n\nfunc F() {}\n", "arbiter/b.go:3: F is exported"},
		{"method", "exported names are documented", "arbiter/b.go", "package arbiter\n\n// T is.\ntype T[P any] struct{}\n\nfunc (*T[P]) M() {}\n", "arbiter/b.go:6: M is exported"},
		{"type in a group", "exported names are documented", "arbiter/b.go", "package arbiter\n\n// Types.\ntype (\n\tA int\n)\n\ntype (\n\tB int\n\tC int\n)\n", "arbiter/b.go:9: B is exported"},
		{"constant", "exported names are documented", "arbiter/b.go", "package arbiter\n\nconst C = 1\n", "arbiter/b.go:3: C is exported"},
		{"long file", "files and packages stay small", "arbiter/b.go", "package arbiter\n" + strings.Repeat("\n", fileLines), "arbiter/b.go: 501 lines"},
		{"long test", "files and packages stay small", "arbiter/b_test.go", "package arbiter\n" + strings.Repeat("\n", testFileLines), "arbiter/b_test.go: 901 lines"},
		{"long function", "functions stay small", "arbiter/b.go", long, "arbiter/b.go:4: Long has 71 lines"},
		{"dash", "Go files are ASCII", "arbiter/b.go", "package arbiter\n\n// a \u2013 b\n", "arbiter/b.go:3: U+2013"},
		{"later", "nothing is left for later", "Makefile", "# TO" + "DO: all\n", "Makefile:1: TO" + "DO: do it now"},
		{"home", "no path of a developer's machine", "docs/operations.md", "see /ho" + "me/me/x\n", "docs/operations.md:1: /ho" + "me/ is a path of one machine"},
		{"sleep", "tests do not sleep", "arbiter/b_test.go", "package arbiter\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", "arbiter/b_test.go:5: a test sleeps"},
		{"link", "links lead somewhere", "README.md", "[a](docs/nothing.txt)\n", "README.md:1: the link docs/nothing.txt leads nowhere"},
		{"anchor", "links lead somewhere", "README.md", "[a](docs/operations.md#nothing)\n", "docs/operations.md has no such heading"},
		{"document in a comment", "links lead somewhere", "arbiter/b.go", "package arbiter\n\n// See do" + "cs/nothing.md.\n", "arbiter/b.go:3: there is no do" + "cs/nothing.md"},
		{"named test", "tests that documents name are there", "docs/operations.md", "`Test" + "Nothing` and `Test" + "Not...`\n", "docs/operations.md:1: there is no Test" + "Nothing"},
		{"sample", "what is shipped is there", "deploy/examples/lb01.conf", "", "deploy/examples: holds no sample configuration"},
		{"unit", "what is shipped is there", "deploy/systemd/solovip.service", "", "deploy/systemd/solovip.service: is not there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := good()
			if c.text == "" {
				delete(files, c.path)
			} else {
				files[c.path] = c.text
			}
			i := slices.IndexFunc(Checks(), func(k Check) bool { return k.Name == c.check })
			if i < 0 {
				t.Fatalf("there is no check %q", c.check)
			}
			found := Checks()[i].Run(load(t, files))
			if len(found) == 0 || !strings.Contains(found[0].String(), c.want) {
				t.Errorf("found %v, want %q", found, c.want)
			}
		})
	}
	// A budget of a package takes more than one file to break.
	files := good()
	for name := range strings.FieldsSeq("b c d e f g") {
		files["arbiter/"+name+".go"] = "package arbiter\n" + strings.Repeat("\n", fileLines-1)
	}
	if found := filesStaySmall(load(t, files)); len(found) != 1 || found[0].Path != "arbiter" {
		t.Errorf("package of 3000 lines: found %v", found)
	}
}
