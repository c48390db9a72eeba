package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/solovip/solovip/config/syntax"
)

// readHTTP reads the keywords of HTTP_GET and SSL_GET.
func (l *loader) readHTTP(c *checkerDraft, own []*syntax.Node) bool {
	var check HTTPCheck
	if c.block.Keyword() == "SSL_GET" {
		check.TLS = &TLS{Files: l.cfg.SSL}
	}
	urls, bad := 0, l.anyBad(c.block, "url")
	for _, n := range own {
		switch n.Keyword() {
		case "http_protocol":
			l.httpVersion(&check, n.Args()[0])
		case "fast_recovery":
			if on, ok := l.boolean(n); ok {
				check.FastRecovery = on
			}
		case "url":
			urls++
			u, ok := l.readURL(c, n)
			if bad = bad || !ok; ok {
				check.URLs = append(check.URLs, u)
			}
		default:
			l.readTLS(check.TLS, n)
		}
	}
	c.Check = check
	if urls == 0 && !bad {
		l.fail(head(c.block), "write url { path / }", "%s has no url: keepalived crashes", check.Keyword())
		return false
	}
	return !bad
}

// httpVersion reads http_protocol.
func (l *loader) httpVersion(check *HTTPCheck, w syntax.Word) {
	names := []string{"1.0", "1.0C", "1.1", "2"}
	i := slices.Index(names, strings.ToUpper(w.Text))
	switch {
	case i < 0:
		l.warn(w, "write 1.0, 1.0C, 1.1 or 2", "unknown http_protocol %s: it is ignored", quote(w.Text))
	case names[i] == "2" && check.TLS == nil:
		l.warn(w, "use SSL_GET", "http_protocol 2 needs TLS: it is ignored")
	default:
		check.Version = HTTPVersion(i)
	}
}

// readTLS reads the keywords that only SSL_GET has.
func (l *loader) readTLS(tls *TLS, n *syntax.Node) {
	switch n.Keyword() {
	case "enable_sni":
		tls.SNI = true
	case "sni_name":
		tls.SNI, tls.ServerName = true, n.Args()[0].Text
	case "tls_compliant":
		tls.Compliant = true
	case "verify_host":
		tls.Verify = true
		if args := n.Args(); len(args) > 0 {
			tls.VerifyName = args[0].Text
		}
	}
}

// readURL reads a url block. It returns false when the check could not be made.
func (l *loader) readURL(c *checkerDraft, block *syntax.Node) (URL, bool) {
	u := URL{Host: first(c.host, nil, ""), Pos: head(block).Pos}
	var source string
	var re Regex
	var options []syntax.Word
	var regex *syntax.Node
	ok := true
	for _, n := range l.good(block) {
		w := head(n)
		if len(n.Args()) > 0 {
			w = n.Args()[0]
		}
		switch n.Keyword() {
		case "path":
			u.Path = w.Text
		case "digest":
			u.Digest, ok = l.digest(w)
		case "status_code":
			for _, w := range n.Args() {
				l.statusCode(&u, w)
			}
		case "virtualhost":
			if len(n.Args()) > 0 {
				u.Host = w.Text
			}
		case "tls_compliant":
			u.Compliant = true
		case "regex":
			regex, source = n, w.Text
		case "regex_no_match":
			re.NoMatch = true
		case "regex_options":
			options = append(options, n.Args()...)
		case "regex_min_offset":
			re.Min, _ = l.number(Warning, n.Keyword(), w, 0, 1<<31-1, "it is ignored")
		case "regex_max_offset":
			re.Max, _ = l.number(Warning, n.Keyword(), w, 0, 1<<31-1, "it is ignored")
		}
	}
	if len(u.Status) == 0 {
		u.Status = []StatusRange{{200, 299}}
	}
	if regex != nil {
		re.Source = l.regexOptions(options) + source
		if !l.regexCompiles(regex, re) {
			return u, false
		}
		u.Regex = &re
	} else if re.NoMatch || len(options) > 0 {
		l.warn(head(block), `write regex "..."`, "options of a regex without one: they are ignored")
	}
	switch {
	case u.Path == "" && !l.anyBad(block, "path"):
		l.fail(head(block), "write path /", "url without a path: keepalived leaves it out")
		return u, false
	case !strings.HasPrefix(u.Path, "/"):
		l.warn(head(block), "write path /"+u.Path, "path %s does not begin with /: keepalived asks for it as it is, and no server understands", quote(u.Path))
		u.Path = "/" + u.Path
	}
	return u, ok
}

// digest reads an MD5 sum.
func (l *loader) digest(w syntax.Word) (string, bool) {
	d := strings.ToLower(w.Text)
	if len(d) != 32 || strings.Trim(d, "0123456789abcdef") != "" {
		l.fail(w, "write the 32 hexadecimal digits of an MD5 sum", "digest %s is no MD5 sum", quote(w.Text))
		return "", false
	}
	return d, true
}

// statusCode reads a status code or a range of them.
func (l *loader) statusCode(u *URL, w syntax.Word) {
	low, high, ranged := strings.Cut(w.Text, "-")
	if !ranged {
		high = low
	}
	number := func(s string) int {
		n := 0
		for _, d := range s {
			if d < '0' || d > '9' || len(s) != 3 {
				return -1
			}
			n = n*10 + int(d-'0')
		}
		return n
	}
	r := StatusRange{number(low), number(high)}
	if r.First < 100 || r.Last > 599 || r.First > r.Last {
		l.warn(w, "write codes from 100 to 599 and ranges, with blanks between: 200 204 301-302", "status_code %s is none: it is ignored", quote(w.Text))
		return
	}
	u.Status = append(u.Status, r)
}

// regexOptions returns the flags that stand in front of a regex for regex_options. Most of
// PCRE2's are about its inner working and mean nothing here.
func (l *loader) regexOptions(words []syntax.Word) string {
	flags := map[string]string{"caseless": "i", "dotall": "s", "multiline": "m", "ungreedy": "U"}
	silent := strings.Fields("auto_callout dupnames match_unset_backref never_ucp never_utf no_auto_possess " +
		"no_dotstar_anchor no_start_optimize utf never_backslash_c use_offset_limit dollar_endonly")
	without := strings.Fields("allow_empty_class alt_bsux extended firstline no_auto_capture ucp alt_circumflex alt_verbnames")
	var out strings.Builder
	for _, w := range words {
		for o := range strings.FieldsSeq(w.Text) {
			switch {
			case flags[o] != "":
				out.WriteString(flags[o])
			case slices.Contains(silent, o):
			case slices.Contains(without, o):
				l.warn(w, "write the regex without it", "regex_options %s is not supported: it is ignored", o)
			default:
				known := append(slices.Concat(silent, without), "caseless", "dotall", "multiline", "ungreedy")
				l.warn(w, didYouMean(o, known), "unknown option %s of a regex: it is ignored", quote(o))
			}
		}
	}
	if out.Len() == 0 {
		return ""
	}
	return "(?" + out.String() + ")"
}

// regexCompiles reports whether a regular expression is one to Go.
func (l *loader) regexCompiles(n *syntax.Node, re Regex) bool {
	if _, err := regexp.Compile(re.Source); err != nil {
		why := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		l.fail(n.Args()[0], "write it in the syntax of RE2, which has no look-around and no back-references", "regex: %s", why)
		return false
	}
	if re.Max != 0 && re.Max < re.Min {
		l.warn(n.Args()[0], "make regex_min_offset the smaller one", "regex_min_offset %d is more than regex_max_offset %d: nothing can match", re.Min, re.Max)
	}
	return true
}
