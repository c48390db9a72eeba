package netns

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/solovip/solovip/lab/scenario"
)

// ledgers returns the fencings that the nodes have on disk, in the order of their names:
// "NODE:CAUSE" for each. A ledger that cannot be read is an error: it may hold some.
func (p *player) ledgers() ([]string, error) {
	var found []string
	for _, node := range p.job.Scenario.Named(scenario.Node) {
		causes, err := fencings(filepath.Join(p.net.hosts[node.Name].stateDir(), "ledger", "fencings.jsonl"))
		if err != nil {
			return nil, fmt.Errorf("read the ledger of %s: %w", node.Name, err)
		}
		for _, cause := range causes {
			found = append(found, node.Name+":"+cause)
		}
	}
	slices.Sort(found)
	return found, nil
}

// fencings returns the causes in a ledger's file, by the fencing's id.
func fencings(file string) (map[string]string, error) {
	causes := map[string]string{}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return causes, nil // nothing was ever written
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var record struct{ ID, Cause string }
		if json.Unmarshal(lines.Bytes(), &record) == nil && record.ID != "" {
			causes[record.ID] = record.Cause // a later line about the same one is what counts
		}
	}
	return causes, lines.Err()
}
