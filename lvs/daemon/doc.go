// Package daemon is the shell around package lvs: the worker of a node that runs checks and
// makes the kernel balance. It turns results of checks, the kernel's table, addresses of this
// host, states of instances and operators' words into events for an lvs.Balancer, and its
// actions into effects. It decides nothing.
//
// One goroutine owns the balancer and runs the loop; what can block (the kernel, checks,
// scripts, files, the configuration) runs beside it, in order where order counts, and comes
// back as an event.
//
// It touches no virtual address, and knows of the worker for VRRP only what that tells
// everybody on its control socket. When it dies the kernel goes on balancing as it was told
// last, and its successor goes on from there.
//
// Start reading at [Run], then loop.go.
package daemon
