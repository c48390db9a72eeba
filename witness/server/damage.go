package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockWait bounds the wait for etcd's own lock on its database.
const lockWait = time.Second

// checkDatabase reads every page of etcd's database. Opened by etcd, a damaged one panics in a
// goroutine of its own, which nothing can turn into an error. The quota keeps the file small.
func checkDatabase(dataDir string) (err error) {
	path := filepath.Join(dataDir, etcdDir, "snap", "db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if logs, _ := filepath.Glob(filepath.Join(dataDir, etcdDir, "wal", "*.wal")); len(logs) > 0 {
			return damaged(dataDir, path+" is missing") // etcd would wait for ever for nobody's vote
		}
		return nil
	}
	// A file that is shorter than its pages faults when they are read.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged(dataDir, fmt.Sprintf("%s: %v", path, r))
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockWait})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("witness data directory %s is in use by another process: stop it first", dataDir)
	}
	if err != nil {
		return damaged(dataDir, fmt.Sprintf("%s: %v", path, err))
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
	if err != nil {
		return damaged(dataDir, fmt.Sprintf("%s: %v", path, err))
	}
	return nil
}

// errDamaged marks data that etcd cannot work with, or could not write.
var errDamaged = errors.New("etcd cannot go on with it")

// damaged says what an operator can do about it.
func damaged(dataDir, why string) error {
	return fmt.Errorf("witness data in %s: %w: %s: if the disk is full or broken, repair that; "+
		"if the data is damaged, stop the witness, move the directory away and start with an empty one "+
		"(the nodes then wait for an operator's word)", dataDir, errDamaged, why)
}
