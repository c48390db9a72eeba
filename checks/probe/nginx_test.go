package probe

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/authority"
	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/internal/port"
)

// nginxConf is a server with plain HTTP on the first port, TLS on the second, TLS for those with a
// certificate on the third, and TLS 1.2 that keeps connections open on the fourth.
const nginxConf = `
daemon off; master_process off; pid nginx.pid; error_log stderr notice;
events { worker_connections 64; }
http {
	access_log off; default_type text/plain;
	client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
	ssl_certificate server.pem; ssl_certificate_key server-key.pem;
	server {
		listen 127.0.0.1:%[1]d default_server; listen 127.0.0.1:%[2]d ssl http2 default_server; listen [::1]:%[4]d;
		root .;
		location = /moved { return 302 /; }
		location = /ill { return 503; }
		location = /who { return 200 "$host $http_user_agent $server_protocol $ssl_server_name $request_uri\n"; }
		location = /slow { limit_rate 1; alias page.html; }
		location = /chunked { ssi on; ssi_types *; alias page.html; }
	}
	server { listen 127.0.0.1:%[1]d; server_name b.example; location / { return 200 "this is b\n"; } }
	server {
		listen 127.0.0.1:%[3]d ssl; ssl_client_certificate ca.pem; ssl_verify_client on;
		location / { return 200 "$ssl_client_s_dn\n"; }
	}
}
`

// page is page.html of the nginx below; its MD5 sum as md5sum(1) tells it.
const (
	page       = "<html>\nIt works: 42 servers are well.\n</html>\n"
	pageDigest = "53d821259182630e1ac860b130365575"
)

// site is a running nginx.
type site struct {
	dir                    string
	plain, secure, mutual  netip.AddrPort
	plain6                 netip.AddrPort
	ca, certificate, locks string // files
}

// nginx runs one until the test ends.
func nginx(t *testing.T) site {
	t.Helper()
	path := program(t, "nginx")
	s := site{dir: t.TempDir()}
	s.ca, s.certificate, s.locks = filepath.Join(s.dir, "ca.pem"), filepath.Join(s.dir, "client.pem"), filepath.Join(s.dir, "client-locked.key")
	makeCertificates(t, s.dir)
	s.plain, s.secure, s.mutual, s.plain6 = port.Hold(t, "127.0.0.1"), port.Hold(t, "127.0.0.1"), port.Hold(t, "127.0.0.1"), port.Hold(t, "::1")
	write(t, filepath.Join(s.dir, "page.html"), page)
	write(t, filepath.Join(s.dir, "nginx.conf"), fmt.Sprintf(nginxConf, s.plain.Port(), s.secure.Port(), s.mutual.Port(), s.plain6.Port()))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-p", s.dir, "-c", "nginx.conf", "-e", "stderr")
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed by us
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for _, at := range []netip.AddrPort{s.plain, s.secure, s.mutual, s.plain6} {
		await.That(t, "nginx listens at "+at.String(), func() bool {
			conn, err := net.Dial("tcp", at.String())
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// makeCertificates makes an authority, and by it a server's certificate for a.example and
// a client's; the client's key also under the password "secret".
func makeCertificates(t *testing.T, dir string) {
	t.Helper()
	ca := authority.New(t, dir)
	ca.Issue(t, "server", &x509.Certificate{DNSNames: []string{"a.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	_, key := ca.Issue(t, "client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	locked, err := x509.EncryptPEMBlock(rand.Reader, block.Type, block.Bytes, []byte("secret"), x509.PEMCipherAES256) //nolint:staticcheck // what files hold
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "client-locked.key"), string(pem.EncodeToMemory(locked)))
}

// get returns a checker of one page.
func get(target netip.AddrPort, u config.URL) config.Checker {
	if u.Status == nil {
		u.Status = []config.StatusRange{{First: 200, Last: 299}}
	}
	return config.Checker{Target: target, Timeout: 5 * time.Second, Check: config.HTTPCheck{URLs: []config.URL{u}}}
}

// over returns the checker over TLS.
func over(c config.Checker, tls config.TLS) config.Checker {
	check := c.Check.(config.HTTPCheck)
	check.TLS = &tls
	c.Check = check
	return c
}

// speaking returns the checker in a version of the protocol.
func speaking(c config.Checker, v config.HTTPVersion) config.Checker {
	check := c.Check.(config.HTTPCheck)
	check.Version = v
	c.Check = check
	return c
}

func TestNginx(t *testing.T) {
	s := nginx(t)
	status := func(first, last int) []config.StatusRange {
		return []config.StatusRange{{First: 204, Last: 204}, {First: first, Last: last}}
	}
	match := func(path, source string, more config.Regex) config.Checker {
		more.Source = source
		return get(s.plain, config.URL{Path: path, Regex: &more})
	}
	who := func(source string) config.URL {
		return config.URL{Path: "/who", Host: "a.example", Regex: &config.Regex{Source: source}}
	}
	for _, row := range []struct {
		name string
		c    config.Checker
		why  string // part of it; empty: it succeeds
	}{
		{"page", get(s.plain, config.URL{Path: "/page.html"}), ""},
		{"page by IPv6", get(s.plain6, config.URL{Path: "/page.html"}), ""},
		{"not there", get(s.plain, config.URL{Path: "/none"}), "/none: status 404 Not Found, not 200-299"},
		{"ill", get(s.plain, config.URL{Path: "/ill"}), "status 503 Service Temporarily Unavailable"},
		{"ill is well", get(s.plain, config.URL{Path: "/ill", Status: status(500, 503)}), ""},
		{"moved is not followed", get(s.plain, config.URL{Path: "/moved"}), "status 302"},
		{"moved is well", get(s.plain, config.URL{Path: "/moved", Status: status(302, 302)}), ""},
		{"well is not", get(s.plain, config.URL{Path: "/page.html", Status: status(301, 302)}), "status 200 OK, not 204 301-302"},

		{"digest", get(s.plain, config.URL{Path: "/page.html", Digest: pageDigest}), ""},
		{"digest by 1.0 and close", speaking(get(s.plain, config.URL{Path: "/page.html", Digest: pageDigest}), config.HTTP10Close), ""},
		{"digest by 1.1", speaking(get(s.plain, config.URL{Path: "/page.html", Digest: pageDigest}), config.HTTP11), ""},
		{"digest of chunks", speaking(get(s.plain, config.URL{Path: "/chunked", Digest: pageDigest}), config.HTTP11), ""},
		{"digest by HTTP/2", speaking(over(get(s.secure, config.URL{Path: "/page.html", Digest: pageDigest}), config.TLS{}), config.HTTP2), ""},
		{"another digest", get(s.plain, config.URL{Path: "/who", Digest: pageDigest}), ", not " + pageDigest},

		{"regex", match("/page.html", `works: \d+ servers`, config.Regex{}), ""},
		{"regex does not match", match("/page.html", `works: \d+ clients`, config.Regex{}), "the body does not match"},
		{"regex with options", match("/page.html", `(?i)WORKS`, config.Regex{}), ""},
		{"no match", match("/page.html", `clients`, config.Regex{NoMatch: true}), ""},
		{"no match matches", match("/page.html", `servers`, config.Regex{NoMatch: true}), "the body matches"},
		{"min offset before", match("/page.html", `It`, config.Regex{Min: 7}), ""},
		{"min offset behind", match("/page.html", `It`, config.Regex{Min: 8}), "does not match"},
		{"min offset over the end", match("/page.html", `It`, config.Regex{Min: 1000}), "does not match"},
		{"max offset behind", match("/page.html", `It`, config.Regex{Max: 7}), ""},
		{"max offset before", match("/page.html", `It`, config.Regex{Max: 6}), "does not match"},
		{"both offsets", match("/page.html", `It`, config.Regex{Min: 7, Max: 7}), ""},

		{"virtual host", get(s.plain, config.URL{Path: "/", Host: "b.example", Regex: &config.Regex{Source: "this is b"}}), ""},
		{"no virtual host", get(s.plain, config.URL{Path: "/who", Regex: &config.Regex{Source: `^127\.0\.0\.1 `}}), ""},
		{"no virtual host by IPv6", get(s.plain6, config.URL{Path: "/who", Regex: &config.Regex{Source: `^\[::1\] `}}), ""},
		{"query", get(s.plain, config.URL{Path: "/who?a=b%20c", Regex: &config.Regex{Source: `/who\?a=b%20c\n$`}}), ""},
		{"says 1.0", get(s.plain, who(`^a.example KeepAliveClient HTTP/1.0 `)), ""},
		{"says 1.1", speaking(get(s.plain, who(`HTTP/1.1 `)), config.HTTP11), ""},
		{"says 2", speaking(over(get(s.secure, who(`^a.example KeepAliveClient HTTP/2.0 `)), config.TLS{}), config.HTTP2), ""},
		{"query by HTTP/2", speaking(over(get(s.secure, config.URL{Path: "/who?a=b%20c", Regex: &config.Regex{Source: `/who\?a=b%20c\n$`}}), config.TLS{}), config.HTTP2), ""},
		{"no HTTP/2 there", speaking(over(get(s.mutual, config.URL{Path: "/"}), config.TLS{}), config.HTTP2), "no application protocol"},

		{"TLS", over(get(s.secure, config.URL{Path: "/page.html", Digest: pageDigest}), config.TLS{}), ""},
		{"TLS where there is none", over(get(s.plain, config.URL{Path: "/page.html"}), config.TLS{}), "TLS with " + s.plain.String()},
		{"none where there is TLS", get(s.secure, config.URL{Path: "/page.html"}), "status 400"},
		{"no SNI", over(get(s.secure, who(`HTTP/1.0  /who`)), config.TLS{}), ""},
		{"SNI of the host", over(get(s.secure, who(`HTTP/1.0 a.example /who`)), config.TLS{SNI: true}), ""},
		{"SNI of another name", over(get(s.secure, who(`HTTP/1.0 c.example /who`)), config.TLS{SNI: true, ServerName: "c.example"}), ""},
		{"compliant", over(get(s.secure, config.URL{Path: "/page.html", Digest: pageDigest}), config.TLS{Compliant: true}), ""},

		{"verified by the virtual host", over(get(s.secure, config.URL{Path: "/page.html", Host: "a.example:443"}), config.TLS{Verify: true, Files: config.SSL{CA: s.ca}}), ""},
		{"verified by its address", over(get(s.secure, config.URL{Path: "/page.html"}), config.TLS{Verify: true, Files: config.SSL{CA: s.ca}}), ""},
		{"verified by a name", over(get(s.secure, config.URL{Path: "/page.html", Host: "z.example"}), config.TLS{Verify: true, VerifyName: "a.example", Files: config.SSL{CA: s.ca}}), ""},
		{"of another name", over(get(s.secure, config.URL{Path: "/page.html", Host: "z.example"}), config.TLS{Verify: true, Files: config.SSL{CA: s.ca}}), "valid for a.example, not z.example"},
		{"of an unknown authority", over(get(s.secure, config.URL{Path: "/page.html"}), config.TLS{Verify: true}), "unknown authority"},
		{"authority is not there", over(get(s.secure, config.URL{Path: "/page.html"}), config.TLS{Verify: true, Files: config.SSL{CA: "/none"}}), "ca: open /none: no such file"},
		{"authority is none", over(get(s.secure, config.URL{Path: "/page.html"}), config.TLS{Verify: true, Files: config.SSL{CA: s.locks}}), "there is no certificate in"},

		{"client's certificate", over(get(s.mutual, config.URL{Path: "/", Regex: &config.Regex{Source: "CN=client"}}), config.TLS{Files: config.SSL{Certificate: s.certificate, Key: filepath.Join(s.dir, "client-key.pem")}}), ""},
		{"client's key under a password", over(get(s.mutual, config.URL{Path: "/"}), config.TLS{Files: config.SSL{Certificate: s.certificate, Key: s.locks, Password: "secret"}}), ""},
		{"another password", over(get(s.mutual, config.URL{Path: "/"}), config.TLS{Files: config.SSL{Certificate: s.certificate, Key: s.locks, Password: "public"}}), "client-locked.key: cannot be decrypted: the password is wrong"},
		{"client without a certificate", over(get(s.mutual, config.URL{Path: "/"}), config.TLS{}), "status 400"},
		{"key is not there", over(get(s.mutual, config.URL{Path: "/"}), config.TLS{Files: config.SSL{Certificate: s.certificate, Key: "/none"}}), "key: open /none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := attempt(t, row.c)
			if got.OK != (row.why == "") || !strings.Contains(got.Why, row.why) {
				t.Errorf("%+v, want %q", got, row.why)
			}
		})
	}
}

// TestSlowPage: a page that takes too long is none.
func TestSlowPage(t *testing.T) {
	s := nginx(t)
	p, err := New(get(s.plain, config.URL{Path: "/slow"}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got := p.Probe(ctx); got.OK || !strings.HasSuffix(got.Why, "/slow: no answer in time") {
		t.Errorf("%+v", got)
	}
}
