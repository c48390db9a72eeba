// Package lab is the split-brain simulator's command: it runs scenarios on solovip and
// on keepalived and prints what was seen, as a timeline, as lanes and as a verdict.
//
// It refuses to decide: package scenario declares the stories, package netns plays them
// on real daemons and package verify judges what was recorded.
//
// Start at Command.
package lab
