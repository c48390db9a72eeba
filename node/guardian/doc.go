// Package guardian keeps the worker processes of a node running: it starts them, hears
// their heartbeats, and kills and replaces one that dies or hangs, at once.
//
// It is small on purpose, because nobody watches it but the service manager: it reads no
// configuration, opens no socket of the network, and knows nothing of addresses or
// claims. What a worker left behind is for the next worker to clean up. Only when a
// worker is known to be dead, because the guardian has reaped it, is the next one
// started. When the guardian dies its workers stop in order.
//
// Start reading at Run; the worker's end is Link.
package guardian
