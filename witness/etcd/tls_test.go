package etcd_test

import (
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/solovip/solovip/internal/authority"
	"github.com/solovip/solovip/internal/await"
	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
	"github.com/solovip/solovip/witness/server"
)

// newAuthority makes an authority of the test's own.
func newAuthority(t *testing.T) *authority.Authority {
	t.Helper()
	return authority.New(t, t.TempDir())
}

// issue makes a certificate for the host with the given address, good for the given time.
func issue(t *testing.T, ca *authority.Authority, name, addr string, good time.Duration) (certFile, keyFile string) {
	t.Helper()
	return ca.Issue(t, name, &x509.Certificate{
		IPAddresses: []net.IP{net.ParseIP(addr)}, NotAfter: time.Now().Add(good),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// serveTLS runs a witness with a certificate for the given address.
func serveTLS(t *testing.T, ca *authority.Authority, addr string, good time.Duration) string {
	t.Helper()
	l := &await.Log{}
	u := "https://" + freeAddr(t)
	cfg := server.Config{DataDir: t.TempDir(), ListenClient: []string{u}, CAFile: ca.File, Logger: l.Logger()}
	cfg.CertFile, cfg.KeyFile = issue(t, ca, "witness", addr, good)
	serve(t, cfg)
	if strings.Contains(l.String(), "level=WARN") {
		t.Errorf("a witness with TLS has nothing to warn of:\n%s", l)
	}
	return u
}

// Each mismatch must be told with what to do about it, and nothing of it is a doubt.
func TestTLS(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	u := serveTLS(t, ca, "127.0.0.1", time.Hour)
	plain, _ := serveNew(t)
	cert, key := issue(t, ca, "lb01", "127.0.0.1", time.Hour)
	oldCert, oldKey := issue(t, ca, "lb02", "127.0.0.1", -time.Hour)
	foreignCert, foreignKey := issue(t, otherCA, "lb01", "127.0.0.1", time.Hour)
	good := etcd.Config{Endpoints: []string{u}, CAFile: ca.File, CertFile: cert, KeyFile: key, Timeout: 300 * time.Millisecond}
	tests := []struct {
		name   string
		change func(*etcd.Config)
		want   string // one of these, separated by "|"; empty: it works
	}{
		{"good", func(*etcd.Config) {}, ""},
		{"other CA", func(c *etcd.Config) { c.CAFile = otherCA.File }, "ca_file must hold the CA"},
		{"no CA", func(c *etcd.Config) { c.CAFile = "" }, "ca_file must hold the CA"},
		{"no client certificate", func(c *etcd.Config) { c.CertFile, c.KeyFile = "", "" }, "wants a certificate from this node|hung up"},
		{"client certificate of another CA", func(c *etcd.Config) { c.CertFile, c.KeyFile = foreignCert, foreignKey }, "not accept this node's certificate"},
		{"expired client certificate", func(c *etcd.Config) { c.CertFile, c.KeyFile = oldCert, oldKey }, "expired|hung up"},
		{"http to https", func(c *etcd.Config) { c.Endpoints = []string{strings.Replace(u, "https", "http", 1)} }, "try https://"},
		{"https to http", func(c *etcd.Config) { c.Endpoints = []string{strings.Replace(plain, "http", "https", 1)} }, "use http://"},
		{"certificate for another address", func(c *etcd.Config) {
			c.Endpoints = []string{serveTLS(t, ca, "10.0.0.13", time.Hour)}
		}, "must name the address"},
		{"expired server certificate", func(c *etcd.Config) {
			c.Endpoints = []string{serveTLS(t, ca, "127.0.0.1", -time.Hour)}
		}, "renew the certificate, or set the clock"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			_, err := client(t, cfg).Do(t.Context(), witness.Swap{})
			if test.want == "" && err == nil {
				return
			}
			told := func(text string) bool { return strings.Contains(err.Error(), text) }
			if test.want == "" || !errors.Is(err, etcd.ErrRefused) || !slices.ContainsFunc(strings.Split(test.want, "|"), told) {
				t.Errorf("Do = %v\nwant %q", err, test.want)
			}
			t.Log(err)
		})
	}
}

// A certificate that was renewed on disk must be used without a restart.
func TestCertificateRenewed(t *testing.T) {
	ca := newAuthority(t)
	u := serveTLS(t, ca, "127.0.0.1", time.Hour)
	cfg := etcd.Config{Endpoints: []string{u}, CAFile: ca.File, Timeout: 300 * time.Millisecond}
	cfg.CertFile, cfg.KeyFile = issue(t, ca, "lb01", "127.0.0.1", -time.Hour)
	c := client(t, cfg)
	if _, err := c.Do(t.Context(), witness.Swap{}); err == nil {
		t.Fatal("an expired certificate was accepted")
	}
	issue(t, ca, "lb01", "127.0.0.1", time.Hour)
	recovered(t, c)
}

// An etcd with users of its own: who may not write is refused, and told what to do.
func TestPermissionDenied(t *testing.T) {
	ca := newAuthority(t)
	u := serveTLS(t, ca, "127.0.0.1", time.Hour)
	rootCert, rootKey := issue(t, ca, "root", "127.0.0.1", time.Hour)
	tlsConfig, err := transport.TLSInfo{CertFile: rootCert, KeyFile: rootKey, TrustedCAFile: ca.File}.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := within(t), raw(t, clientv3.Config{Endpoints: []string{u}, TLS: tlsConfig})
	noPassword := &clientv3.UserAddOptions{NoPassword: true}
	_, err1 := root.UserAddWithOptions(ctx, "root", "", noPassword)
	_, err2 := root.UserGrantRole(ctx, "root", "root")
	_, err3 := root.UserAddWithOptions(ctx, "lb01", "", noPassword)
	_, err4 := root.AuthEnable(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	cfg := etcd.Config{Endpoints: []string{u}, CAFile: ca.File}
	cfg.CertFile, cfg.KeyFile = issue(t, ca, "lb01", "127.0.0.1", time.Hour)
	c := client(t, cfg)
	_, err = c.Do(t.Context(), renew("lb01", 0, 1))
	if !errors.Is(err, etcd.ErrRefused) || !strings.Contains(err.Error(), "permission denied: grant this node's user") {
		t.Errorf("Do = %v, want it refused with a remedy", err)
	}
	_, err1 = root.RoleAdd(ctx, "solovip")
	_, err2 = root.RoleGrantPermission(ctx, "solovip", "/solovip/", clientv3.GetPrefixRangeEnd("/solovip/"), clientv3.PermissionType(clientv3.PermReadWrite))
	_, err3 = root.UserGrantRole(ctx, "lb01", "solovip")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if out := do(t, c, renew("lb01", 0, 1)); !out.Done {
		t.Error("refused although permission was granted")
	}
}

func TestNewRefuses(t *testing.T) {
	ca := newAuthority(t)
	cert, key := issue(t, ca, "lb01", "127.0.0.1", time.Hour)
	empty := filepath.Join(ca.Dir, "empty.pem")
	writeEmpty(t, empty)
	good := etcd.Config{
		Endpoints: []string{"https://10.0.0.13:2379"}, CAFile: ca.File, CertFile: cert, KeyFile: key,
		Cluster: "edge", Timeout: time.Second, Logger: (&await.Log{}).Logger(),
	}
	tests := []struct {
		name   string
		change func(*etcd.Config)
		want   string
	}{
		{"no cluster", func(c *etcd.Config) { c.Cluster = "" }, "cluster, timeout and logger"},
		{"no timeout", func(c *etcd.Config) { c.Timeout = 0 }, "cluster, timeout and logger"},
		{"no endpoint", func(c *etcd.Config) { c.Endpoints = nil }, "no endpoints"},
		{"no scheme", func(c *etcd.Config) { c.Endpoints = []string{"w1:2379"} }, `"w1:2379": want http:// or https://`},
		{"no port", func(c *etcd.Config) { c.Endpoints = []string{"https://w1"} }, `"https://w1": want a host and a port`},
		{"no host", func(c *etcd.Config) { c.Endpoints = []string{"https://:2379"} }, `"https://:2379": want a host and a port`},
		{"bad URL", func(c *etcd.Config) { c.Endpoints = []string{"https://w1:port"} }, `"https://w1:port"`},
		{"missing CA", func(c *etcd.Config) { c.CAFile = "/nonexistent/ca.pem" }, "read ca_file: open /nonexistent/ca.pem: no such file"},
		{"empty CA", func(c *etcd.Config) { c.CAFile = empty }, "read ca_file " + empty + ": no certificate in it"},
		{"certificate without key", func(c *etcd.Config) { c.KeyFile = "" }, "cert_file and cert_key_file go together"},
		{"key without certificate", func(c *etcd.Config) { c.CertFile = "" }, "cert_file and cert_key_file go together"},
		{"missing certificate", func(c *etcd.Config) { c.CertFile = "/nonexistent/n.pem" }, "read cert_file /nonexistent/n.pem"},
		{"empty key", func(c *etcd.Config) { c.KeyFile = empty }, "with cert_key_file " + empty},
		{"key of another", func(c *etcd.Config) { _, c.KeyFile = issue(t, ca, "lb02", "127.0.0.1", time.Hour) }, "private key does not match public key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			if _, err := etcd.New(cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New = %v, want an error with %q", err, test.want)
			}
		})
	}
}

func writeEmpty(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
