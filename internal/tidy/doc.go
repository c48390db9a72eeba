// Package tidy holds the rules of this repository that neither the compiler nor the
// linter holds, as tests on the tree: who may import whom, what a pure package may use,
// package comments, sizes, plain ASCII, links that lead somewhere.
//
// Each check is a function from a Tree to findings; a finding names the place and says
// what to do. tidy_test.go runs them on this repository, and each of them on an
// example that breaks it, because a check that cannot fail checks nothing.
//
// The package reads files and nothing else: it runs no go command and needs no network.
// Start at Checks; the table of imports in imports.go is the architecture in short.
package tidy
