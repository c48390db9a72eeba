// Package lab is the split-brain simulator's command: it runs scenarios on solovip and
// on keepalived and has what was seen reported.
//
// It refuses to decide: package scenario declares the stories, package netns plays them
// on real daemons, package verify judges what was recorded, and package report shows it.
//
// Start at Command.
package lab
