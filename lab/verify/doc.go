// Package verify judges a run of the lab from what was recorded of it from outside:
// who answered ARP for the VIP, whose kernel had the address, whose service answered.
//
// It refuses to know the system under test: nothing that a daemon says about itself
// gets in here. It is pure: a Recorder turns single observations into a History, and
// Measure and Judge turn a History into figures and a verdict, today or from a file.
//
// Observations are points in time; a Span reaches from the first to the last of an
// unbroken row of them, so it says only what was seen. Two nodes held together when
// spans of theirs overlap: then each was seen before and after, or at, an instant at
// which the other was. A handover between two observations is never mistaken for that.
//
//	asked     |   |   |   |   |   |   |   |
//	n1        *   *   *   .   .   .   .   .     span n1 [0, 2]
//	n2        .   .   .   .   .   *   *   *     span n2 [5, 7], gap [3, 5]
//
// Start at History, then Measure.
package verify
