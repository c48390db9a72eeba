package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/solovip/solovip/lab/report"
)

func TestPageTakesThePlaceOfAnOlderOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.html")
	for _, name := range []string{"first", "second"} {
		p, err := newPage(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.write([]*report.Run{{Scenario: name, Error: "not run"}}, nil); err != nil {
			t.Fatal(err)
		}
		p.drop()
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), name) {
			t.Errorf("%s is not in the page (%v)", name, err)
		}
	}
	p, err := newPage(file)
	if err != nil {
		t.Fatal(err)
	}
	p.drop() // interrupted
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("%d files (%v), want the page alone", len(left), err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("mode %v (%v)", st.Mode(), err)
	}
}
