package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/solovip/solovip/config"
)

// secure begins TLS on a connection, as SSL_GET wants it.
func secure(ctx context.Context, conn net.Conn, c config.Checker, check config.HTTPCheck, u config.URL) (*tls.Conn, error) {
	want := check.TLS
	vhost := u.Host
	if h, _, err := net.SplitHostPort(vhost); err == nil {
		vhost = h
	}
	name := want.ServerName
	if name == "" {
		name = vhost
	}
	cfg := &tls.Config{
		// Whom we talk to is looked at below, if it is asked for: keepalived does not look.
		InsecureSkipVerify: true, //nolint:gosec // as the line above says
	}
	if want.SNI {
		cfg.ServerName = name
	}
	if check.Version == config.HTTP2 {
		cfg.NextProtos = []string{"h2"}
	}
	if want.Files.Certificate != "" {
		pair, err := certificate(want.Files)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if want.Verify {
		roots, err := authorities(want.Files.CA)
		if err != nil {
			return nil, err
		}
		if want.VerifyName != "" {
			name = want.VerifyName
		}
		if name == "" {
			name = c.Target.Addr().String()
		}
		cfg.VerifyConnection = func(state tls.ConnectionState) error { return verify(state, roots, name) }
	}
	secured := tls.Client(conn, cfg)
	return secured, secured.HandshakeContext(ctx)
}

// verify reports why the certificate of the other side is not that of name.
func verify(state tls.ConnectionState, roots *x509.CertPool, name string) error {
	o := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(o)
	return err
}

// authorities returns those that a file names; without a file nil, for those of the system.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // said above
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca: there is no certificate in %s", file)
	}
	return pool, nil
}

// certificate returns what we present, with its key, which may be in the same file.
func certificate(files config.SSL) (tls.Certificate, error) {
	if files.Key == "" {
		files.Key = files.Certificate
	}
	chain, err := os.ReadFile(files.Certificate)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	key, err := os.ReadFile(files.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("key: %w", err)
	}
	if key, err = unlock(key, files.Password); err != nil {
		return tls.Certificate{}, fmt.Errorf("key %s: %w", files.Key, err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s with key %s: %w", files.Certificate, files.Key, err)
	}
	return pair, nil
}

// unlock decrypts the keys in a PEM file that are encrypted in the old way, which is
// marked in their headers.
func unlock(text []byte, password string) ([]byte, error) {
	var out []byte
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out, nil
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("it is encrypted by PKCS #8: convert it with openssl rsa -aes256 -traditional, or store it without a password")
		case x509.IsEncryptedPEMBlock(block): //nolint:staticcheck // weak, but what there is in files
			der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // as above
			if err != nil || !isKey(der) {                            // of wrong passwords, one in 256 seems to fit
				return nil, errors.New("cannot be decrypted: the password is wrong, or the file is damaged")
			}
			block = &pem.Block{Type: block.Type, Bytes: der}
		}
		out = append(out, pem.EncodeToMemory(block)...)
	}
}

// isKey says whether this is a private key in one of the forms that TLS takes.
func isKey(der []byte) bool {
	_, pkcs1 := x509.ParsePKCS1PrivateKey(der)
	_, pkcs8 := x509.ParsePKCS8PrivateKey(der)
	_, sec1 := x509.ParseECPrivateKey(der)
	return pkcs1 == nil || pkcs8 == nil || sec1 == nil
}
