package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/durable"
)

// store keeps what must survive a crash: the incarnation and the highest token of each
// claim. Each change is on disk before it counts.
type store struct {
	path string

	mu   sync.Mutex // guards data
	data stored
}

type stored struct {
	Incarnation uint64                   `json:"incarnation"`
	Tokens      map[string]arbiter.Token `json:"tokens"`
	// Left says that the node stopped while the witness was silent.
	Left bool `json:"left,omitempty"`
	// Witness is the etcd cluster that was the witness last.
	Witness uint64 `json:"witness,omitempty"`
	// Standby is the operator's last word.
	Standby bool `json:"standby,omitempty"`
}

// startsApart is how far the incarnations of two starts are apart: more than the requests of a run.
const startsApart = 1 << 32

// openStore reads the store and begins a new incarnation. A store that cannot be written, as
// on a full disk, is used all the same: no token can be stored, so nothing can be taken, but
// the node can release, vote and tell.
func openStore(dir string, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the state directory: %w: name another with --state-dir", err)
	}
	s := &store{path: filepath.Join(dir, "node.json"), data: stored{Tokens: map[string]arbiter.Token{}}}
	text, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the node's state: %w", err)
	default:
		if err := json.Unmarshal(text, &s.data); err != nil {
			return nil, fmt.Errorf("%s does not parse: %w: if no node of the cluster runs, remove it; else set its tokens to what `solovip status` shows on a peer", s.path, err)
		}
		if s.data.Tokens == nil {
			s.data.Tokens = map[string]arbiter.Token{}
		}
	}
	// Wall time may have gone back since the last start; an incarnation must not, nor what
	// counts up from it while the daemon runs.
	s.data.Incarnation = max(s.data.Incarnation+startsApart, uint64(time.Now().UnixNano()))
	if err := s.write(); err != nil {
		log.Error("this node takes nothing until its state can be stored: free the disk, or mend the state directory", "err", err)
	}
	return s, nil
}

func (s *store) incarnation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Incarnation
}

func (s *store) tokens() map[string]arbiter.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.data.Tokens)
}

// setToken makes the token durable, or keeps the higher one that is; it returns when it is on disk.
func (s *store) setToken(claim string, token arbiter.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Tokens[claim] = max(s.data.Tokens[claim], token)
	return s.write()
}

// flags returns whether the node left a promise behind, and whether it is in standby.
func (s *store) flags() (left, standby bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Left, s.data.Standby
}

// witness returns the etcd cluster that was the witness last; 0: none is known.
func (s *store) witness() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Witness
}

// setWitness makes it durable which etcd cluster is the witness.
func (s *store) setWitness(cluster uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Witness = cluster
	return s.write()
}

// setStandby makes the operator's word durable.
func (s *store) setStandby(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Standby = on
	return s.write()
}

// setLeft makes it durable that the node left a promise behind, or took it back.
func (s *store) setLeft(left bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Left = left
	return s.write()
}

// write replaces the file: a crash leaves the old one or the new one, never half of each.
func (s *store) write() error {
	text, err := json.MarshalIndent(s.data, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the node's state: %w", err)
	}
	if err := durable.WriteFile(s.path, append(text, '\n'), 0o640); err != nil {
		return fmt.Errorf("write the node's state: %w", err)
	}
	return nil
}
