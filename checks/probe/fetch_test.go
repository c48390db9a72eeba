package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/config"
)

// replies is a server that answers each request with the same text and ends the connection.
func replies(t *testing.T, text string) netip.AddrPort {
	t.Helper()
	return listen(t, "127.0.0.1:0", func(conn net.Conn) { answerWith(conn, text) })
}

// answerWith reads a request and answers it.
func answerWith(conn net.Conn, text string) {
	defer func() { _ = conn.Close() }()
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != ""; {
	}
	_, _ = io.WriteString(conn, text) // who has heard enough may have gone
}

// The digests of "hello world", and of it in two chunks as the text below sends it: the
// latter is what keepalived's genhash prints for it.
const (
	helloDigest   = "5eb63bbbe01eeed093cb22bb8f5acdc3"
	chunked       = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
	chunkedDigest = "fc3946cc674492e3e09d9e45c4c09023"
)

func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		name, answer string
		url          config.URL
		why          string // part of it; empty: it succeeds
	}{
		{"body to the end", "HTTP/1.0 200 OK\r\n\r\nhello world", config.URL{Digest: helloDigest}, ""},
		{"body of a length", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world and more", config.URL{Digest: helloDigest}, ""},
		{"chunks", chunked, config.URL{Digest: helloDigest}, ""},
		{"chunks with keepalived's digest", chunked, config.URL{Digest: chunkedDigest}, ""},
		{"chunks with another", chunked, config.URL{Digest: pageDigest}, "digest " + helloDigest},
		{"nothing", "", config.URL{}, "the connection ended before the header of the answer"},
		{"half a header", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", config.URL{}, "the connection ended before the header of the answer"},
		{"no HTTP", "220 mail.example.org ESMTP\r\n", config.URL{}, "malformed HTTP"},
		{"no reason", "HTTP/1.1 200\r\n\r\n", config.URL{}, ""},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello", config.URL{}, "read the body: unexpected EOF"},
		{"continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", config.URL{}, ""},
		{"continue for ever", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100), config.URL{}, "8 interim answers and no other"},
		{"endless header", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", maxHeader) + "\r\n\r\n", config.URL{}, "the header of the answer is longer than"},
		{
			"regex behind what is kept", "HTTP/1.0 200 OK\r\n\r\n" + strings.Repeat(" ", maxBody) + "x",
			config.URL{Regex: &config.Regex{Source: "x"}},
			"the body does not match",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.url.Path = "/"
			c := get(replies(t, row.answer), row.url)
			got := attempt(t, speaking(c, config.HTTP11))
			if got.OK != (row.why == "") || !strings.Contains(got.Why, row.why) {
				t.Errorf("%+v, want %q", got, row.why)
			}
		})
	}
}

// cut is a TLS connection that says nothing when it is closed.
type cut struct{ *tls.Conn }

func (c cut) Close() error { return nil }

// TestAbruptEnd: a TLS connection that is cut off is the end of an answer, unless the rules
// of TLS are asked for.
func TestAbruptEnd(t *testing.T) {
	dir := t.TempDir()
	makeCertificates(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"HTTP/1.0 200 OK\r\n\r\nhello world", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"} {
		abrupt := listen(t, "127.0.0.1:0", func(conn net.Conn) {
			defer func() { _ = conn.Close() }()
			answerWith(cut{tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})}, text)
		})
		u := config.URL{Path: "/", Digest: helloDigest}
		if got := attempt(t, over(get(abrupt, u), config.TLS{})); !got.OK {
			t.Errorf("%q: %+v", text, got)
		}
		for name, c := range map[string]config.Checker{
			"checker": over(get(abrupt, u), config.TLS{Compliant: true}),
			"url":     over(get(abrupt, config.URL{Path: "/", Digest: helloDigest, Compliant: true}), config.TLS{}),
		} {
			if got := attempt(t, c); got.OK || !strings.Contains(got.Why, "without close_notify") {
				t.Errorf("%q, tls_compliant of the %s: %+v", text, name, got)
			}
		}
	}
}

// TestRemovedWhileItWaits: an attempt ends at once when nobody wants it any more.
func TestRemovedWhileItWaits(t *testing.T) {
	asked := make(chan struct{})
	silent := listen(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		close(asked)
		_, _ = io.Copy(io.Discard, conn)
	})
	p, err := New(get(silent, config.URL{Path: "/"}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan Outcome)
	go func() { ended <- p.Probe(ctx) }()
	<-asked
	cancel()
	select {
	case got := <-ended:
		if got.OK {
			t.Errorf("%+v", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits on")
	}
}

// FuzzAnswer: no answer makes us panic, or keep more than we want to.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"", chunked, "HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 100 \r\n\r\nHTTP/1.1 302 Found\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\nffffffffffffffff\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		target := netip.MustParseAddrPort("10.0.0.1:80")
		conn := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(text), io.Discard}
		page, err := exchange(conn, true, config.HTTP11, target, config.URL{Path: "/"})
		if err == nil && (page.Status < 100 || len(page.Digest) != 32) || len(page.Body) > maxBody || int64(len(page.Body)) > page.Size {
			t.Errorf("%+v", page)
		}
		if err != nil && page.Digest != "" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v and %+v", err, page)
		}
	})
}
