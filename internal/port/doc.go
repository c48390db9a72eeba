// Package port finds ports for tests that tell a program by number where to listen, or that
// need a place where nobody does.
//
// A port that was found free and then let go may be somebody else's a moment later: packages
// are tested side by side. So it is held until the test ends, in a way that keeps all others out.
// No program imports it. Start reading at [Hold].
package port
