package config

import (
	"net/netip"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// Checker is one checker of a real server, with everything that it takes from the real
// server, the virtual server and keepalived's defaults filled in.
type Checker struct {
	Check Check
	// Target is what is connected to: connect_ip and connect_port, by default the real
	// server's address and its port, or that of the service. Not used by MISC_CHECK,
	// FILE_CHECK and BFD_CHECK; PING_CHECK has no use for the port.
	Target netip.AddrPort
	Bind   netip.AddrPort // bindto and bind_port; an invalid address or port 0: any
	Iface  string         // bind_if: the interface packets go out of; empty: any
	FWMark uint32         // put on outgoing packets; 0: none

	Interval         time.Duration // delay_loop, from the start of one check to the next; default 60 s
	Timeout          time.Duration // connect_timeout; default 5 s
	Retry            int           // further attempts before the server is down; default 1, DNS 3, MISC 0
	DelayBeforeRetry time.Duration // default 1 s; HTTP and SSL 3 s; DNS the interval
	Warmup           time.Duration // the first check is at a random instant until then; default: the interval
	Alpha            bool          // the server is down until the first check succeeds
	LogAllFailures   bool          // each failure is worth a line, not only the change
	Pos              syntax.Pos
}

// Check is what a checker does: one of TCPCheck, HTTPCheck, SMTPCheck, DNSCheck, MiscCheck,
// UDPCheck, PingCheck, FileCheck and BFDCheck.
//
//sumtype:decl
type Check interface {
	// Keyword returns the name of the block: "TCP_CHECK", "SSL_GET" ...
	Keyword() string
	check()
}

// TCPCheck is TCP_CHECK: a connection can be made.
type TCPCheck struct{}

// HTTPCheck is HTTP_GET, and with TLS SSL_GET: pages can be fetched.
type HTTPCheck struct {
	URLs         []URL // at least one; each is fetched, one at each interval
	Version      HTTPVersion
	FastRecovery bool // the URLs are fetched without waiting for the interval while the server is down
	TLS          *TLS // nil: HTTP_GET
}

// HTTPVersion is the protocol that an HTTPCheck speaks.
type HTTPVersion uint8

// The choices of http_protocol.
const (
	HTTP10      HTTPVersion = iota // 1.0 (default)
	HTTP10Close                    // 1.0C: 1.0 with Connection: close
	HTTP11                         // 1.1
	HTTP2                          // 2: not in keepalived
)

// TLS is how SSL_GET connects. Neither chain nor name of the server's certificate is
// looked at unless Verify is set, as in keepalived.
type TLS struct {
	SNI        bool   // enable_sni, or sni_name
	ServerName string // sni_name; empty with SNI: the virtual host of the URL
	Verify     bool   // verify_host: the certificate must be valid for VerifyName
	VerifyName string // default: ServerName, the virtual host of the URL, or the address
	// Compliant asks the server to end the connection by the rules of TLS (close_notify);
	// an end without it is a failure.
	Compliant bool
	Files     SSL // the SSL block; zero: there is none
}

// URL is one page of an HTTPCheck.
type URL struct {
	Path      string        // begins with /
	Host      string        // virtualhost, of the url, checker, real or virtual server; empty: the target's address
	Digest    string        // MD5 of the body in lower-case hexadecimal; empty: any
	Status    []StatusRange // default 200 to 299
	Regex     *Regex        // nil: any body
	Compliant bool          // tls_compliant of the url: in addition to that of the checker
	Pos       syntax.Pos
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// Regex is a regular expression that the body has to match.
type Regex struct {
	// Source is in the syntax of Go's regexp package, with regex_options in front; it
	// is known to compile.
	Source  string
	NoMatch bool // regex_no_match: a match is the failure
	Min     int  // regex_min_offset: bytes of the body left out before matching
	Max     int  // regex_max_offset: where a match may begin at the latest; 0: anywhere
}

// SMTPCheck is SMTP_CHECK: a mail server greets, takes HELO and QUIT.
type SMTPCheck struct {
	Helo string // helo_name; default smtpchecker.keepalived.org
}

// DNSCheck is DNS_CHECK: a name server answers over UDP with RCODE 0.
type DNSCheck struct {
	Type string // A, NS, CNAME, SOA (default), MX, TXT, AAAA, RRSIG or DNSKEY
	Name string // default "."
}

// MiscCheck is MISC_CHECK: a program that ends with status 0.
type MiscCheck struct {
	Command Command
	Timeout time.Duration // misc_timeout; default: the interval
	// Dynamic makes the exit status a weight: 2 to 255 is success and a weight of the
	// status less 2.
	Dynamic bool
	User    string // "user[:group]"; empty: Global.ScriptUser
}

// UDPCheck is UDP_CHECK: no ICMP error comes back and, if asked for, a reply does.
type UDPCheck struct {
	Payload      []byte // empty: 32 bytes, the same as keepalived's
	RequireReply bool
	// Reply is compared with the beginning of the reply, as far as both go, where Mask
	// has one bits; both have the same length, empty: any reply.
	Reply, Mask []byte
	MinReply    int // bytes; default 0
	MaxReply    int // bytes; default 255 with Reply, and any number without
}

// PingCheck is PING_CHECK: an echo request is answered.
type PingCheck struct{}

// FileCheck is FILE_CHECK: the number in a file is added to the weight.
type FileCheck struct {
	File    TrackFile
	Weight  int // the number is multiplied by it; default: the file's
	Reverse bool
}

// BFDCheck is BFD_CHECK: a BFD session is up.
type BFDCheck struct {
	Name string // of a bfd_instance
}

// Keyword returns "TCP_CHECK".
func (TCPCheck) Keyword() string { return "TCP_CHECK" }

// Keyword returns "HTTP_GET" or "SSL_GET".
func (c HTTPCheck) Keyword() string {
	if c.TLS != nil {
		return "SSL_GET"
	}
	return "HTTP_GET"
}

// Keyword returns "SMTP_CHECK".
func (SMTPCheck) Keyword() string { return "SMTP_CHECK" }

// Keyword returns "DNS_CHECK".
func (DNSCheck) Keyword() string { return "DNS_CHECK" }

// Keyword returns "MISC_CHECK".
func (MiscCheck) Keyword() string { return "MISC_CHECK" }

// Keyword returns "UDP_CHECK".
func (UDPCheck) Keyword() string { return "UDP_CHECK" }

// Keyword returns "PING_CHECK".
func (PingCheck) Keyword() string { return "PING_CHECK" }

// Keyword returns "FILE_CHECK".
func (FileCheck) Keyword() string { return "FILE_CHECK" }

// Keyword returns "BFD_CHECK".
func (BFDCheck) Keyword() string { return "BFD_CHECK" }

func (TCPCheck) check()  {}
func (HTTPCheck) check() {}
func (SMTPCheck) check() {}
func (DNSCheck) check()  {}
func (MiscCheck) check() {}
func (UDPCheck) check()  {}
func (PingCheck) check() {}
func (FileCheck) check() {}
func (BFDCheck) check()  {}
