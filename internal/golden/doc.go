// Package golden is for tests that are told in files: it plays stories of a machine and
// writes down what the machine does, and it compares what a test makes with a file.
//
// A story is a list of steps: commands, one a line, then "----", then all that was done, up to
// an empty line. Lines that begin with # are comments. What the commands and the traces say is the
// machine's business. With -rewrite the files are written anew, to be read as a diff:
//
//	go test ./vrrp -run TestScripts -rewrite
//
// Start reading at Play. No program imports it.
package golden
