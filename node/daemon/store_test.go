package daemon

import (
	"log/slog"
	"testing"

	"github.com/solovip/solovip/arbiter"
)

// What is stored first need not be the highest: a take may follow the promise of a higher token.
func TestStoredTokensNeverFall(t *testing.T) {
	dir := t.TempDir()
	first, err := openStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []arbiter.Token{9, 8} {
		if err := first.setToken("VI_1", token); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := again.tokens()["VI_1"]; got != 9 {
		t.Errorf("after storing 9 and then 8, %d is on disk", got)
	}
}
