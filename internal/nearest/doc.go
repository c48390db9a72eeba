// Package nearest finds the word that a mistyped one was most likely meant to be, for
// the remedy in an error message.
//
// It refuses to guess: a word that is not near to any gets no answer, for a wrong hint is
// worse than none. It is pure.
//
// Start at Word: Word("prioirty", keywords) is "priority".
package nearest
