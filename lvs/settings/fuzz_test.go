package settings

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lvs"
)

// FuzzSettings: what config finds no error in, the balancer takes.
func FuzzSettings(f *testing.F) {
	for _, pattern := range []string{"testdata/*.conf", "../../config/testdata/*virtual*.conf"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, report := config.Load("x.conf", config.Options{
			FS: fstest.MapFS{"x.conf": &fstest.MapFile{Data: []byte(text)}}, Dir: "/", Hostname: "node1",
			Getenv: func(string) (string, bool) { return "", false }, Random: func(lo, _ int) int { return lo },
			Program: func(string) error { return errors.New("not there") }, User: func(string, string) error { return nil },
		})
		if report.HasErrors() {
			return
		}
		s := New(cfg)
		if _, err := lvs.New(s.LVS); err != nil {
			t.Fatalf("no finding, and yet: %v", err)
		}
	})
}
