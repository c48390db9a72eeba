// Package witness is the arithmetic of the observed lease: what a node may conclude
// from records that it and others keep in an etcd on a third host, and what it has to
// write there to hold, renew, take and release claims.
//
// The rule in one sentence: a holder serves for Hold, counted from just before it sent
// a renewal that it saw succeed; a candidate waits for Wait, counted on its own clock from
// the moment it saw the holder's record last change, and then takes the claim by
// compare-and-swap on the very versions it saw. Timing.Check holds the inequality that
// makes the two disjoint. No clock is ever compared with another host's clock.
//
// Records: one for each node, whose Beat grows with each renewal, so that the cost of
// renewing does not grow with the number of claims; and one for each claim, which names its
// holder and token. Whoever takes a claim from a node also writes to that node's record, so
// that the node's next renewal, which compares its own record's version, fails and
// brings back the truth in the same transaction.
//
// The package opens nothing and reads no clock: package witness/etcd carries a Swap to
// etcd and an Observation back. Start reading at Lease.
package witness
