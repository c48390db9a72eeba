// Package probe makes one attempt of a check: it connects, asks and judges the answer.
// When attempts are made, how many have to fail and what a failure means for a server is
// decided elsewhere (package checks).
//
// It follows no redirection, keeps no connection for a later attempt, and believes nothing
// it is sent: what is read of an answer is bounded in size, and in time by the context.
// It runs no shell. What cannot be tried (a certificate that cannot be read, an
// interface that is not there) is a failure that says why, and is tried anew with the next
// attempt.
//
// Start reading at [New], which says what attempts at a checker are, and [NewWatcher], for
// the checkers that report without any:
//
//	p, err := probe.New(checker)
//	...
//	ctx, cancel := context.WithTimeout(ctx, probe.Limit(checker))
//	defer cancel()
//	outcome := p.Probe(ctx)
package probe
