package lab_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// A scenario that cannot be played here has not passed, and it says what would help.
func TestNoMachineIsNoSuccess(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	programs := t.TempDir()
	t.Setenv("PATH", programs)
	for _, want := range []string{"install the package qemu-system-x86", "lab/vm/kernel.sh in the source of solovip downloads it"} {
		var out strings.Builder
		err := command(&out).Run([]string{"solovip", "lab", "run", "clock-step"})
		var coder cli.ExitCoder
		if !errors.As(err, &coder) || coder.ExitCode() != 2 || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "PASS") {
			t.Errorf("%v, want exit status 2 and %q in\n%s", err, want, out.String())
		}
		// Then there is one, but nothing to boot in it.
		if err := os.WriteFile(filepath.Join(programs, "qemu-system-x86_64"), nil, 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
}
