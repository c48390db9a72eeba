package probe

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/solovip/solovip/config"
)

// httpProber makes HTTP_GET and SSL_GET: a page can be fetched, and is as it should be.
type httpProber struct {
	c     config.Checker
	check config.HTTPCheck
	url   config.URL
	regex *regexp.Regexp // nil: any body
}

func newHTTP(c config.Checker, check config.HTTPCheck) (Prober, error) {
	if len(check.URLs) == 0 {
		return nil, fmt.Errorf("%s has no url", check.Keyword())
	}
	p := httpProber{c: c, check: check, url: check.URLs[0]}
	if p.url.Regex != nil {
		var err error
		if p.regex, err = regexp.Compile(p.url.Regex.Source); err != nil {
			return nil, fmt.Errorf("regex of %s: %w", p.url.Path, err)
		}
	}
	return p, nil
}

func (p httpProber) Probe(ctx context.Context) Outcome {
	page, err := fetch(ctx, p.c, p.check, p.url)
	if err != nil {
		return failed(err)
	}
	if why := p.judge(page); why != "" {
		return failed(fmt.Errorf("%s%s: %s", p.c.Target, p.url.Path, why))
	}
	return Outcome{OK: true}
}

// judge returns why a page is not as it should be; empty: it is.
func (p httpProber) judge(page Page) string {
	in := func(r config.StatusRange) bool { return r.First <= page.Status && page.Status <= r.Last }
	switch {
	case !slices.ContainsFunc(p.url.Status, in):
		return fmt.Sprintf("status %s, not %s", page.StatusText, ranges(p.url.Status))
	case p.url.Digest != "" && p.url.Digest != page.Digest && p.url.Digest != page.ChunkedDigest:
		return fmt.Sprintf("digest %s, not %s", page.Digest, p.url.Digest)
	case p.regex != nil && p.matches(page.Body) == p.url.Regex.NoMatch:
		if p.url.Regex.NoMatch {
			return fmt.Sprintf("the body matches %q", p.url.Regex.Source)
		}
		return fmt.Sprintf("the body does not match %q", p.url.Regex.Source)
	}
	return ""
}

// matches reports whether the regular expression matches a body between its offsets.
func (p httpProber) matches(body []byte) bool {
	re := p.url.Regex
	at := p.regex.FindIndex(body[min(re.Min, len(body)):])
	return at != nil && (re.Max == 0 || at[0]+re.Min <= re.Max)
}

// ranges writes status codes as the configuration has them.
func ranges(all []config.StatusRange) string {
	var b bytes.Buffer
	for _, r := range all {
		if fmt.Fprintf(&b, " %d", r.First); r.Last != r.First {
			fmt.Fprintf(&b, "-%d", r.Last)
		}
	}
	return strings.TrimSpace(b.String())
}
