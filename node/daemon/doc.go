// Package daemon is the shell around package node: it turns the world into events and
// actions into effects, and decides nothing.
//
// One goroutine owns the node and runs the loop. It sends adverts and changes addresses itself,
// because these are quick and must not wait; whatever can block (a token's
// fsync, a guarded service, a notify script, the witness) runs beside it, in order where order
// counts, and comes back as an event.
//
// Start reading at Run, then loop.go.
package daemon
