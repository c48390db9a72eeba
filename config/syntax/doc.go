// Package syntax is the lexical layer of keepalived.conf: it reads a file and all it
// includes and returns a tree of statements whose every word knows the file, line and
// column it was written at.
//
// It does what keepalived 2.2.7 was measured to do with comments, quotes, braces, line
// ends, include and its strict variants, @id lines, definitions, ~SEQ and ~LST. Where
// keepalived loses text in silence (a line that is too long, a definition that nobody
// made, a brace too many) the text is an error in the [Report] instead. See
// docs/compatibility.md for the few places where the two differ on purpose.
//
// The package knows no keywords: which of them exist, what they take and what they mean
// is the business of package config. It touches no disk but through the [io/fs.FS] in
// [Options], reads no clock, and never panics on input.
//
// Start reading at [Parse] in parse.go. The way of a line is: reader.go (bytes of a
// file, comments), lines.go (what a line may be before it is a statement: condition,
// include, definition, repetition, substitution), parse.go (braces, tree), words.go
// (words, as plain keywords and as commands see them).
//
//	tree, report := syntax.Parse("/etc/keepalived/keepalived.conf", syntax.Options{})
//	if report.HasErrors() {
//		report.Render(os.Stderr)
//	}
//	for _, n := range tree.Nodes {
//		fmt.Println(n.Pos(), n.Keyword())
//	}
package syntax
