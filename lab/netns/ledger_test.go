package netns

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A ledger that is not there has no fencings; of one that cannot be read nobody knows.
func TestFencingsOfALedger(t *testing.T) {
	dir := t.TempDir()
	if got, err := fencings(filepath.Join(dir, "none")); err != nil || len(got) > 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	if got, err := fencings(dir); err == nil {
		t.Errorf("a folder: %v", got)
	}
	file := filepath.Join(dir, "some")
	const text = `{"id":"a","cause":"lost"}
{"id":"b","cause":"crash"}
{"id":"a","cause":"permission"}
{"id":"c","cau`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := fencings(file)
	if diff := cmp.Diff(map[string]string{"a": "permission", "b": "crash"}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}
