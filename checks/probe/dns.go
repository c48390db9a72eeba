package probe

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"

	"github.com/solovip/solovip/config"
)

// dnsBytes is room for an answer. The question allows 512 bytes (RFC 1035 section 4.2.1); some
// servers send more.
const dnsBytes = 4096

// dnsProber makes DNS_CHECK: a question over UDP is answered with RCODE 0.
type dnsProber struct {
	c        config.Checker
	question dns.Question
}

func newDNS(c config.Checker, check config.DNSCheck) (Prober, error) {
	typ, known := dns.StringToType[check.Type]
	if _, ok := dns.IsDomainName(check.Name); !known || !ok {
		return nil, fmt.Errorf("DNS_CHECK: nobody can ask for %s of %q", check.Type, check.Name)
	}
	return dnsProber{c, dns.Question{Name: dns.Fqdn(check.Name), Qtype: typ, Qclass: dns.ClassINET}}, nil
}

func (p dnsProber) Probe(ctx context.Context) Outcome {
	name := fmt.Sprintf("%s of %s at", dns.TypeToString[p.question.Qtype], p.question.Name)
	return converse(ctx, p.c, "udp", name, func(conn net.Conn) error { return dnsTalk(conn, p.question) })
}

// dnsTalk asks, and reads until the answer comes.
func dnsTalk(conn net.Conn, question dns.Question) error {
	msg := dns.Msg{MsgHdr: dns.MsgHdr{Id: dns.Id(), RecursionDesired: true}, Question: []dns.Question{question}}
	packet, err := msg.Pack()
	if err != nil {
		return err
	}
	if _, err := conn.Write(packet); err != nil {
		return heard(err)
	}
	for buf := make([]byte, dnsBytes); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return heard(err)
		}
		if ours, err := dnsAnswer(&msg, buf[:n]); ours || err != nil {
			return err
		}
	}
}

// dnsAnswer says whether a packet answers the question, and what is wrong with the answer.
// An answer to another question, of the attempt before for instance where bind_port is set, is neither. One
// that says that it does not fit (TC, RFC 2181 section 9) is an answer, wherever it was cut.
func dnsAnswer(asked *dns.Msg, packet []byte) (ours bool, err error) {
	var got dns.Msg
	err = got.Unpack(packet)
	switch {
	case len(packet) < dnsHeaderBytes:
		return false, fmt.Errorf("%d bytes that are no DNS message", len(packet))
	case got.Id != asked.Id || !got.Response:
		return false, nil
	case got.Rcode != dns.RcodeSuccess:
		return true, fmt.Errorf("%s in place of NOERROR", dnsCode(got.Rcode))
	case err != nil && !got.Truncated:
		return true, fmt.Errorf("an answer that cannot be read: %w", err)
	case len(got.Question) > 0 && !dnsSame(got.Question[0], asked.Question[0]):
		return true, errors.New("an answer to a question that was not asked")
	}
	return true, nil
}

// dnsHeaderBytes is the length of the header of a message.
const dnsHeaderBytes = 12

// dnsSame compares two questions; upper and lower case are the same (RFC 4343).
func dnsSame(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && dns.CanonicalName(a.Name) == dns.CanonicalName(b.Name)
}

// dnsCode names an RCODE.
func dnsCode(code int) string {
	if name, known := dns.RcodeToString[code]; known {
		return name
	}
	return fmt.Sprintf("RCODE %d", code)
}
