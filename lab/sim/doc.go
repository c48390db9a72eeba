// Package sim runs whole clusters under virtual time from one seed: the same package
// node that the daemon runs, with a network, a witness, guarded services and faults that
// are only arithmetic. A failing seed runs again exactly as before.
//
// It is no test of the kernel's part: package lab/netns drives the real binary.
// Start at World, then Host.do; Story says which faults a seed plays.
package sim
