package mesh

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

const (
	keyBytes   = 32      // AES-256
	maxKeyFile = 1 << 14 // bytes; the rest of a longer file is no key
)

// NewKey draws a key from random, which must be crypto/rand's Reader but in tests.
func NewKey(random io.Reader) ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("draw mesh key: %w", err)
	}
	return key, nil
}

// WriteKey writes a key to a new file that only its owner may read. It never
// overwrites: a key in use that is lost takes the cluster apart.
func WriteKey(path string, key []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("mesh key file %s exists already and is not overwritten: "+
			"all members of a cluster share one key; remove the file first if you mean to replace it", path)
	}
	if err != nil {
		return fmt.Errorf("create mesh key file: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(path) // half a key file is worse than none; the first error is told
		}
	}()
	_, err = fmt.Fprintf(f, "# solovip mesh key: the same on all members of the cluster, and secret\n%s\n",
		base64.StdEncoding.EncodeToString(key))
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write mesh key file %s: %w", path, err)
	}
	return nil
}

// LoadKey reads a key file: one line with 32 bytes in base64; empty lines and lines
// that begin with # are skipped. It refuses a file that others may read.
func LoadKey(path string) ([]byte, error) {
	// Without O_NONBLOCK a named pipe in this place would block for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read mesh key: %w; make one with 'solovip keygen' and copy it to all members", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read mesh key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read mesh key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("mesh key file %s is not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("mesh key file %s has mode %04o, others than its owner may use it: run 'chmod 600 %s'",
			path, perm, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read mesh key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("mesh key file %s: %w; make a new one with 'solovip keygen'", path, err)
	}
	return key, nil
}

// parseKey reads the text of a key file. Its errors never hold any of the text.
func parseKey(text []byte) ([]byte, error) {
	var key []byte
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if key != nil {
			return nil, fmt.Errorf("line %d: a second key", number)
		}
		decoded, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: not base64", number)
		}
		if len(decoded) != keyBytes {
			return nil, fmt.Errorf("line %d: a key of %d bytes; %d are needed", number, len(decoded), keyBytes)
		}
		key = decoded
	}
	if key == nil {
		return nil, errors.New("no key in it")
	}
	return key, nil
}
