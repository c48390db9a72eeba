// Package authority issues certificates for tests that speak TLS: by an authority of the test's
// own, in PEM files.
//
// It is for no more than that, and no program imports it. Start reading at [New].
package authority
