package golden

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write what tests produce into testdata") //nolint:gochecknoglobals // a flag

// Player carries the commands of one story out.
type Player interface {
	// Command carries out a line that is neither empty nor a comment. The story fails with the error.
	Command(line string) error
	// Trace returns what was done since it was last called, in lines that each end.
	Trace() string
}

// Play plays each file that matches the pattern as a test of its own, with a new player, and
// compares the traces.
func Play(t *testing.T, pattern string, player func() Player) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories in %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Tell(string(text), player())
			if err != nil {
				t.Fatal(err)
			}
			File(t, file, got)
		})
	}
}

// Tell returns the story with the traces that its commands produce. An error names the line.
func Tell(text string, p Player) (string, error) {
	var out strings.Builder
	inTrace := false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "":
			inTrace = false
		case inTrace: // the former trace
			continue
		case line == "----":
			inTrace = true
			line = strings.TrimSuffix(line+"\n"+p.Trace(), "\n")
		case line[0] != '#':
			if err := p.Command(line); err != nil {
				return "", fmt.Errorf("line %d: %s: %w", i+1, line, err)
			}
		}
		out.WriteString(line + "\n")
	}
	if p.Trace() != "" {
		return "", errors.New("the last commands have no ----")
	}
	return out.String(), nil
}

// File fails the test if a file does not say just that. With -rewrite it makes it say so.
func File(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; is it right, run this test with -rewrite and read the diff (-was +is):\n%s", file, diff)
	}
}
