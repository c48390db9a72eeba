// Package ipvs makes the kernel balance what package lvs decided: it lists the kernel's
// table as an lvs.State and carries lvs.Steps out, over generic netlink. Why it speaks for
// itself and not through a library is in docs/decisions/0007-ipvs-over-our-own-messages.md.
//
// It decides nothing: it retries nothing, and repairs nothing. A service that it cannot read in
// full (of a kernel newer than it) is told as what is understood of it.
//
// It needs CAP_NET_ADMIN, and the module ip_vs; [Open] loads that if it may. Start
// reading at [Conn]; wire.go holds the messages.
package ipvs
