// Package sim runs whole clusters under virtual time from one seed: the same package
// node that the daemon runs, with a network, a witness, guarded services and faults that
// are only arithmetic. A failing seed runs again exactly as before.
//
// Clients are not played one by one: the Checker looks with the eyes of all of them, at every
// instant at which something changes, and sees whose kernel would answer.
//
// It is no test of the kernel's part: package lab/netns drives the real binary.
// Start at World, then daemon.do; Story says which faults a seed plays, Rule what is judged.
// The tests plant bugs that stories have to find. docs/simulator.md tells how to use it.
package sim
