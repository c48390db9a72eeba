// Package fencing says what a fencing is: a forced letting go of a claim, or the
// switching off of another node by an agent. It has the records of fencings, which the
// ledger keeps, and the rule by which a node that was fenced stays out of the claim.
//
// A fencing is every letting go by force: the permission ended, another node with a
// higher token was met, the witness gave the claim to another node, an operator said
// `fence now`, a worker died and was cleaned up after, a guarded service cannot be
// shown to be stopped. A handover is none, nor an orderly stop.
//
//	Held --- forced ---> letting go ------> fenced ---------------------> cleared
//	          |          each step with     Ban: out, until the cause     by the operator,
//	          Record     its time           is gone and its time is over  or by itself
//
// The package is pure: it writes nothing (package fencing/ledger does), runs no agent
// (package fencing/agent does), reads no clock, and decides nothing about who may hold.
//
// Start reading at Record and at Ban.Look.
package fencing
