package mesh

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKeyFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mesh.key")
	key, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Umask(unix.Umask(0)) // the mode must not depend on it
	if err := WriteKey(path, key); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	got, err := LoadKey(path)
	if err != nil || !bytes.Equal(got, key) {
		t.Errorf("LoadKey: %v; the key came back: %v", err, bytes.Equal(got, key))
	}

	if err := WriteKey(path, make([]byte, keyBytes)); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("WriteKey over a key: %v", err)
	}
	if got, err := LoadKey(path); err != nil || !bytes.Equal(got, key) {
		t.Errorf("the key did not survive: %v", err)
	}
}

func TestNewKeyNeedsRandomness(t *testing.T) {
	if _, err := NewKey(strings.NewReader("short")); err == nil {
		t.Error("a key from five bytes")
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, keyBytes)) + "\n"
	for _, row := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"readable by the group", good, 0o640, "chmod 600"},
		{"readable by all", good, 0o604, "chmod 600"},
		{"empty", "", 0o600, "no key in it"},
		{"only comments", "# a key\n\n", 0o600, "no key in it"},
		{"not base64", "# a key\nsecret!\n", 0o600, "line 2: not base64"},
		{"too short", "c2VjcmV0\n", 0o600, "line 1: a key of 6 bytes"},
		{"two keys", good + good, 0o600, "line 2: a second key"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mesh.key")
			if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, row.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadKey(path)
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error with the path and %q", err, row.want)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "c2Vj")) {
				t.Errorf("the error shows the file's text: %v", err)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		if _, err := LoadKey("/nonexistent/mesh.key"); err == nil || !strings.Contains(err.Error(), "solovip keygen") {
			t.Errorf("got %v, want the remedy", err)
		}
	})
	t.Run("a pipe", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "regular file") {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("# comment\n\n" + base64.StdEncoding.EncodeToString(make([]byte, keyBytes)) + "\n"))
	f.Add([]byte("\r\n#"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, err := parseKey(b); (err == nil) != (len(key) == keyBytes) {
			t.Errorf("key of %d bytes, error %v", len(key), err)
		}
	})
}
