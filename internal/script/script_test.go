package script

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	plenty = time.Minute
	// short is a limit that ends scripts, and not before a busy machine's shell has got to its point.
	short = 2 * time.Second
)

// shell returns a script that a shell reads.
func shell(text string, args ...string) Script {
	return Script{Args: append([]string{"/bin/sh", "-c", text}, args...)}
}

func TestRunTellsTheStatus(t *testing.T) {
	if err := shell("exit 0").Run(t.Context(), plenty); err != nil {
		t.Error(err)
	}
	err := shell("exit 7").Run(t.Context(), plenty)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
		t.Errorf("status 7 is %v", err)
	}
	if err := (Script{Args: []string{"/no/such/program"}}).Run(t.Context(), plenty); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program is %v", err)
	}
	if err := (Script{}).Run(t.Context(), plenty); err == nil {
		t.Error("no words are no error")
	}
}

func TestRunAddsToTheEnvironment(t *testing.T) {
	s := shell(`test "$ADDED" = "two words" && test "$KEPT" = yes`)
	t.Setenv("KEPT", "yes")
	s.Env = []string{"ADDED=two words"}
	if err := s.Run(t.Context(), plenty); err != nil {
		t.Error(err)
	}
}

// TestRunKillsTheGroup: what the script has started goes with it, whatever it thinks of it.
func TestRunKillsTheGroup(t *testing.T) {
	for _, row := range []struct {
		name, text string
		limit      time.Duration // 0: it is canceled
	}{
		{"canceled", "sleep 600 & echo started >&3; wait", 0},
		{"over its limit", "sleep 600 & echo started >&3; wait", short},
		{"over its limit and stubborn", `trap "" TERM; sleep 600 & echo started >&3; wait`, short},
		{"over its limit, and leaves its child behind", `(trap "" TERM; sleep 600) & echo started >&3; wait`, short},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- shell(`exec 3>"$1"; `+row.text, "sh", pipe).Run(ctx, cmp.Or(row.limit, plenty)) }()
			all, err := os.Open(pipe)
			if err != nil {
				t.Fatal(err)
			}
			defer all.Close()
			if err := all.SetReadDeadline(time.Now().Add(plenty)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(all, make([]byte, len("started\n"))); err != nil {
				t.Fatal(err)
			}
			if row.limit == 0 {
				cancel()
			}
			if err := <-ended; err == nil {
				t.Error("a killed script is no error")
			}
			// The pipe ends when nobody is left who could write to it.
			if _, err := all.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("its child still runs: %v", err)
			}
		})
	}
}

// TestRunAsksFirst: a script over its limit can put things in order.
func TestRunAsksFirst(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	err := shell(`trap 'echo done >"$1"; exit 0' TERM; sleep 600 & wait`, "sh", file).Run(t.Context(), short)
	if err == nil || !strings.HasSuffix(err.Error(), "killed after 2s") {
		t.Errorf("a script over its limit is %v", err)
	}
	if text, err := os.ReadFile(file); string(text) != "done\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestRunAsAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root")
		}
		t.Skip("not root")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	for spec, group := range map[string]string{"nobody": nobody.Gid, "nobody:daemon": "1", "nobody daemon": "1"} {
		s := shell(`test "$(id -u):$(id -g):$(id -G)" = "$1:$2:$2"`, "sh", nobody.Uid, group)
		s.User = spec
		if err := s.Run(t.Context(), plenty); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
	for _, spec := range []string{"nosuchuser", "nobody:nosuchgroup"} {
		s := shell("exit 0")
		s.User = spec
		if err := s.Run(t.Context(), plenty); err == nil || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("%s: %v", spec, err)
		}
	}
	s := shell("exit 0")
	if s.User = "root"; s.Run(t.Context(), plenty) != nil {
		t.Error("its own user may not run it")
	}
	if cred, err := credential("root"); cred != nil || err != nil {
		t.Errorf("to stay who one is takes %v, %v", cred, err)
	}
}
