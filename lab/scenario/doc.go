// Package scenario reads and prints what the lab plays: hosts, timed steps, waits on
// events with deadlines, and what each system under test is expected to show.
//
// A Scenario is data, and a file of text that docs/scenarios.md describes; the forms in
// grammar.go are all of its grammar. It refuses to act: package netns plays it on real
// daemons. A scenario never waits by sleeping, except for the deliberate length of a fault
// (Hold), which is part of it.
//
// Those in the folder shipped come with the program, and so does the matrix. An example:
//
//	scenario power-off
//	text n1 loses power while it holds the VIP; n2 takes over
//
//	steps
//	    begin n1
//	    power-off n1
//	    await n2 alone within 10s
//
//	expect lease
//	    holder n2
//
// Start at Scenario and Parse.
package scenario
