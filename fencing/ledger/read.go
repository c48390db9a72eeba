package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/solovip/solovip/fencing"
)

// fileName is the newest file; older ones have a number behind it.
const fileName = "fencings.jsonl"

// keepFiles is how many older files there are at the most.
const keepFiles = 4

// maxFile bounds what is read of one file, in bytes: much more than a Ledger writes.
const maxFile = 64 << 20

// Damage is a line that is not as it was written.
type Damage struct {
	File  string
	Line  int // the first is 1
	Saved int // records that could be read all the same
}

// String names the place and what was lost.
func (d Damage) String() string {
	text := fmt.Sprintf("%s:%d: the line is damaged", d.File, d.Line)
	if d.Saved > 0 {
		return fmt.Sprintf("%s; %d of its fencings could be read", text, d.Saved)
	}
	return text + " and was left out"
}

// History is what a folder's ledger says.
type History struct {
	Records []fencing.Record // each fencing once, as it stood last; the oldest first
	Damaged []Damage
}

// Open returns the latest record of each claim from which the node still stays out.
func (h *History) Open() map[string]fencing.Record {
	open := map[string]fencing.Record{}
	for _, r := range h.Records {
		delete(open, r.Claim) // whatever came before is overtaken
		if r.Open() {
			open[r.Claim] = r
		}
	}
	return open
}

// Read reads a folder's ledger, also while it is being written. A folder that is not
// there has no fencings. The error is that of a file that cannot be read.
func Read(dir string) (*History, error) {
	var files [][]byte
	var names []string
	// The newest first: a rotation meanwhile shows a file twice then, and hides none.
	for i := range keepFiles + 1 {
		name := numbered(dir, i)
		text, err := readFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the ledger of fencings: %w", err)
		}
		files, names = append(files, text), append(names, name)
	}
	h := &History{}
	at := map[string]int{}
	for i := range slices.Backward(files) {
		h.add(names[i], files[i], at)
	}
	return h, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// add takes in one file. at has where each fencing is in h.Records.
func (h *History) add(name string, text []byte, at map[string]int) {
	number := 0
	for line := range bytes.Lines(text) {
		number++
		records := []fencing.Record{{}}
		var err error
		if records[0], err = fencing.ParseLine(line); err != nil {
			records = fencing.Salvage(line)
			if len(bytes.TrimSpace(line)) > 0 {
				h.Damaged = append(h.Damaged, Damage{File: name, Line: number, Saved: len(records)})
			}
		}
		for _, r := range records {
			if i, ok := at[r.ID]; ok {
				r.Time = h.Records[i].Time // the wall clock may have been set meanwhile
				h.Records[i] = r
				continue
			}
			at[r.ID] = len(h.Records)
			h.Records = append(h.Records, r)
		}
	}
}

func numbered(dir string, n int) string {
	name := filepath.Join(dir, fileName)
	if n > 0 {
		name = fmt.Sprintf("%s.%d", name, n)
	}
	return name
}
