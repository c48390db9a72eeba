package mesh

import (
	"encoding/binary"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stampBytes is room for the control message with a packet's time of arrival.
const stampBytes = 64

// stampPackets asks the kernel to note when each packet arrived. A kernel that cannot
// is no reason to fail: packets are taken as fresh then.
func stampPackets(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // see above
	})
}

// packetStamp returns when a packet arrived, on the wall clock.
func packetStamp(oob []byte) (time.Time, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}, false
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_TIMESTAMPNS {
			continue
		}
		switch order := binary.NativeEndian; len(m.Data) {
		case 16: // struct timespec of a 64-bit kernel
			return time.Unix(int64(order.Uint64(m.Data)), int64(order.Uint64(m.Data[8:]))), true
		case 8: // and of a 32-bit one
			return time.Unix(int64(int32(order.Uint32(m.Data))), int64(order.Uint32(m.Data[4:]))), true
		}
	}
	return time.Time{}, false
}

// streamAge returns how long ago the last byte of a stream arrived, 0 if the kernel
// does not say.
func streamAge(conn *net.TCPConn) time.Duration {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var info *unix.TCPInfo
	if raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}) != nil || err != nil {
		return 0
	}
	return time.Duration(info.Last_data_recv) * time.Millisecond
}
