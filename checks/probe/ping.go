package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/config"
)

// pingProber makes PING_CHECK: an echo request is answered.
type pingProber struct{ c config.Checker }

func (p pingProber) Probe(ctx context.Context) Outcome {
	if err := ping(ctx, p.c); err != nil {
		return failed(fmt.Errorf("ping %s: %w", p.c.Target.Addr(), err))
	}
	return Outcome{OK: true}
}

// pingDataBytes is how much random data a request has, by which its reply is known.
const pingDataBytes = 16

// ping sends an echo request, and reads until the reply comes or ctx ends.
func ping(ctx context.Context, c config.Checker) error {
	conn, err := pingDial(c)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all that counts has been read
	defer endWith(ctx, conn)()
	random := make([]byte, 2+pingDataBytes)
	_, _ = rand.Read(random) // never an error
	v6, data := c.Target.Addr().Is6(), random[2:]
	// A ping socket puts an identifier of its own in; the checksum of ICMPv6 is the
	// kernel's business.
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(binary.BigEndian.Uint16(random)), Seq: 1, Data: data}}
	if v6 {
		request.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err := request.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := conn.Write(packet); err != nil {
		return heard(err)
	}
	for buf := make([]byte, 256); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return heard(err)
		}
		if pingReply(buf[:n], v6, data) {
			return nil
		}
	}
}

// pingReply says whether a packet is the reply with the data. A raw socket of IPv4 hands over
// the IP header too, and all other ICMP from the target as well.
func pingReply(packet []byte, v6 bool, data []byte) bool {
	const icmp4, icmp6 = 1, 58
	protocol, typ := icmp4, icmp.Type(ipv4.ICMPTypeEchoReply)
	if v6 {
		protocol, typ = icmp6, ipv6.ICMPTypeEchoReply
	} else if len(packet) > 0 && packet[0]>>4 == 4 { // no type of ICMP that is a reply begins so
		header := int(packet[0]&0xf) * 4
		packet = packet[min(header, len(packet)):]
	}
	msg, err := icmp.ParseMessage(protocol, packet)
	if err != nil || msg.Type != typ {
		return false
	}
	echo, ok := msg.Body.(*icmp.Echo)
	return ok && bytes.Equal(echo.Data, data)
}

// pingDial opens a socket that sends echo requests to the target and hears what comes back. A
// ping socket is what anybody in net.ipv4.ping_group_range may have, and hears nothing of
// others; else it is a raw one.
func pingDial(c config.Checker) (net.Conn, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if c.Target.Addr().Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if errors.Is(err, unix.EACCES) {
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
	}
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%w: this needs CAP_NET_RAW, or our group in net.ipv4.ping_group_range", err)
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "ping")
	defer func() { _ = file.Close() }() // conn is a copy of it
	if err := pingConnect(fd, c); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn, reportErrors(conn, c)
}

// pingConnect sets a socket up as the checker wants it.
func pingConnect(fd int, c config.Checker) error {
	if err := prepare(c, fd); err != nil {
		return err
	}
	if from := c.Bind.Addr(); from.IsValid() {
		if err := unix.Bind(fd, sockaddr(from)); err != nil {
			return fmt.Errorf("bindto %s: %w", from, err)
		}
	}
	return unix.Connect(fd, sockaddr(c.Target.Addr()))
}

// sockaddr returns an address as the kernel wants it, without a port.
func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	to := &unix.SockaddrInet6{Addr: a.As16()}
	if zone := a.Zone(); zone != "" {
		if link, err := net.InterfaceByName(zone); err == nil {
			to.ZoneId = uint32(link.Index)
		} else if index, err := strconv.ParseUint(zone, 10, 32); err == nil {
			to.ZoneId = uint32(index)
		}
	}
	return to
}
