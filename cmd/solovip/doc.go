// Command solovip is everything solovip does, in one binary: the node's daemon, the
// witness's daemon, the questions to them, the check of a configuration, and the lab.
//
// This package holds flags, exit codes and signals, and nothing else. It refuses to
// decide, and every exit of the program is in it. docs/operations.md is its manual;
// start reading at run in main.go.
package main
