package disk

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is the disk of the programs that Exec starts with its socket.
type Disk struct {
	listener *net.UnixListener
	delay    atomic.Int64
	waits    atomic.Int64
}

// Listen returns a disk, as fast as the real one, for programs that Exec starts with the
// same socket. It works until Close.
func Listen(socket string) (*Disk, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for programs with a slow disk: %w", err)
	}
	d := &Disk{listener: listener}
	go func() {
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			questions, err := receive(conn)
			if err == nil {
				go d.serve(questions)
			}
		}
	}()
	return d, nil
}

// Slow makes each write take so much longer to be durable from now on. 0: no longer at all.
func (d *Disk) Slow(delay time.Duration) { d.delay.Store(int64(delay)) }

// Waits returns how many times programs have waited for the disk so far, slow or not.
func (d *Disk) Waits() int { return int(d.waits.Load()) }

// Close ends the disk. A program that has it, and would wait for it, then fails with ENOSYS.
func (d *Disk) Close() error { return d.listener.Close() }

// receive takes the descriptor that Exec hands over.
func receive(conn *net.UnixConn) (*os.File, error) {
	defer conn.Close()
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(err, errors.New("no descriptor came"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(err, errors.New("no descriptor came"))
	}
	return os.NewFile(uintptr(fds[0]), "seccomp"), nil
}

// question and answer are struct seccomp_notif and seccomp_notif_resp, seccomp(2).
type question struct {
	id         uint64
	pid, flags uint32
	data       [64]byte
}

type answer struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// serve answers the kernel's questions about one program until that has ended.
func (d *Disk) serve(questions *os.File) {
	defer questions.Close()
	fd := int(questions.Fd())
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil || poll[0].Revents&unix.POLLIN == 0 {
			return // no process has the filter any more
		}
		var q question
		if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); err != nil {
			continue // the one that asked was killed meanwhile
		}
		d.waits.Add(1)
		time.AfterFunc(time.Duration(d.delay.Load()), func() {
			a := answer{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
			_ = ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)) // killed meanwhile
		})
	}
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
