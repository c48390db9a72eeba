package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
)

// runState is what a successor has to clean up should this process die: what of each claim
// may be on this host. It is a file in the run directory, written before the first
// effect of a taking and after the last of a letting go, so that the file may say too much,
// never too little. It says so without the configuration, which may have changed.
//
// It is not synced: it need not outlive the kernel, for what it speaks of does not.
type runState struct {
	path string
	data runData
}

type runData struct {
	Boot   string              `json:"boot"` // which boot of the host it is about
	Claims map[string]runClaim `json:"claims"`
	Left   *leftBehind         `json:"left,omitempty"` // for a successor to adopt; nil: it has to clean up
}

// runClaim is what may be on this host of one claim.
type runClaim struct {
	Token     arbiter.Token `json:"token"`
	Gated     bool          `json:"gated,omitempty"`
	Addresses []vip.Address `json:"addresses"`
	Guards    []string      `json:"guards,omitempty"`  // that run only where the claim is held
	Settled   bool          `json:"settled,omitempty"` // those of a holder before can run no more
}

// openRunState reads what a former run has left. A file of an earlier boot is as none.
func openRunState(dir string) (*runState, error) {
	boot, err := boottime.ID()
	if err != nil {
		return nil, fmt.Errorf("read the run state: %w", err)
	}
	fresh := runData{Boot: boot, Claims: map[string]runClaim{}}
	r := &runState{path: filepath.Join(dir, "claims.json"), data: fresh}
	text, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the run state: %w", err)
	}
	var old runData
	if err := json.Unmarshal(text, &old); err != nil {
		return nil, fmt.Errorf("%s does not parse: %w: take the addresses of all claims off this host, then remove the file", r.path, err)
	}
	if old.Boot == fresh.Boot && old.Claims != nil {
		r.data = old
	}
	return r, nil
}

// remember notes a claim before anything of it takes effect.
func (r *runState) remember(name string, c runClaim) error {
	if _, known := r.data.Claims[name]; known {
		return nil
	}
	r.data.Claims[name] = c
	if err := r.write(); err != nil {
		delete(r.data.Claims, name)
		return err
	}
	return nil
}

// settle notes that guarded services of a holder before can run no more.
func (r *runState) settle(name string) error {
	c, known := r.data.Claims[name]
	if !known || c.Settled {
		return nil
	}
	c.Settled = true
	r.data.Claims[name] = c
	return r.write()
}

// forget drops claims of which nothing is left.
func (r *runState) forget(names ...string) error {
	for _, name := range names {
		delete(r.data.Claims, name)
	}
	return r.write()
}

// leave notes that a successor may adopt what is held, with which tokens.
func (r *runState) leave(left *leftBehind, kept map[string]node.Kept) error {
	for name, k := range kept {
		c := r.data.Claims[name]
		c.Token = k.Token
		r.data.Claims[name] = c
	}
	r.data.Left = left
	err := r.write()
	if err != nil {
		r.data.Left = nil
	}
	return err
}

// take returns what was left in place, and sees to it that nobody else adopts it.
func (r *runState) take() (*leftBehind, error) {
	left := r.data.Left
	if left == nil {
		return nil, nil
	}
	r.data.Left = nil
	return left, r.write()
}

// write replaces the file: a crash leaves the old one or the new one.
func (r *runState) write() error {
	text, err := json.MarshalIndent(r.data, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the run state: %w", err)
	}
	if err := os.WriteFile(r.path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the run state: %w: without it a crash would leave addresses behind", err)
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		return fmt.Errorf("write the run state: %w", err)
	}
	return nil
}
