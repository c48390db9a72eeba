// Package script runs the programs that a configuration names, as keepalived runs its
// scripts: without a shell, as the user that was chosen, in a process group of its own
// that is killed when its time is over.
//
// It decides nothing about when they run, and does not read what they print.
//
//	err := script.Script{Args: []string{"/usr/local/bin/check", "10.0.0.1"}, User: "nobody"}.Run(ctx, 5*time.Second)
//
// Start reading at [Script].
package script
