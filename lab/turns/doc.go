// Package turns decides which runs of a lab play beside each other. All runs are done soonest in
// a crowd, but a crowd can hold a run up until it proves nothing: so most play in one, and alone
// those that were held up. It knows nothing of what is played. Start reading at Turns.
package turns
