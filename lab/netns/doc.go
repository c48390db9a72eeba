// Package netns plays scenarios on real daemons in network namespaces, without root
// where the kernel grants user namespaces, and records from outside what comes of it.
//
// Run starts the lab's own binary a second time, as the stage: process 1 of private
// user, process, mount and network namespaces. All that a run makes lives in there, so
// that nothing outlives it, not even when the runner is killed: the stage then reads
// the end of its input and leaves, and the kernel takes the rest along.
//
//	runner ---- job, liveness ---> stage (pid 1, then the player)
//	       <--- marks, result ----   switch: a bridge, one port a host
//	                                  |      |      |      |
//	                                 n1     n2     w1     c1     a network namespace each
//	                               daemons daemons witness oracle
//
// The oracle believes no daemon: it asks for the VIP by ARP, UDP and HTTP from the
// client, asks the nodes' kernels whether the VIP is theirs, and hears from the guarded
// service when it runs. Package verify makes figures and a verdict of that.
//
// Start at Run, then Stage.
package netns
