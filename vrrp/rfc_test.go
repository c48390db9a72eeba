package vrrp

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConstants: RFC 9568 section 5.1.1.
func TestConstants(t *testing.T) {
	if Group().String() != "224.0.0.18" || Protocol != 112 || TTL != 255 {
		t.Errorf("group %v, protocol %d, TTL %d", Group(), Protocol, TTL)
	}
}

// TestRFCList: each test that docs/rfc.md names exists.
func TestRFCList(t *testing.T) {
	doc, err := os.ReadFile("../docs/rfc.md")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, dir := range []string{".", "vip", "../arbiter"} { // where what the RFCs say is tested
		found, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	var code strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([a-z0-9-]+))?`").FindAllStringSubmatch(string(doc), -1)
	if len(names) < 50 {
		t.Fatalf("only %d tests in docs/rfc.md", len(names))
	}
	for _, name := range names {
		if !strings.Contains(code.String(), "func "+name[1]+"(") {
			t.Errorf("docs/rfc.md: there is no %s", name[1])
		}
		if story := name[2]; story != "" {
			if _, err := os.Stat(filepath.Join("testdata", story+".txt")); err != nil || name[1] != "TestScripts" {
				t.Errorf("docs/rfc.md: %s: %v", name[0], err)
			}
		}
	}
}
