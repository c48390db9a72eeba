package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// dnsTypes are the types that DNS_CHECK can ask for.
var dnsTypes = []string{"A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"} //nolint:gochecknoglobals // a table

// checkerDraft is a checker as far as it is read.
type checkerDraft struct {
	Checker
	inherited // host is the virtualhost of the checker
	block     *syntax.Node
	connectIP netip.Addr
	port      uint16
}

// readChecker reads a block of a real server if it is a checker. One that keepalived would
// drop leaves the server up for ever, which is what a checker is there to prevent: an error.
func (l *loader) readChecker(v *virtualDraft, r *RealServer, outer inherited, block *syntax.Node) []Checker {
	if !strings.HasSuffix(block.Keyword(), "_CHECK") && !strings.HasSuffix(block.Keyword(), "_GET") {
		return nil
	}
	c := &checkerDraft{block: block}
	c.Pos, c.LogAllFailures = head(block).Pos, l.cfg.LVS.LogAllFailures
	var own []*syntax.Node // keywords of this kind of checker alone
	for _, n := range l.good(block) {
		if n.Keyword() == "weight" || !l.readConnection(c, n) && !l.readInherited(&c.inherited, n) {
			own = append(own, n)
		}
	}
	c.inherited = c.over(outer)
	l.finishChecker(c)
	ok := true
	switch block.Keyword() {
	case "TCP_CHECK":
		c.Check = TCPCheck{}
	case "PING_CHECK":
		c.Check = PingCheck{}
	case "HTTP_GET", "SSL_GET":
		ok = l.readHTTP(c, own)
	case "SMTP_CHECK":
		l.readSMTP(c, own)
	case "DNS_CHECK":
		l.readDNS(c, own)
	case "MISC_CHECK":
		ok = l.readMisc(c, own)
	case "UDP_CHECK":
		ok = l.readUDP(c, own)
	case "FILE_CHECK":
		ok = l.readFile(c, own)
	case "BFD_CHECK":
		ok = l.readBFD(c, own)
	}
	l.finishTarget(c, v, r)
	if !ok {
		return nil
	}
	return append([]Checker{c.Checker}, l.readHosts(c, v, r, own)...)
}

// readHosts reads the host blocks of SMTP_CHECK, an old way to check more than one: each is
// a checker beside the one of the block, with a target of its own and else the same.
func (l *loader) readHosts(c *checkerDraft, v *virtualDraft, r *RealServer, own []*syntax.Node) []Checker {
	var hosts []Checker
	for _, n := range own {
		if n.Keyword() != "host" {
			continue
		}
		h := &checkerDraft{Checker: c.Checker, block: n}
		h.Bind, h.Iface, h.FWMark = netip.AddrPort{}, "", 0
		for _, inner := range l.good(n) {
			l.readConnection(h, inner)
		}
		l.finishTarget(h, v, r)
		hosts = append(hosts, h.Checker)
	}
	return hosts
}

// readConnection reads what checkers connect to and how. It returns false for another keyword.
func (l *loader) readConnection(c *checkerDraft, n *syntax.Node) bool {
	address := func(to *netip.Addr) {
		w := n.Args()[0]
		a, err := netip.ParseAddr(w.Text)
		if err != nil {
			l.warn(w, "write an address without a prefix, for instance 10.0.0.1", "%s %s is no address: it is ignored", n.Keyword(), quote(w.Text))
			return
		}
		*to = a
	}
	port := func(to *uint16) {
		if v, ok := l.number(Warning, n.Keyword(), n.Args()[0], 1, 65535, "it is ignored"); ok {
			*to = uint16(v)
		}
	}
	switch n.Keyword() {
	case "connect_ip":
		address(&c.connectIP)
	case "connect_port":
		port(&c.port)
	case "bindto":
		a, p := c.Bind.Addr(), c.Bind.Port()
		address(&a)
		c.Bind = netip.AddrPortFrom(a, p)
	case "bind_port":
		p := c.Bind.Port()
		port(&p)
		c.Bind = netip.AddrPortFrom(c.Bind.Addr(), p)
	case "bind_if":
		c.Iface = n.Args()[0].Text
	case "fwmark":
		if v, ok := l.number(Warning, "fwmark", n.Args()[0], 0, maxMark, "it is ignored"); ok {
			c.FWMark = uint32(v)
		}
	case "log_all_failures":
		if on, ok := l.boolean(n); ok {
			c.LogAllFailures = on
		}
	default:
		return false
	}
	return true
}

// finishChecker fills keepalived's defaults in.
func (*loader) finishChecker(c *checkerDraft) {
	retry, pause := 1, time.Second
	c.Interval = first(c.interval, nil, 60*time.Second)
	switch c.block.Keyword() {
	case "HTTP_GET", "SSL_GET":
		pause = 3 * time.Second
	case "DNS_CHECK":
		retry, pause = 3, c.Interval
	case "MISC_CHECK":
		retry = 0
	}
	c.Timeout = first(c.timeout, nil, 5*time.Second)
	c.Retry = first(c.retry, nil, retry)
	c.DelayBeforeRetry = first(c.beforeRetry, nil, pause)
	c.Warmup = first(c.warmup, nil, c.Interval)
	c.Alpha = first(c.alpha, nil, false)
}

// finishTarget settles what is connected to.
func (l *loader) finishTarget(c *checkerDraft, v *virtualDraft, r *RealServer) {
	switch c.Check.(type) {
	case MiscCheck, FileCheck, BFDCheck, nil:
		return
	case TCPCheck, HTTPCheck, SMTPCheck, DNSCheck, UDPCheck, PingCheck:
	}
	addr, port := r.Addr.Addr(), r.Addr.Port()
	if c.connectIP.IsValid() {
		addr = c.connectIP
	}
	if port == 0 {
		port = v.Services[0].Addr.Port()
	}
	if c.port != 0 {
		port = c.port
	}
	c.Target = netip.AddrPortFrom(addr, port)
	if _, ping := c.Check.(PingCheck); port == 0 && !ping {
		l.warn(head(c.block), "write connect_port and a number", "%s has no port to connect to: it fails always", c.Check.Keyword())
	}
	if b := c.Bind.Addr(); b.IsValid() && b.Is6() != addr.Is6() {
		l.warn(head(c.block), "write an address of the same family", "bindto %s is not of the address family of %s: it is ignored", b, addr)
		c.Bind = netip.AddrPortFrom(netip.Addr{}, c.Bind.Port())
	}
}

// readSMTP reads the keywords of SMTP_CHECK but for its host blocks.
func (*loader) readSMTP(c *checkerDraft, own []*syntax.Node) {
	check := SMTPCheck{Helo: "smtpchecker.keepalived.org"}
	for _, n := range own {
		if n.Keyword() == "helo_name" {
			check.Helo = n.Args()[0].Text
		}
	}
	c.Check = check
}

// readDNS reads the keywords of DNS_CHECK.
func (l *loader) readDNS(c *checkerDraft, own []*syntax.Node) {
	check := DNSCheck{Type: "SOA", Name: "."}
	for _, n := range own {
		w := n.Args()[0]
		switch n.Keyword() {
		case "type":
			t := strings.ToUpper(w.Text)
			if !slices.Contains(dnsTypes, t) {
				l.warn(w, "write one of "+strings.Join(dnsTypes, ", "), "unknown type %s: %s is used", quote(w.Text), check.Type)
				continue
			}
			check.Type = t
		case "name":
			if !isDomain(w.Text) {
				l.warn(w, "write labels of 1 to 63 characters with dots between, 253 in all", "%s is no domain name: %s is asked for", quote(w.Text), check.Name)
				continue
			}
			check.Name = w.Text
		}
	}
	c.Check = check
}

// isDomain says whether a name can be asked for (RFC 1035 section 2.3.4).
func isDomain(name string) bool {
	name = strings.TrimSuffix(name, ".")
	for label := range strings.SplitSeq(name, ".") {
		if name != "" && (label == "" || len(label) > 63) {
			return false
		}
	}
	return len(name) <= 253
}

// readMisc reads the keywords of MISC_CHECK.
func (l *loader) readMisc(c *checkerDraft, own []*syntax.Node) bool {
	check := MiscCheck{Timeout: c.Interval}
	bad := false
	for _, n := range own {
		switch n.Keyword() {
		case "misc_path":
			check.Command, bad = l.miscCommand(n)
		case "misc_timeout":
			if d, ok := l.seconds(Warning, n.Keyword(), n.Args()[0], 0, maxServerTime, "it is ignored"); ok && d > 0 {
				check.Timeout = d
			}
		case "misc_dynamic":
			check.Dynamic = true
		case "user":
			var ok bool
			if check.User, ok = l.user(n.Args(), "keepalived removes the checker; here it fails until the user is there"); !ok {
				check.User = n.Args()[0].Text
			}
		}
	}
	c.Check = check
	if len(check.Command.Args) == 0 && !bad && !l.anyBad(c.block, "misc_path") {
		l.fail(head(c.block), `write misc_path "/path/to/program arguments"`, "MISC_CHECK has no misc_path: keepalived leaves it out, and the server is never down")
	}
	return len(check.Command.Args) > 0 && !bad
}

// miscCommand reads misc_path, and whether it is told already that it is bad.
func (l *loader) miscCommand(n *syntax.Node) (c Command, bad bool) {
	c, more, ok := l.command(n)
	if !ok {
		return c, true
	}
	if len(more) > 0 {
		l.warn(more[0], "put the whole command in double quotes: misc_path "+quote(c.Text+" ..."),
			"%s is not part of the command: keepalived runs %s without it", quote(more[0].Text), c.Args[0])
	}
	l.runnable(n, c, "keepalived removes the checker; here it fails until the program is there")
	return c, false
}

// readFile reads the keywords of FILE_CHECK.
func (l *loader) readFile(c *checkerDraft, own []*syntax.Node) bool {
	var check FileCheck
	found, told := false, l.anyBad(c.block, "track_file")
	for _, n := range own {
		if n.Keyword() != "track_file" {
			continue
		}
		w := n.Args()[0]
		names := make([]string, 0, len(l.cfg.TrackFiles))
		for _, f := range l.cfg.TrackFiles {
			if names = append(names, f.Name); f.Name == w.Text {
				check.File, check.Weight, check.Reverse, found = f, f.Weight, f.Reverse, true
			}
		}
		if !found {
			told = true
			l.fail(w, didYouMean(w.Text, names), "there is no track_file %s: keepalived leaves the checker out", quote(w.Text))
		}
	}
	for _, n := range own {
		if n.Keyword() == "weight" {
			l.fileWeight(n, &check.Weight, &check.Reverse)
		}
	}
	c.Check = check
	if !found && !told {
		l.fail(head(c.block), "write track_file and the name of a track_file block", "FILE_CHECK has no track_file: keepalived leaves it out")
	}
	return found
}

// readBFD reads the keywords of BFD_CHECK.
func (l *loader) readBFD(c *checkerDraft, own []*syntax.Node) bool {
	var check BFDCheck
	for _, n := range own {
		if n.Keyword() == "name" {
			check.Name = n.Args()[0].Text
		}
	}
	c.Check = check
	if check.Name == "" && !l.anyBad(c.block, "name") {
		l.fail(head(c.block), "write name and the name of a bfd_instance", "BFD_CHECK has no name: keepalived leaves it out")
	}
	return check.Name != ""
}

// readUDP reads the keywords of UDP_CHECK.
func (l *loader) readUDP(c *checkerDraft, own []*syntax.Node) bool {
	var check UDPCheck
	all := true
	for _, n := range own {
		switch n.Keyword() {
		case "payload":
			var ok bool
			check.Payload, _, ok = l.hex(n, false)
			all = all && ok
		case "require_reply":
			check.RequireReply = true
			if len(n.Args()) > 0 {
				var ok bool
				check.Reply, check.Mask, ok = l.hex(n, true)
				all = all && ok
			}
		case "min_reply_length", "max_reply_length":
			to := &check.MinReply
			if n.Keyword() == "max_reply_length" {
				to = &check.MaxReply
			}
			if v, ok := l.number(Warning, n.Keyword(), n.Args()[0], 0, 65535, "it is ignored"); ok {
				*to = v
			}
		}
	}
	// keepalived looks at the length only where it looks at what is in the reply.
	if check.MaxReply == 0 && len(check.Reply) > 0 {
		check.MaxReply = 255
	} else if check.MaxReply == 0 {
		check.MaxReply = 65535
	}
	if check.MinReply > check.MaxReply {
		l.warn(head(c.block), "make min_reply_length the smaller one", "min_reply_length %d is more than max_reply_length %d: the check fails always", check.MinReply, check.MaxReply)
	}
	c.Check = check
	return all
}

// hex reads the words behind a keyword as bytes in hexadecimal: a single digit at the end
// of a word is a byte of its own. With wild, an x stands for a digit that may be anything,
// and mask has one bits where it does not stand.
func (l *loader) hex(n *syntax.Node, wild bool) (value, mask []byte, ok bool) {
	const digits = "0123456789abcdef"
	for _, arg := range n.Args() {
		for word := range strings.FieldsSeq(arg.Text) {
			for len(word) > 0 {
				pair := strings.ToLower(word[:min(2, len(word))])
				word = word[len(pair):]
				var v byte
				m := byte(0xff)
				for _, d := range []byte(pair) {
					v, m = v<<4, m<<4|0xf
					i := strings.IndexByte(digits, d)
					switch {
					case i >= 0:
						v |= byte(i)
					case d == 'x' && wild:
						m &^= 0xf
					default:
						l.fail(arg, "write two hexadecimal digits for each byte", "%s %s is not hexadecimal: keepalived ignores it", n.Keyword(), quote(arg.Text))
						return nil, nil, false
					}
				}
				value, mask = append(value, v), append(mask, m)
			}
		}
	}
	return value, mask, true
}
