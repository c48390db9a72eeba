// Package report shows what runs of the lab have shown: on a terminal as it happens and
// when it is over, as a table of systems beside each other, and as one HTML page that
// needs nothing else.
//
// It refuses to judge: the verdict and its figures are package verify's. What a daemon
// said about itself is drawn as such, apart from what was seen.
//
// Start at Run, then Printer and Page.
package report
