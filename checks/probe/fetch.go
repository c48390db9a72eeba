package probe

import (
	"bufio"
	"context"
	"crypto/md5" //nolint:gosec // the digests of configurations are MD5; it secures nothing
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/solovip/solovip/config"
)

const (
	// maxHeader bounds the header of an answer. A longer one is a failure.
	maxHeader = 256 << 10
	// maxBody bounds what is kept of a body, for a regular expression to look at; the
	// digest is of all.
	maxBody = 4 << 20
	// maxInterim bounds how many interim answers (RFC 9110 section 15.2) may come before one.
	maxInterim = 8
	// userAgent is what keepalived says, which people filter their servers' logs by.
	userAgent = "KeepAliveClient"
)

// Page is what was fetched.
type Page struct {
	Protocol   string // "HTTP/1.1"
	Status     int
	StatusText string // "404 Not Found"
	Header     http.Header
	Body       []byte // its first 4 MiB
	Size       int64  // of the whole body
	Digest     string // MD5 of the whole body in lower-case hexadecimal
	// ChunkedDigest is that of the body as it was sent in chunks, with their lengths between:
	// keepalived's digest of an answer in HTTP/1.1. Empty: there were none.
	ChunkedDigest string
}

// Fetch fetches the first URL of an HTTP_GET or SSL_GET as the checker would, and judges
// nothing. The error is for people.
func Fetch(ctx context.Context, c config.Checker) (Page, error) {
	check, ok := c.Check.(config.HTTPCheck)
	if !ok || len(check.URLs) == 0 {
		return Page{}, fmt.Errorf("%s fetches no page", c.Check.Keyword())
	}
	return fetch(ctx, c, check, check.URLs[0])
}

// fetch fetches a page over a connection of its own.
func fetch(ctx context.Context, c config.Checker, check config.HTTPCheck, u config.URL) (Page, error) {
	conn, err := dial(ctx, c, "tcp")
	if err != nil {
		return Page{}, err
	}
	defer func() { _ = conn.Close() }() // what was read is read
	defer endWith(ctx, conn)()
	var page Page
	switch check.TLS {
	case nil:
		page, err = exchange(conn, false, check.Version, c.Target, u)
	default:
		below := &ending{Conn: conn}
		var secured *tls.Conn
		if secured, err = secure(ctx, below, c, check, u); err != nil {
			return Page{}, fmt.Errorf("TLS with %s: %w", c.Target, bare(err))
		}
		if check.Version == config.HTTP2 {
			page, err = exchange2(ctx, secured, c.Target, u)
			break
		}
		compliant := check.TLS.Compliant || u.Compliant
		page, err = exchange(secured, compliant, check.Version, c.Target, u)
		if err == nil && compliant && below.ended {
			err = errors.New("the server ended the connection without close_notify")
		}
	}
	switch {
	case ctx.Err() != nil: // what was read until then may look like anything
		return Page{}, fmt.Errorf("%s%s: %w", c.Target, u.Path, errTimeout)
	case err != nil:
		return Page{}, fmt.Errorf("%s%s: %w", c.Target, u.Path, bare(err))
	}
	return page, nil
}

// request returns the bytes that ask for a page: those of keepalived.
func request(v config.HTTPVersion, target netip.AddrPort, u config.URL) string {
	minor, end := 0, ""
	switch v {
	case config.HTTP10, config.HTTP2:
	case config.HTTP10Close:
		end = "Connection: close\r\n"
	case config.HTTP11:
		minor, end = 1, "Connection: close\r\n"
	}
	return fmt.Sprintf("GET %s HTTP/1.%d\r\nUser-Agent: %s\r\n%sHost: %s\r\n\r\n", u.Path, minor, userAgent, end, host(target, u))
}

// host returns the Host of a request.
func host(target netip.AddrPort, u config.URL) string {
	if u.Host != "" {
		return u.Host
	}
	return target.String()
}

// exchange asks for a page by HTTP/1 and reads it. With toEnd the server has to end the
// connection, in order.
func exchange(conn io.ReadWriter, toEnd bool, v config.HTTPVersion, target netip.AddrPort, u config.URL) (Page, error) {
	if _, err := io.WriteString(conn, request(v, target, u)); err != nil {
		return Page{}, err
	}
	in := &incoming{LimitedReader: io.LimitedReader{R: conn, N: maxHeader}, sum: md5.New()} //nolint:gosec // it secures nothing
	r := bufio.NewReader(in)
	page, err := answer(r, in)
	if err == nil && toEnd {
		_, err = io.Copy(io.Discard, r)
	}
	return page, err
}

// incoming is what comes in: of the header only so much, of the body a sum.
type incoming struct {
	io.LimitedReader
	inBody bool
	sum    hash.Hash
}

func (in *incoming) Read(p []byte) (int, error) {
	n, err := in.LimitedReader.Read(p)
	if in.inBody {
		in.sum.Write(p[:n])
	}
	return n, err
}

// beginBody says that all that comes is body now, and what is in r already.
func (in *incoming) beginBody(r *bufio.Reader) error {
	begun, err := r.Peek(r.Buffered())
	in.sum.Write(begun)
	in.inBody, in.N = true, math.MaxInt64 // the time bounds the body
	return err
}

// answer reads an answer of HTTP/1, from r, which reads from in.
func answer(r *bufio.Reader, in *incoming) (Page, error) {
	for range maxInterim {
		response, err := http.ReadResponse(r, nil)
		switch {
		case in.N == 0:
			return Page{}, fmt.Errorf("the header of the answer is longer than %d bytes", maxHeader)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return Page{}, errors.New("the connection ended before the header of the answer")
		case err != nil:
			return Page{}, err
		case response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols:
			continue
		}
		if err := in.beginBody(r); err != nil {
			return Page{}, err
		}
		page, err := read(response)
		if len(response.TransferEncoding) > 0 {
			page.ChunkedDigest = hex.EncodeToString(in.sum.Sum(nil))
		}
		return page, err
	}
	return Page{}, fmt.Errorf("%d interim answers and no other", maxInterim)
}

// read reads the body of an answer.
func read(response *http.Response) (Page, error) {
	defer func() { _ = response.Body.Close() }()
	page := Page{
		Protocol: response.Proto, Status: response.StatusCode, Header: response.Header,
		StatusText: strings.TrimSpace(response.Status),
	}
	sum := md5.New() //nolint:gosec // it secures nothing
	kept, err := io.ReadAll(io.TeeReader(io.LimitReader(response.Body, maxBody), sum))
	page.Body, page.Size = kept, int64(len(kept))
	if err == nil {
		var rest int64
		rest, err = io.Copy(sum, response.Body)
		page.Size += rest
	}
	if err != nil {
		return page, fmt.Errorf("read the body: %w", bare(err))
	}
	page.Digest = hex.EncodeToString(sum.Sum(nil))
	return page, nil
}

// exchange2 asks for a page by HTTP/2.
func exchange2(ctx context.Context, conn *tls.Conn, target netip.AddrPort, u config.URL) (Page, error) {
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		return Page{}, errors.New("the server does not speak HTTP/2")
	}
	path, err := url.ParseRequestURI(u.Path)
	if err != nil {
		return Page{}, err
	}
	path.Scheme, path.Host = "https", host(target, u)
	t := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	defer t.CloseIdleConnections()
	req := (&http.Request{Method: http.MethodGet, URL: path, Header: http.Header{"User-Agent": {userAgent}}}).WithContext(ctx)
	response, err := t.RoundTrip(req)
	if err != nil {
		return Page{}, err
	}
	page, err := read(response)
	page.StatusText = strconv.Itoa(page.Status) + " " + http.StatusText(page.Status)
	return page, err
}

// ending is a connection that knows whether the other side has ended it. TLS that is ended
// by its rules does not read so far; one that is cut off does, and package tls takes that
// for an end too.
type ending struct {
	net.Conn
	ended bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	e.ended = e.ended || errors.Is(err, io.EOF)
	return n, err
}
