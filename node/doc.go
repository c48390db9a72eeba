// Package node is one node of a cluster, composed of the pure machines: vrrp for each
// instance, witness for the lease, arbiter for the decision, and a phase for each claim.
//
// An event and the time go in, ordered actions come out; the order of actions is the
// order of their effects. Taking a claim: permission, token stored, gate armed, addresses
// on, announced, guards started. Letting go: gate shut, addresses off, guards
// stopped, all verified, and only then the claim is released.
//
// The package opens nothing, starts nothing, reads no clock and logs nothing: package
// node/daemon turns the world into events and actions into effects, lab/sim does the
// same under virtual time. Start reading at Node.Step, then claim.go.
package node
