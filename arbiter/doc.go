// Package arbiter decides whether this node may hold a claim now, why, and until when.
//
// It also owns the words the rest speaks in: Mode, Token, Report, Request, Answer. It takes
// evidence in, each piece with its source and age, and gives a Verdict out; it never
// asks for anything itself and never remembers, apart from the promises in Promises and Ballot.
// What is not known is Unknown, never "no".
//
// Start at Decide. testdata/decide.golden is its complete truth table.
package arbiter
