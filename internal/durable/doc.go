// Package durable replaces files so that a crash, also of the kernel, leaves the old one or
// the new one, never half of each.
//
// It knows nothing of what is in them. Start reading at [WriteFile].
package durable
