package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/solovip/solovip/config"
)

// udpPayload is sent where the configuration has no payload: servers may know it from
// keepalived.
const udpPayload = "keepalived check - keepalived ch"

// udpProber makes UDP_CHECK: a datagram brings no ICMP error and, if asked for, a reply.
type udpProber struct {
	c     config.Checker
	check config.UDPCheck
}

// Probe, without require_reply, is content when ctx ends and nothing has come: only so it
// sees that nobody has the address any more, which takes the kernel three seconds.
func (p udpProber) Probe(ctx context.Context) Outcome {
	return converse(ctx, p.c, "udp", "udp", func(conn net.Conn) error { return udpTalk(conn, p.check) })
}

func udpTalk(conn net.Conn, check config.UDPCheck) error {
	payload := check.Payload
	if len(payload) == 0 {
		payload = []byte(udpPayload)
	}
	if _, err := conn.Write(payload); err != nil {
		return heard(err)
	}
	if !check.RequireReply {
		_, err := conn.Read(make([]byte, 1))
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return heard(err)
	}
	reply := make([]byte, check.MaxReply+1) // the last byte shows that it is too long
	n, err := conn.Read(reply)
	if err != nil {
		return heard(err)
	}
	return udpReply(check, reply[:n])
}

// udpReply says what is wrong with a reply.
func udpReply(check config.UDPCheck, reply []byte) error {
	switch n := len(reply); {
	case n > check.MaxReply:
		return fmt.Errorf("a reply of more than %d bytes", check.MaxReply)
	case n < check.MinReply:
		return fmt.Errorf("a reply of %d bytes in place of %d or more", n, check.MinReply)
	}
	for i := range min(len(reply), len(check.Reply)) {
		if (reply[i]^check.Reply[i])&check.Mask[i] != 0 {
			return fmt.Errorf("a reply with %02x in place of %02x in byte %d", reply[i], check.Reply[i], i+1)
		}
	}
	return nil
}
