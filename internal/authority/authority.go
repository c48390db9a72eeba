package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a CA that writes certificates to files.
type Authority struct {
	Dir  string // where all files are
	File string // its own certificate

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority that keeps its files in a directory.
func New(tb testing.TB, dir string) *Authority {
	tb.Helper()
	a := &Authority{Dir: dir}
	a.File, _ = a.Issue(tb, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// Issue makes a certificate as c says, which it completes, and writes it to NAME.pem and its key to
// NAME-key.pem. Where c says nothing it is good for an hour, and for the subject NAME.
func (a *Authority) Issue(tb testing.TB, name string, c *x509.Certificate) (certFile, keyFile string) {
	tb.Helper()
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-2*time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if c.Subject.CommonName == "" {
		c.Subject = pkix.Name{CommonName: name}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	if a.cert == nil { // its own, which it signs itself
		a.cert, a.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.Dir, name+".pem"), filepath.Join(a.Dir, name+"-key.pem")
	write(tb, certFile, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(tb, keyFile, &pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	return certFile, keyFile
}

// write writes a PEM file.
func write(tb testing.TB, path string, block *pem.Block) {
	tb.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		tb.Fatal(err)
	}
}
