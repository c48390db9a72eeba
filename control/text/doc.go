// Package text writes a node.Snapshot for people: what `solovip status` and `solovip
// fence status` print.
//
// Who holds what comes first, in plain columns that fit 80 characters where the words
// do, without colours. The package is pure: it takes the snapshot, the wall time and a
// width, and returns the text. It refuses to judge: every verdict in its output is a
// field of the snapshot. Whatever comes from other hosts is stripped of control
// characters, so that no peer can write to an operator's terminal.
//
// Start at Status and Fence; testdata holds what they print.
//
//	fmt.Print(text.Status(snap, time.Now(), 80))
package text
