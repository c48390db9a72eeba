// Package await has what tests need that wait for something real: a condition with a deadline,
// and a log that can be read while it is being written.
//
// No program imports it, and it is not for a machine under virtual time: that has its instants
// passed in. Start reading at That.
package await
