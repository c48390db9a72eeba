package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// markFile says in a data directory whose it is. It is locked while a witness runs on it.
const markFile = "solovip-witness"

// etcdDir is what etcd makes in a data directory.
const etcdDir = "member"

// dataDir is a data directory that this process has for itself.
type dataDir struct{ mark *os.File }

// openDir makes or checks the directory and locks it. The error says why it cannot be used.
func openDir(path, cluster string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make witness data directory: %w", err)
	}
	if err := refuseForeign(path); err != nil {
		return nil, err
	}
	// MkdirAll leaves a directory that is there as it is; the records are nobody else's business.
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, fmt.Errorf("witness data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, markFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open witness data directory: %w", err)
	}
	d := &dataDir{mark: f}
	if err := d.claim(path, cluster); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// refuseForeign refuses a directory that holds something, but nothing of a witness.
func refuseForeign(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("read witness data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == markFile {
			return nil
		}
	}
	for _, e := range entries {
		switch e.Name() {
		case etcdDir:
			return fmt.Errorf("witness data directory %s holds the data of an etcd that is not a solovip witness: "+
				"choose another --state-dir, or name that etcd in endpoints and run no witness here", path)
		case "lost+found": // a file system of its own
		default:
			return fmt.Errorf("witness data directory %s is not empty (%s) and was not made by a witness: choose another --state-dir", path, e.Name())
		}
	}
	return nil
}

// claim locks the mark and checks or writes whose it is.
func (d *dataDir) claim(path, cluster string) error {
	err := unix.Flock(int(d.mark.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("witness data directory %s is in use by another witness: stop it first", path)
	}
	if err != nil {
		return fmt.Errorf("lock witness data directory %s: %w", path, err)
	}
	b, err := io.ReadAll(d.mark)
	if err != nil {
		return fmt.Errorf("read %s: %w", d.mark.Name(), err)
	}
	switch owner := strings.TrimSuffix(string(b), "\n"); owner {
	case cluster:
		return nil
	case "":
		if _, err := d.mark.WriteAt([]byte(cluster+"\n"), 0); err != nil {
			return fmt.Errorf("write %s: %w", d.mark.Name(), err)
		}
		return nil
	default:
		return fmt.Errorf("witness data directory %s belongs to cluster %q, not %q: choose another --state-dir; "+
			"if the cluster was renamed, stop all its nodes and remove the directory", path, owner, cluster)
	}
}

// close gives the directory up. The lock ends with the descriptor.
func (d *dataDir) close() { _ = d.mark.Close() }
