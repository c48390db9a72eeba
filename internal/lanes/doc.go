// Package lanes does what a daemon's loop must not wait for: each piece of work after the
// one before it in its lane, and the lanes side by side.
//
// It decides nothing, and knows nothing of what the work is. Start reading at [Lanes].
package lanes
