// Package selftest shows on this very kernel that the gate works: a process that holds a
// throw-away address behind a real gate is frozen, and somebody outside sees whether the
// address falls silent before its deadline.
//
// It needs no running daemon and touches nothing of the host: everything happens in
// network namespaces that end with it, as root or, where the kernel allows that, as an
// ordinary user in a user namespace.
//
//	solovip fence selftest        starts itself anew in namespaces: the stage
//	  stage                       a cable (veth) to a second namespace, where the eye is
//	    holder                    arms the gate every 200 ms for 1 s, and is frozen
//	    eye                       asks for the address by UDP and ARP each millisecond
//
// What counts is when a question was sent that was still answered: one that was sent after
// the deadline and answered is a failure, however busy the machine is.
//
// Start reading at Run and at stage.round.
package selftest
