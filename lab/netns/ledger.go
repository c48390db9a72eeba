package netns

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/solovip/solovip/lab/scenario"
)

// ledgers returns the fencings that the nodes have on disk, in the order of their names:
// "NODE:CAUSE" for each.
func (p *player) ledgers() []string {
	var found []string
	for _, node := range p.job.Scenario.Named(scenario.Node) {
		dir := filepath.Join(p.net.hosts[node.Name].stateDir(), "ledger")
		f, err := os.Open(filepath.Join(dir, "fencings.jsonl"))
		if err != nil {
			continue // nothing was ever written
		}
		causes := map[string]string{} // by the fencing's id: a later line is about the same one
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var record struct{ ID, Cause string }
			if json.Unmarshal(lines.Bytes(), &record) == nil && record.ID != "" {
				causes[record.ID] = record.Cause
			}
		}
		_ = f.Close() // was read only
		for _, cause := range causes {
			found = append(found, node.Name+":"+cause)
		}
	}
	slices.Sort(found)
	return found
}
