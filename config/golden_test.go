package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/solovip/solovip/internal/golden"
)

// testOptions reads testdata as if it were the root directory, on a host where the
// programs in /bin exist and root and daemon are the users.
func testOptions() Options {
	return Options{
		FS: os.DirFS("testdata"), Dir: "/", ConfigID: "node1", Hostname: "node1.example.com",
		Getenv: func(string) (string, bool) { return "", false },
		Random: func(lo, _ int) int { return lo },
		Program: func(name string) error {
			if strings.HasPrefix(name, "/bin/") {
				return nil
			}
			return errors.New("no such file or directory")
		},
		User: func(name, group string) error {
			if !slices.Contains([]string{"root", "daemon"}, name) || group != "" && group != "root" {
				return errors.New("unknown user or group")
			}
			return nil
		},
	}
}

// samples returns the configurations of testdata.
func samples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/*.conf: %v, %d files", err, len(files))
	}
	return files
}

// TestFindings compares the findings about each file of testdata with its .want file.
func TestFindings(t *testing.T) {
	for _, file := range samples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, report := Load(filepath.Base(file), testOptions())
			var got strings.Builder
			if err := report.Render(&got); err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(file, ".conf") + ".want"
			golden.File(t, name, got.String())
		})
	}
}

// TestPastedFilesNameTheCause shows that the cause stands alone: it is not buried in what
// follows from it.
func TestPastedFilesNameTheCause(t *testing.T) {
	tests := []struct {
		file  string
		cause []string // a part of each error, in order
	}{
		{"pasted-nbsp.conf", []string{"no-break space (U+00A0)"}},
		{"pasted-missing-spaces.conf", []string{"script runs into its value", `"vrrp_instanceVI_1"`}},
		{"pasted-quotes.conf", []string{"typographic quote", "fullwidth brace"}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			_, report := Load(tt.file, testOptions())
			errs := report.Errors()
			if len(errs) != len(tt.cause) {
				t.Fatalf("%d errors, want %d: %v", len(errs), len(tt.cause), errs)
			}
			for i, cause := range tt.cause {
				if !strings.Contains(errs[i].Text, cause) || errs[i].Remedy == "" {
					t.Errorf("error %d is %v, want one about %s with a remedy", i, errs[i], cause)
				}
			}
		})
	}
}

// FuzzLoad: no input panics.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		opt := testOptions()
		opt.FS = oneFile(text)
		_, report := Load("x.conf", opt)
		for _, finding := range report.Findings {
			if finding.Text == "" || finding.Pos.Line < 1 || finding.Pos.Col < 1 {
				t.Fatalf("finding without text or place: %+v", finding)
			}
		}
	})
}
