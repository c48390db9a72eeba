// Package stories tests the binary by the set-ups that people really have: pairs of
// keepalived.conf files with their scripts, told step by step as their authors tell
// them, on real daemons in network namespaces.
//
// It has tests only, which want root: start at TestNginxPair.
package stories
