// Package disk makes a program's disk slow, without a file system of its own and without
// root: each fsync and fdatasync of the program waits before the kernel carries it out.
//
// The program is started by Exec, which has the kernel ask before these system calls
// (seccomp, SECCOMP_RET_USER_NOTIF) and hands the descriptor on which it asks to a Disk.
// That one answers "go on" after the time that Slow has set. What is written is still
// written, and in order: a write is only durable later, as on a disk that is busy.
//
// It refuses to make reads slow, and to fail a write.
//
// Start at Listen.
package disk
