// Package ledger keeps the records of fencings in a folder: one line of JSON each, only
// ever appended, on disk before Append returns, rotated by size.
//
// It is made for the worst hour of a machine. A line that a power cut tore is skipped and
// reported, never fatal, and nothing behind it is lost. When the disk is full or
// read-only, Append says so and keeps the line in memory, so that Retry can write it
// later. Rotation takes the records along that are still open, so that the newest file
// says by itself from which claims a node stays out.
//
//	fencings.jsonl     the newest
//	fencings.jsonl.1   before that
//	...
//
// The package decides nothing: what a record says and when one is written is the node's
// business. One Ledger may write in a folder at a time; any number may Read.
//
// Start reading at Ledger.Append and at Read.
package ledger
