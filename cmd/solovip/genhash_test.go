package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestGenhashPrintsWhatKeepalivesDoes compares it with the genhash of keepalived, over pages that show
// what was asked for.
func TestGenhashPrintsWhatKeepalivesDoes(t *testing.T) {
	theirs, err := exec.LookPath("genhash")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("genhash of keepalived is not installed: ", err)
		}
		t.Skip("genhash of keepalived is not installed: ", err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "no TLS"
		if r.TLS != nil {
			name = r.TLS.ServerName
		}
		_, _ = fmt.Fprintln(w, r.Method, r.RequestURI, r.Proto, r.Host, r.Header, name)
	})
	plain := httptest.NewServer(handler)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(handler)
	secure.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	secure.StartTLS()
	defer secure.Close()
	seen := map[string]bool{}
	for _, flags := range []string{
		"-u /", "-u /a?b=c", "--url /a?b=c --protocol 1.0", "-u /a?b=c -P 1.0c", "-u /a?b=c -P 1.1", "-u / -V www.example.com",
		"-S -u /", "--use-ssl -u / -V www.example.com", "-S -I -u / -V www.example.com --timeout 5",
	} {
		url := plain.URL
		if strings.HasPrefix(flags, "-S") || strings.HasPrefix(flags, "--use-ssl") {
			url = secure.URL
		}
		addr := netip.MustParseAddrPort(url[strings.LastIndex(url, "/")+1:])
		args := append([]string{"-s", addr.Addr().String(), "--port", fmt.Sprint(addr.Port())}, strings.Fields(flags)...)
		want, err := exec.Command(theirs, args...).Output()
		if err != nil {
			t.Fatal(args, err)
		}
		var out, errOut bytes.Buffer
		if code := run(t.Context(), append([]string{"solovip", "genhash"}, args...), &out, &errOut); code != 0 || out.String() != string(want) {
			t.Errorf("%s: exit %d, %q %q; keepalived: %q", flags, code, &out, &errOut, want)
		}
		seen[out.String()] = true
	}
	if len(seen) < 8 { // of the nine above, "1.0" asks for the same as none
		t.Errorf("only %d different digests: the pages do not show what was asked for", len(seen))
	}
}

func TestGenhashRefuses(t *testing.T) {
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	addr := netip.MustParseAddrPort(strings.TrimPrefix(page.URL, "http://"))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-u /", exitUsage, "Write -s ADDRESS"},
		{"-s 127.0.0.1 -p 0", exitUsage, "port 0 is not between 1 and 65535"},
		{"-s 127.0.0.1 -P 3", exitUsage, "write 1.0, 1.0c, 1.1, or 2 with -S"},
		{"-s 127.0.0.1 -P 2", exitUsage, "add -S"},
		{"-s 127.0.0.1 -u index.html", exitUsage, "write the path of the page"},
		{"-s 127.0.0.1 -m 4294967296", exitUsage, "fwmark 4294967296 is more than"},
		{"-s 127.0.0.1 -S -p " + fmt.Sprint(addr.Port()), exitFailed, "TLS with " + addr.String()},
	} {
		var out, errOut bytes.Buffer
		args := append([]string{"solovip", "genhash"}, strings.Fields(c.args)...)
		if code := run(t.Context(), args, &out, &errOut); code != c.code || !strings.Contains(errOut.String(), c.want) || out.Len() > 0 {
			t.Errorf("%s: exit %d, %q %q, want %d and %q", c.args, code, &out, &errOut, c.code, c.want)
		}
	}
	var out, errOut bytes.Buffer
	args := []string{"solovip", "genhash", "-v", "-s", addr.Addr().String(), "-p", fmt.Sprint(addr.Port())}
	if code := run(t.Context(), args, &out, &errOut); code != 0 || !strings.Contains(out.String(), "HTTP/1.0 404 Not Found\n") || !strings.Contains(out.String(), "\n404 page not found\n") {
		t.Errorf("exit %d, %q %q", code, &out, &errOut)
	}
}
