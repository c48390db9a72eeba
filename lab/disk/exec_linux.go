package disk

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exec replaces this process by the program argv, whose disk is the Disk that listens at
// the socket's path. It returns only when it fails.
func Exec(socket string, argv []string) error {
	if len(argv) == 0 {
		return errors.New("no program to start")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("reach the disk: %w", err)
	}
	runtime.LockOSThread() // the thread that gets the filter has to be the one that executes the program
	listener, err := intercept()
	if err != nil {
		return err
	}
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(listener), nil); err != nil {
		return fmt.Errorf("hand the kernel's questions to the disk: %w", err)
	}
	if err := conn.Close(); err != nil {
		return fmt.Errorf("hand the kernel's questions to the disk: %w", err)
	}
	return fmt.Errorf("execute %s: %w", path, syscall.Exec(path, argv, os.Environ())) //nolint:gosec // the caller's program
}

// intercept has the kernel ask before this thread, or what it executes, waits for a disk, and
// returns the descriptor on which it asks.
func intercept() (listener int, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("renounce new privileges: %w", err)
	}
	const number = 0 // where the system call's number is in struct seccomp_data
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number}
	equal := func(nr uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: skip}
	}
	answer := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	filter := []unix.SockFilter{
		load, equal(unix.SYS_FSYNC, 2), equal(unix.SYS_FDATASYNC, 1),
		answer(unix.SECCOMP_RET_ALLOW), answer(unix.SECCOMP_RET_USER_NOTIF),
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return 0, fmt.Errorf("have the kernel ask before a disk is waited for (seccomp): %w", errno)
	}
	return int(fd), nil
}
