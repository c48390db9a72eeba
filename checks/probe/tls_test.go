package probe

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/solovip/solovip/config"
)

// TestWrongPasswordThatFits: the old encryption has no checksum but its padding, so one
// wrong password in 256 decrypts a key to something. It is refused with the same words.
func TestWrongPasswordThatFits(t *testing.T) {
	dir := t.TempDir()
	makeCertificates(t, dir)
	key := filepath.Join(dir, "client-locked.key")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	for i := range 20000 {
		password := fmt.Sprint("wrong ", i)
		if _, err := x509.DecryptPEMBlock(block, []byte(password)); err != nil { //nolint:staticcheck // what files hold
			continue
		}
		_, err := certificate(config.SSL{Certificate: filepath.Join(dir, "client.pem"), Key: key, Password: password})
		if want := "client-locked.key: cannot be decrypted: the password is wrong"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("password %q: %v, want %q", password, err, want)
		}
		return
	}
	t.Error("no wrong password fits, of 20000")
}

// TestCertificateOfAnotherKey: the error names both files.
func TestCertificateOfAnotherKey(t *testing.T) {
	dir := t.TempDir()
	makeCertificates(t, dir)
	files := config.SSL{Certificate: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "server-key.pem")}
	_, err := certificate(files)
	if want := fmt.Sprintf("certificate %s with key %s: ", files.Certificate, files.Key); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
