// Package ipvs makes the kernel balance what package lvs decided: it lists the kernel's
// table as an lvs.State and carries lvs.Steps out. It does so by github.com/moby/ipvs where
// that can say what is to be said, and by messages of its own over the same netlink library where
// it cannot: docs/decisions/0007-ipvs-by-moby-and-by-our-own-messages.md says which and why.
//
// It decides nothing: it retries nothing, and repairs nothing. A service that it cannot read in
// full (of a kernel newer than it) is told as what is understood of it.
//
// It needs CAP_NET_ADMIN, and the module ip_vs; [Open] loads that if it may. Start
// reading at [Conn]; values.go turns values into those of moby/ipvs, wire.go holds the
// messages of our own.
package ipvs
