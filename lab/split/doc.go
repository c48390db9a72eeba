// Package split cuts a real node off from peers for a stated time, so that people can see
// on their own machines what their set-up does when the network splits.
//
// A Cut is nftables rules in tables of our own. They drop what comes from and goes to the
// addresses in a few sets, and the elements of these sets time out in the kernel: so the
// cut ends by itself when its time is over, whatever has become of who made it. What is
// left then are tables that drop nothing; End, or the next Apply, removes them.
//
//	Apply                                        the elements time out
//	--|-----------------------------------------------|-------------> time
//	  dropped ........................................ ^ open; here the maker calls End
//
// It refuses a cut without an end, one that would take the operator's own SSH session
// away, and a second one while one is in force. It never touches rules of others, and
// never drops what this host only forwards.
//
// Start at Cut; rules.go has the rules, which are written once, for the kernel and for people.
package split
